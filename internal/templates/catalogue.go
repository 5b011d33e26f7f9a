package templates

import (
	"cmp"
	"context"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unique"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

const (
	// look is how often a Catalogue asks Redis for its revision.
	look = time.Second
	// lookAtNumbers is how often it reads the accounts of numbers, whose changes have no revision.
	lookAtNumbers = 15 * time.Second
	// wantAgain is how often the messages of unknown templates ask for a sync of one account.
	wantAgain = time.Minute
)

// Catalogue knows the templates of all accounts, as the last sync and later webhooks have them. It answers from memory: a copy
// that never changes, and that Run replaces when the stored templates change. It is safe for concurrent use.
type Catalogue struct {
	store    *Store
	accounts accountStore
	log      *slog.Logger

	now    atomic.Pointer[snapshot]
	asked  sync.Map // by account, when a message of an unknown template last asked for a sync: a time.Time
	readAt time.Time
}

// snapshot is the content of a Catalogue. It never changes.
type snapshot struct {
	revision string
	index    index
	of       map[string]string // the account of each number
	accounts map[string]*account
}

// account has the templates of an account.
type account struct {
	revision string
	fresh    time.Time // until when they count as complete
	byName   map[string][]*message.Template
}

// find returns a template, and all those of the name.
func (a *account) find(name, language string) (t *message.Template, all []*message.Template) {
	all = a.byName[name]
	for _, one := range all {
		if one.Language == language {
			t = one
		}
	}
	return t, all
}

// accountStore stores which WhatsApp Business Account each number belongs to.
type accountStore interface {
	// All returns the accounts that are known, by number.
	All(ctx context.Context) (map[string]string, error)
	// Note stores the account of a number.
	Note(ctx context.Context, number, account string) error
}

// NewCatalogue returns a Catalogue that is empty until Load or Run has read it. log may be nil.
func NewCatalogue(s *Store, accounts accountStore, log *slog.Logger) *Catalogue {
	c := &Catalogue{store: s, accounts: accounts, log: cmp.Or(log, slog.New(slog.DiscardHandler))}
	c.now.Store(&snapshot{})
	return c
}

// Run keeps the copy up to date, within about a second, until ctx ends. It returns nil.
func (c *Catalogue) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	failed := false
	for {
		err := c.Load(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			c.log.Warn("cannot read the templates, the last copy stays in use", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Load reads what has changed. If nothing has, it is one command. It must not run concurrently with itself.
func (c *Catalogue) Load(ctx context.Context) error {
	old := c.now.Load()
	revision, err := c.store.revision(ctx)
	if err != nil {
		return err
	}
	if revision == old.revision && time.Since(c.readAt) < lookAtNumbers {
		return nil
	}
	next := &snapshot{revision: revision, index: old.index, accounts: old.accounts}
	if next.of, err = c.accounts.All(ctx); err != nil {
		return err
	}
	if revision != old.revision {
		if next.index, err = c.store.index(ctx); err != nil {
			return err
		}
		if next.accounts, err = c.read(ctx, next.index, old.accounts); err != nil {
			return err
		}
	}
	c.readAt = time.Now()
	c.now.Store(next)
	return nil
}

// read returns the accounts of an index. It reads those whose templates have changed.
func (c *Catalogue) read(ctx context.Context, x index, old map[string]*account) (map[string]*account, error) {
	accounts := make(map[string]*account, len(x.syncs))
	var changed []string
	for id, state := range x.syncs {
		a := &account{revision: x.revisions[id], fresh: time.UnixMilli(state.Fresh)}
		if was := old[id]; was != nil && was.revision == a.revision {
			a.byName = was.byName
		} else {
			changed = append(changed, id)
		}
		accounts[id] = a
	}
	lists, err := c.store.read(ctx, changed)
	if err != nil {
		return nil, err
	}
	for i, id := range changed {
		byName := make(map[string][]*message.Template, len(lists[i]))
		for _, t := range lists[i] {
			intern(&t)
			byName[t.Name] = append(byName[t.Name], &t)
		}
		accounts[id].byName = byName
	}
	return accounts, nil
}

// intern lets templates share the texts that many of them have.
func intern(t *message.Template) {
	for _, s := range []*string{&t.Name, &t.Language, &t.Status, &t.Category, &t.Quality} {
		*s = unique.Make(*s).Value()
	}
	if t.Parts == nil {
		return
	}
	t.Parts.Header = unique.Make(t.Parts.Header).Value()
	for i := range t.Parts.Body {
		t.Parts.Body[i] = unique.Make(t.Parts.Body[i]).Value()
	}
	for i := range t.Parts.Buttons {
		t.Parts.Buttons[i].Type = unique.Make(t.Parts.Buttons[i].Type).Value()
	}
}

// of returns the templates of a number's account; nil: none are known.
func (c *Catalogue) of(number string) (id string, a *account) {
	now := c.now.Load()
	id = now.of[number]
	if a = now.accounts[id]; a == nil || len(a.byName) == 0 {
		return id, nil
	}
	return id, a
}

// Class returns the class for the category that Meta has for a template; empty: it is unknown. It does not block.
func (c *Catalogue) Class(number, name, language string) message.Class {
	_, a := c.of(number)
	if a == nil {
		return ""
	}
	if t, _ := a.find(name, language); t != nil {
		return t.Class()
	}
	return ""
}

// Check checks a template message against Meta's description of its template, and returns the problems, with their paths
// relative to the object. unchecked is true if the description is too old for that: then the message passes. Without any
// templates of the account, all messages pass. It does not block. A message of a template that is not there lets the workers
// look for it at Meta.
func (c *Catalogue) Check(number string, object jsondoc.Value, m message.Content) (problems []message.Problem, unchecked bool) {
	id, a := c.of(number)
	if a == nil {
		return nil, false
	}
	t, all := a.find(m.Template, m.Language)
	fresh := time.Now().Before(a.fresh)
	if t == nil {
		c.want(id)
	}
	switch {
	case !fresh:
		return nil, true
	case t != nil:
		return content.CheckTemplate(object, t), false
	}
	languages := make([]string, len(all))
	for i, one := range all {
		languages[i] = one.Language
	}
	slices.Sort(languages)
	return content.NoTemplate(object, languages), false
}

// want asks for a sync of an account, once in wantAgain.
func (c *Catalogue) want(id string) {
	now := time.Now()
	if last, loaded := c.asked.LoadOrStore(id, now); loaded && (now.Sub(last.(time.Time)) < wantAgain || !c.asked.CompareAndSwap(id, last, now)) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		defer cancel()
		if err := c.store.Want(ctx, id); err != nil {
			c.log.Warn("cannot ask for a sync of templates", "waba_id", id, "err", err)
		}
	}()
}

// Want asks for a sync of the account of a number at once; of a number without a known account it asks for none.
func (c *Catalogue) Want(ctx context.Context, number string) error {
	if id := c.now.Load().of[number]; id != "" {
		return c.store.Want(ctx, id)
	}
	return nil
}

// Accounts returns all known accounts, by id.
func (c *Catalogue) Accounts() []message.TemplateAccount {
	now := c.now.Load()
	all := map[string]*message.TemplateAccount{}
	get := func(id string) *message.TemplateAccount {
		if all[id] == nil {
			all[id] = &message.TemplateAccount{ID: id, Sync: now.index.syncs[id]}
		}
		return all[id]
	}
	for _, number := range slices.Sorted(maps.Keys(now.of)) {
		a := get(now.of[number])
		a.Numbers = append(a.Numbers, number)
	}
	for id, known := range now.accounts {
		a := get(id)
		for _, some := range known.byName {
			for _, t := range some {
				a.Templates = append(a.Templates, *t)
			}
		}
		slices.SortFunc(a.Templates, func(x, y message.Template) int {
			return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Language, y.Language))
		})
	}
	list := make([]message.TemplateAccount, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		list = append(list, *all[id])
	}
	return list
}
