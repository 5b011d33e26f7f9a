package directory

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/message"
)

// checkEvery is how often a Directory asks Redis whether a stored entry changed.
const checkEvery = time.Second

// Directory is what a process knows of the entries: a snapshot, which Run replaces when a stored entry changed. All methods are
// safe for concurrent use, and none but Load and Run uses Redis.
type Directory struct {
	store *Store
	uses  []Kind
	log   *slog.Logger
	now   atomic.Pointer[snapshot]

	reading sync.Mutex // one reading at a time; guards last
	last    contents   // of the last snapshot

	mu          sync.Mutex
	subscribers []func(Changes)
	hidden      map[string]bool // entries of the file that an operator removed, and that the log has named
}

// Changes are the phone number ids of numbers that were added, changed in any way, and removed.
type Changes struct{ Added, Changed, Removed []string }

// New returns the directory of a process, with the entries of its file. Load adds what is stored. The process decrypts only the
// secrets of entries of the kinds that it uses.
func New(s *Store, log *slog.Logger, uses ...Kind) *Directory {
	d := &Directory{store: s, uses: uses, log: log}
	d.now.Store(d.snapshot(contents{}, &snapshot{}))
	return d
}

// Load reads the stored entries once. Later Run does so.
func (d *Directory) Load(ctx context.Context) error {
	c, err := d.read(ctx)
	if err != nil {
		return err
	}
	for _, e := range d.store.o.File.entries().list() {
		if one := c.entries[e.Kind()][e.ID()]; one.removed {
			d.warnHidden(string(e.Kind()) + " " + e.ID())
		}
	}
	return nil
}

// warnHidden says in the log, once, that an entry of the file is not used.
func (d *Directory) warnHidden(entry string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.hidden == nil {
		d.hidden = map[string]bool{}
	}
	if !d.hidden[entry] {
		d.hidden[entry] = true
		d.log.Warn("an entry of the configuration file is not used, because an operator removed it at run time", "entry", entry)
	}
}

// Run reads the revision of the stored entries every second, and the entries when it changed, until ctx ends. It returns nil.
// While Redis is away the last snapshot stays.
func (d *Directory) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		err := d.refresh(ctx)
		if err != nil && ctx.Err() == nil && !failing {
			d.log.Warn("cannot read the stored numbers, apps and API keys, the last known ones stay in use", "err", err)
		}
		failing = err != nil
	}
}

// refresh reads the stored entries if they changed.
func (d *Directory) refresh(ctx context.Context) error {
	revision, err := d.store.o.DB.Get(ctx, revisionKey()).Result()
	if err != nil && !errors.Is(err, redis.Nil) || revision == d.now.Load().revision {
		if errors.Is(err, redis.Nil) {
			err = nil
		}
		return err
	}
	_, err = d.read(ctx)
	return err
}

// read reads the stored entries, and replaces the snapshot.
func (d *Directory) read(ctx context.Context) (contents, error) {
	d.reading.Lock()
	defer d.reading.Unlock()
	c, err := d.store.reload(ctx, d.last)
	if err == nil {
		d.replace(c)
		d.last = c
	}
	return c, err
}

// replace replaces the snapshot, and calls the subscribers.
func (d *Directory) replace(c contents) {
	old := d.now.Load()
	next := d.snapshot(c, old)
	d.now.Store(next)
	changes := next.since(old)
	d.log.Info("numbers, apps, API keys and clients read", "revision", c.revision, "numbers", len(next.ids))
	d.mu.Lock()
	subscribers := slices.Clone(d.subscribers)
	d.mu.Unlock()
	for _, f := range subscribers {
		f(changes)
	}
}

// Subscribe lets Run call f after each change of any entry. f must not block.
func (d *Directory) Subscribe(f func(Changes)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.subscribers = append(d.subscribers, f)
}

// Numbers returns the phone number ids of all numbers: first those of the file in its order, then the others. The caller must not change
// the list.
func (d *Directory) Numbers() []string { return d.now.Load().ids }

// Number returns a number by its phone number id; false: there is none.
func (d *Directory) Number(id string) (config.Number, bool) {
	n := d.now.Load().numbers[id]
	if n == nil {
		return config.Number{}, false
	}
	return n.Number, true
}

// Known reports whether there is a number.
func (d *Directory) Known(number string) bool { return d.now.Load().numbers[number] != nil }

// Leaving returns BacklogDrain, BacklogMove or BacklogCancel if a number is being removed and accepts no new messages, and the revision of its
// entry; else empty.
func (d *Directory) Leaving(number string) (how string, revision int64) {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.leaving, n.revision
	}
	return "", 0
}

// Display returns the phone number of an id, in E.164 with its plus; empty: it is not known.
func (d *Directory) Display(number string) string {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.Display
	}
	return ""
}

// Rate returns the configured rate limit of a number in messages per second; false: there is no such number, or no access token to
// send with.
func (d *Directory) Rate(number string) (perSecond int, ok bool) {
	n := d.now.Load().numbers[number]
	if n == nil || !n.hasToken() {
		return 0, false
	}
	return n.Number.Rate, true
}

// Learns reports whether the rate limit of a number is what Meta says.
func (d *Directory) Learns(number string) bool {
	n := d.now.Load().numbers[number]
	return n != nil && n.Learn
}

// Has reports whether there is an access token of a number.
func (d *Directory) Has(number string) bool {
	n := d.now.Load().numbers[number]
	return n != nil && n.hasToken()
}

// Token returns the current access token of a number: the stored one, else the one in its token file, else the one of the
// configuration file. It may read a file.
func (d *Directory) Token(number string) (string, error) {
	n := d.now.Load().numbers[number]
	switch {
	case n == nil:
		return "", fmt.Errorf("phone number id %s is not configured", number)
	case n.tokenErr != nil:
		return "", n.tokenErr
	case n.token != "":
		return n.token, nil
	case n.tokens.Has(number):
		token, err := n.tokens.Token(number)
		if token == "" && err == nil {
			err = fmt.Errorf("phone number id %s: its token file cannot be read", number)
		}
		return token, err
	}
	return "", fmt.Errorf("phone number id %s has no access token: set it", number)
}

// Class returns the settings of a class for a number: those of the number, else those of all numbers, else zero.
func (d *Directory) Class(number, class string) config.Class {
	wider := d.store.o.File.Classes[class]
	if n := d.now.Load().numbers[number]; n != nil {
		return n.Classes[class].Over(wider)
	}
	return wider
}

// TemplateClasses returns the classes of the templates of a number, by their names. The caller must not change the list.
func (d *Directory) TemplateClasses(number string) []config.TemplateClass {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.TemplateClasses
	}
	return nil
}

// RefusesUnknown reports whether a number refuses message types that this version does not support.
func (d *Directory) RefusesUnknown(number string) bool {
	n := d.now.Load().numbers[number]
	return n != nil && n.Unknown == "refuse"
}

// What happens with service messages in conversations that another app owns.
const (
	OtherAppRefuse = "refuse"
	OtherAppWait   = "wait"
	OtherAppSend   = "send"
)

// OtherApp returns what happens with service messages of a number in conversations that another app owns.
func (d *Directory) OtherApp(number string) string {
	if n := d.now.Load().numbers[number]; n != nil && n.Other != "" {
		return n.Other
	}
	return OtherAppRefuse
}

// MessagingAccount returns the messaging account of messages of a number that name none; empty: Meta chooses.
func (d *Directory) MessagingAccount(number string) string {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.MessagingAccount
	}
	return ""
}

// Keys returns all API keys. A key of a client covers only numbers of this client. The caller must not change the list.
func (d *Directory) Keys() []config.APIKey { return d.now.Load().keys }

// Owner returns the client that a number belongs to; empty: none.
func (d *Directory) Owner(number string) string {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.Client
	}
	return ""
}

// NumbersOf returns the numbers that a client may send from, and those of them that other clients may send from too.
func (d *Directory) NumbersOf(client string) (all, shared []string) {
	now := d.now.Load()
	for _, id := range now.of[client] {
		if len(now.numbers[id].Shared) > 0 {
			shared = append(shared, id)
		}
	}
	return slices.Clone(now.of[client]), shared
}

// SharedWith returns the other clients that may send from a number. The caller must not change the list.
func (d *Directory) SharedWith(number string) []string {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.Shared
	}
	return nil
}

// Weigh returns the weight of a flow's client, and of its campaign among those of the client.
func (d *Directory) Weigh(f message.Flow) (client, campaign int) {
	c := d.now.Load().clients[f.Client]
	return max(c.Weight, 1), max(c.Campaigns[f.Campaign], 1)
}

// Suppresses reports whether people who opted out do not get messages of a class of a client from a number. The number's setting counts,
// else that of the client.
func (d *Directory) Suppresses(client, number string, c message.Class) bool {
	now := d.now.Load()
	classes := now.clients[client].Suppress
	if n := now.numbers[number]; n != nil && n.Suppress != nil {
		classes = n.Suppress
	}
	return c == message.Marketing || slices.Contains(classes, string(c))
}

// QuietHours returns the quiet hours of a number and those of a client. The caller must not change the lists.
func (d *Directory) QuietHours(client, number string) (all [2][]config.QuietHours) {
	now := d.now.Load()
	if n := now.numbers[number]; n != nil {
		all[0] = n.Quiet
	}
	all[1] = now.clients[client].Quiet
	return all
}

// Clients returns the names of all clients, sorted.
func (d *Directory) Clients() []string { return slices.Sorted(maps.Keys(d.now.Load().clients)) }

// Quotas returns the quotas of a client; zero: it has none.
func (d *Directory) Quotas(client string) config.Quotas { return d.now.Load().clients[client].Quotas }

// App returns an app with its secrets; false: there is none, or it lacks its app secret or its verify token.
func (d *Directory) App(name string) (config.App, bool) {
	a, ok := d.now.Load().apps[name]
	return a, ok
}

// Apps returns all apps with their secrets, by name.
func (d *Directory) Apps() (all []config.App) {
	now := d.now.Load()
	for _, name := range slices.Sorted(maps.Keys(now.apps)) {
		all = append(all, now.apps[name])
	}
	return all
}

// snapshot is what is known at a moment. It does not change.
type snapshot struct {
	revision string
	ids      []string
	numbers  map[string]*number
	apps     map[string]config.App
	keys     []config.APIKey
	clients  map[string]config.Client
	moved    map[string][]string // for each number, those whose messages were moved to it
	of       map[string][]string // by client: the numbers that it may send from, in the order of ids
}

// number is a number of a snapshot.
type number struct {
	config.Number
	revision  int64  // of the stored entry; 0: it is of the file
	leaving   string // BacklogDrain, BacklogMove, BacklogCancel or empty
	leavingTo string // with BacklogMove
	token     string // the stored access token; empty: none
	tokenErr  error  // why the stored access token cannot be used; nil: it can, or there is none
	tokens    *config.Tokens
}

func (n *number) hasToken() bool { return n.token != "" || n.tokenErr == nil && n.tokens.Has(n.ID) }

// snapshot returns the entries of the file with what is stored in their place. Numbers that did not change since old are taken
// from it.
func (d *Directory) snapshot(c contents, old *snapshot) *snapshot {
	f := d.store.o.File
	next := &snapshot{revision: c.revision, numbers: map[string]*number{}, apps: map[string]config.App{}, clients: map[string]config.Client{}, moved: c.movedTo(time.Now()), of: map[string][]string{}}
	for _, id := range c.unread {
		d.log.Error("cannot read a stored entry, it is not used", "entry", id)
	}
	for _, n := range f.Numbers {
		if _, is := c.entries[KindNumber][n.ID]; !is {
			next.numbers[n.ID] = &number{Number: n, tokens: f.Tokens}
		}
	}
	for _, a := range f.Apps {
		if _, is := c.entries[KindApp][a.Name]; !is {
			next.apps[a.Name] = a
		}
	}
	for _, k := range f.APIKeys {
		if _, is := c.entries[KindKey][k.Name]; !is {
			next.keys = append(next.keys, k)
		}
	}
	for _, one := range f.Clients {
		if _, is := c.entries[KindClient][one.Name]; !is {
			next.clients[one.Name] = one
		}
	}
	for _, kind := range kinds {
		entries := c.entries[kind]
		for _, id := range slices.Sorted(maps.Keys(entries)) {
			one := entries[id]
			if one.removed {
				continue
			}
			if was := old.numbers[id]; kind == KindNumber && was != nil && was.revision == one.revision {
				next.numbers[id] = was
				continue
			}
			if one.read == nil {
				one.read = &reading{}
				if one.read.parsed, one.read.mistakes = parse(one.entry, f.Classes); len(one.read.mistakes) == 0 {
					one.read.secrets = d.open(kind, id, one.document)
				}
				entries[id] = one
			}
			parsed, secrets := one.read.parsed, one.read.secrets
			if len(one.read.mistakes) > 0 {
				d.log.Error("a stored entry is invalid, it is not used", "entry", string(kind)+" "+id, "err", &InvalidError{one.read.mistakes})
				continue
			}
			switch kind {
			case KindNumber:
				next.numbers[id] = f.number(parsed.Numbers[0], one, secrets)
			case KindApp:
				if a := f.app(parsed.Apps[0], secrets); a.Secret != "" && a.VerifyToken != "" {
					next.apps[id] = a
				} else if slices.Contains(d.uses, kind) {
					d.log.Error("an app has no app secret or no verify token, its webhooks are refused", "app", id)
				}
			case KindKey:
				next.keys = append(next.keys, parsed.APIKeys[0])
			case KindClient:
				next.clients[id] = parsed.Clients[0]
			}
		}
	}
	next.order(f)
	return next
}

// order lists the numbers, all and by client, and limits the keys of clients to their numbers.
func (next *snapshot) order(f File) {
	rest := maps.Clone(next.numbers)
	for _, n := range f.Numbers {
		if rest[n.ID] != nil {
			next.ids = append(next.ids, n.ID)
			delete(rest, n.ID)
		}
	}
	next.ids = append(next.ids, slices.Sorted(maps.Keys(rest))...)
	for _, id := range next.ids {
		n := next.numbers[id]
		next.of[n.Client] = append(next.of[n.Client], id)
		for _, client := range n.Shared {
			if client != n.Client {
				next.of[client] = append(next.of[client], id)
			}
		}
	}
	for i, k := range next.keys {
		if k.Client == "" {
			continue
		}
		next.keys[i].Numbers = slices.DeleteFunc(slices.Clone(next.of[k.Client]), func(id string) bool {
			return !slices.Contains(k.Numbers, "*") && !slices.Contains(k.Numbers, id)
		})
	}
}

// number returns a stored number. Without a token of its own it has the token of the file.
func (f File) number(n config.Number, one stored, secrets map[string]opened) *number {
	token := secrets[SecretAccessToken]
	out := &number{Number: n, revision: one.revision, token: string(token.secret), tokenErr: token.err, tokens: f.Tokens}
	if e, ok := one.entry.(Number); ok {
		out.leaving, out.leavingTo = e.Leaving, e.LeavingTo
	}
	if token.secret == "" && token.err == nil && n.TokenFile != "" {
		out.tokens = config.TokenOf(n.ID, n.TokenFile, f.Tokens)
	}
	return out
}

// app returns a stored app. A secret that is not stored is that of the file.
func (f File) app(a config.App, secrets map[string]opened) config.App {
	var of config.App
	if i := slices.IndexFunc(f.Apps, func(of config.App) bool { return of.Name == a.Name }); i >= 0 {
		of = f.Apps[i]
	}
	pick := func(name string, file config.Secret) config.Secret {
		if one, is := secrets[name]; is {
			return one.secret // empty if it cannot be decrypted: another one must not take its place
		}
		return file
	}
	a.Secret, a.PreviousSecret, a.VerifyToken = pick(SecretApp, of.Secret), pick(SecretPreviousApp, of.PreviousSecret), pick(SecretVerifyToken, of.VerifyToken)
	return a
}

// since returns how the numbers differ from those of an older snapshot.
func (next *snapshot) since(old *snapshot) (c Changes) {
	for _, id := range next.ids {
		switch was := old.numbers[id]; {
		case was == nil:
			c.Added = append(c.Added, id)
		case was.revision != next.numbers[id].revision:
			c.Changed = append(c.Changed, id)
		}
	}
	for _, id := range old.ids {
		if next.numbers[id] == nil {
			c.Removed = append(c.Removed, id)
		}
	}
	return c
}
