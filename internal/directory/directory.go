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

// RefusesOutsideWindow reports whether free-form messages of a number outside the customer service window are refused, or replaced by their
// fallback template.
func (d *Directory) RefusesOutsideWindow(number string) bool {
	n := d.now.Load().numbers[number]
	return n != nil && n.Window == config.WindowRefuse
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

// AutoReply returns the automatic replies of a number; nil: it has none. The caller must not change them. Of a number that did not change
// it returns the same pointer again.
func (d *Directory) AutoReply(number string) *config.AutoReply {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.AutoReply
	}
	return nil
}

// FrequencyCaps returns the frequency caps of a client. The caller must not change the list.
func (d *Directory) FrequencyCaps(client string) []config.FrequencyCap {
	return d.now.Load().clients[client].Caps
}

// Clients returns the names of all clients, sorted.
func (d *Directory) Clients() []string { return slices.Sorted(maps.Keys(d.now.Load().clients)) }

// Budgets returns the budgets of a client; zero: it has none. The caller must not change them.
func (d *Directory) Budgets(client string) config.Budgets {
	return d.now.Load().clients[client].Budgets
}

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
