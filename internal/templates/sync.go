package templates

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

const (
	// requestEvery is how often an installation makes a request to Meta for templates at most.
	requestEvery = 500 * time.Millisecond
	// throttledFor is how long it makes none after Meta refused one because of a limit.
	throttledFor = time.Minute
	// syncGap is the shortest time between two syncs of an account.
	syncGap = 5 * time.Second
	// syncTime is the time limit of one sync, which its lock outlives.
	syncTime = 2 * time.Minute
	// firstRetry and lastRetry are the pauses before another attempt, which grow from one to the other.
	firstRetry, lastRetry = 30 * time.Second, time.Hour
	// maxNumbers is how many numbers are asked for their account in one round.
	maxNumbers = 32
)

// graph asks Meta, with the access token of a number.
type graph interface {
	// Templates returns a page of the templates of an account, see cloudapi.Client.
	Templates(ctx context.Context, number, account, after, etag string) (message.TemplatePage, error)
	// Owner returns the WhatsApp Business Account of a number, and the business portfolio that owns it; empty: Meta does not say.
	Owner(ctx context.Context, number string) (account, portfolio string, err error)
}

// owners stores the accounts of numbers and the portfolios of accounts.
type owners interface {
	accountStore
	Portfolios(ctx context.Context) (map[string]string, error)
	NotePortfolio(ctx context.Context, account, portfolio string) error
}

// SyncOptions are what a Syncer works with. Without Registerer there are no metrics. All others but Pace are required.
type SyncOptions struct {
	Catalogue *Catalogue
	Owners    owners
	Graph     graph
	Numbers   func() []string          // the configured phone number ids
	Ready     func(number string) bool // reports whether there is an access token of a number to ask Meta with
	Worker    string                   // the name of this process
	Every     time.Duration            // how often the templates of each account are read
	Pace      time.Duration            // the time between two requests of the installation to Meta; 0: requestEvery
	// States is called with the templates of an account whose status changed, before they are stored. After an error they are not
	// stored, and the next sync calls it again.
	States     func(ctx context.Context, account string, changed []message.Template) error
	Throttled  func(err error) bool // reports whether an error of Graph is because of Meta's limits
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Syncer reads the templates of accounts from Meta and stores them. Any number of processes may run one: they share the
// accounts, and the limit of requests.
type Syncer struct {
	o     SyncOptions
	syncs *prometheus.CounterVec
	busy  map[string]time.Time // by account: until when another process is assumed to synchronise it
	asked map[string]time.Time // by number: when Meta is asked for its account again
}

// The results of syncs.
const (
	resultChanged   = "changed"
	resultUnchanged = "unchanged"
	resultFailed    = "failed"
)

// NewSyncer returns a Syncer.
func NewSyncer(o SyncOptions) *Syncer {
	o.Pace = cmp.Or(o.Pace, requestEvery)
	s := &Syncer{o: o, busy: map[string]time.Time{}, asked: map[string]time.Time{}}
	s.syncs = promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_template_syncs_total",
		Help: "Syncs of the templates of an account with Meta, by result: changed, unchanged, failed.",
	}, []string{"result"})
	for _, result := range []string{resultChanged, resultUnchanged, resultFailed} {
		s.syncs.WithLabelValues(result)
	}
	if o.Registerer != nil {
		o.Registerer.MustRegister(gauges{o.Catalogue})
	}
	return s
}

// Run synchronises accounts that are due until ctx ends. It also keeps the Catalogue up to date. It returns nil.
func (s *Syncer) Run(ctx context.Context) error {
	tick := time.NewTicker(look)
	defer tick.Stop()
	failed := false
	for {
		err := s.Step(ctx)
		if err != nil && ctx.Err() == nil && !failed {
			s.o.Log.Warn("cannot read or store templates, will retry", "err", err)
		}
		failed = err != nil
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Step learns the accounts of numbers, and synchronises the accounts that are due, the most urgent first. The error is of the
// store.
func (s *Syncer) Step(ctx context.Context) error {
	if err := s.o.Catalogue.Load(ctx); err != nil {
		return err
	}
	if err := s.learn(ctx); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := s.o.Catalogue.Load(ctx); err != nil {
			return err
		}
		account, number := s.due()
		if account == "" {
			return nil
		}
		locked, err := s.o.Catalogue.store.lock(ctx, account, s.o.Worker, syncTime+time.Minute)
		if err != nil {
			return err
		}
		if !locked {
			s.busy[account] = time.Now().Add(syncGap)
			continue
		}
		err = s.sync(ctx, account, number)
		if unlocked := s.o.Catalogue.store.release(context.WithoutCancel(ctx), account, s.o.Worker); err == nil {
			err = unlocked
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// due returns the account whose sync is the most urgent, and a number whose access token may read it; empty: none is due.
func (s *Syncer) due() (account, number string) {
	now, snap := time.Now(), s.o.Catalogue.now.Load()
	var first time.Time
	for _, n := range s.o.Numbers() {
		id := snap.of[n]
		if id == "" || !s.o.Ready(n) || now.Before(s.busy[id]) {
			continue
		}
		at := dueAt(snap.index.syncs[id], snap.index.wanted[id], s.o.Every)
		if !at.After(now) && (account == "" || at.Before(first)) {
			account, number, first = id, n, at
		}
	}
	return account, number
}

// dueAt returns when the next sync of an account is due. A requested one is due before all others.
func dueAt(state message.TemplateSync, wanted int64, every time.Duration) time.Time {
	started := time.UnixMilli(state.Started)
	switch {
	case wanted > state.Started:
		return started.Add(syncGap)
	case state.Fails > 0:
		return started.Add(min(firstRetry<<min(state.Fails-1, 10), lastRetry))
	}
	return started.Add(every)
}

// sync synchronises one account. The error is of the store; one of Meta is in the state of the account.
func (s *Syncer) sync(stop context.Context, account, number string) error {
	ctx, cancel := context.WithTimeout(stop, syncTime)
	defer cancel()
	store, began := s.o.Catalogue.store, time.Now()
	state := s.o.Catalogue.now.Load().index.syncs[account]
	state.Started = began.UnixMilli()
	known, err := store.read(ctx, []string{account})
	if err != nil {
		return err
	}
	templates, pages, err := s.fetch(ctx, account, number, state.Pages)
	result := resultUnchanged
	if err == nil && templates != nil {
		changed, gone, states := compare(known[0], templates, state.Started)
		if len(states) > 0 {
			err = s.o.States(ctx, account, states)
		}
		if err == nil {
			err = store.write(ctx, account, changed, gone)
		}
		if len(changed)+len(gone) > 0 {
			result = resultChanged
		}
	}
	switch {
	case stop.Err() != nil: // another process does it again
		return nil
	case err != nil && ctx.Err() != nil:
		err = fmt.Errorf("the sync did not end within %s", syncTime)
	}
	if err == nil {
		state.Synced, state.Fresh = state.Started, began.Add(2*s.o.Every+time.Minute).UnixMilli()
		state.Fails, state.Error, state.Pages = 0, "", pages
	} else {
		result = resultFailed
		state.Fails++
		state.Error = err.Error()
		s.o.Log.Warn("cannot read the templates of an account from Meta, will retry", "waba_id", account, "phone_number_id", number, "err", err)
		if s.o.Throttled(err) {
			if err := store.pause(context.WithoutCancel(ctx), throttledFor); err != nil {
				return err
			}
		}
	}
	s.syncs.WithLabelValues(result).Inc()
	return store.setSync(context.WithoutCancel(ctx), account, state)
}

// fetch reads all templates of an account from Meta; nil: they are the same as those of the known pages. It first asks for the
// known pages. When one has changed it reads all, because the cursors of the others may have moved.
func (s *Syncer) fetch(ctx context.Context, account, number string, known []message.TemplateTag) (all []message.Template, pages []message.TemplateTag, err error) {
	ask := func(tag message.TemplateTag) (message.TemplatePage, error) {
		if err := s.o.Catalogue.store.turn(ctx, s.o.Pace); err != nil {
			return message.TemplatePage{}, err
		}
		return s.o.Graph.Templates(ctx, number, account, tag.After, tag.ETag)
	}
	for i, tag := range known {
		if tag.ETag == "" {
			break
		}
		page, err := ask(tag)
		if err != nil {
			return nil, nil, err
		}
		if !page.Unchanged {
			if i == 0 {
				all = append(all, page.Templates...)
				pages = append(pages, message.TemplateTag{ETag: page.ETag})
				return s.rest(page.Next, all, pages, ask)
			}
			break
		}
		if i == len(known)-1 {
			return nil, known, nil
		}
	}
	page, err := ask(message.TemplateTag{})
	if err != nil {
		return nil, nil, err
	}
	return s.rest(page.Next, page.Templates, []message.TemplateTag{{ETag: page.ETag}}, ask)
}

// rest reads the pages from a cursor on. all is not nil afterwards, unless there is an error.
func (s *Syncer) rest(after string, all []message.Template, pages []message.TemplateTag, ask func(message.TemplateTag) (message.TemplatePage, error)) ([]message.Template, []message.TemplateTag, error) {
	for after != "" {
		page, err := ask(message.TemplateTag{After: after})
		if err != nil {
			return nil, nil, err
		}
		if page.Next == after {
			return nil, nil, errors.New("the list has a page that follows itself")
		}
		all = append(all, page.Templates...)
		pages = append(pages, message.TemplateTag{After: after, ETag: page.ETag})
		after = page.Next
	}
	if all == nil {
		all = []message.Template{}
	}
	return all, pages, nil
}

// compare returns the templates that are to be stored, the ids of those to be removed, and those whose status changed, with
// the status DELETED for one that Meta does not have any more. It leaves out those that a webhook changed since the sync
// started, in Unix milliseconds: what Meta's list says of them may be older.
func compare(known, now []message.Template, started int64) (changed []message.Template, gone []string, states []message.Template) {
	old := make(map[string]message.Template, len(known))
	for _, t := range known {
		old[t.TemplateID()] = t
	}
	for _, t := range now {
		id := t.TemplateID()
		was, stored := old[id]
		delete(old, id)
		if was.Changed >= started {
			continue
		}
		if t.Changed, t.Active = was.Changed, was.Active; stored && reflect.DeepEqual(was, t) {
			continue
		}
		if !stored || !reflect.DeepEqual(was.Parts, t.Parts) || was.Status == "ARCHIVED" {
			t.Active = started
		}
		changed = append(changed, t)
		if was.Status != t.Status {
			states = append(states, t)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(old)) {
		t := old[id]
		if t.Changed >= started {
			continue
		}
		gone = append(gone, id)
		if t.Status != "DELETED" {
			t.Status = "DELETED"
			states = append(states, t)
		}
	}
	return changed, gone, states
}

// learn asks Meta for the accounts of numbers, and for the portfolios of accounts, that are not stored.
func (s *Syncer) learn(ctx context.Context) error {
	now, of := time.Now(), s.o.Catalogue.now.Load().of
	var portfolios map[string]string
	asked := 0
	for _, n := range s.o.Numbers() {
		if now.Before(s.asked[n]) || !s.o.Ready(n) || asked == maxNumbers {
			continue
		}
		if portfolios == nil {
			var err error
			if portfolios, err = s.o.Owners.Portfolios(ctx); err != nil {
				return err
			}
		}
		if of[n] != "" && portfolios[of[n]] != "" {
			s.asked[n] = now.Add(s.o.Every)
			continue
		}
		asked++
		s.asked[n] = now.Add(firstRetry)
		if err := s.o.Catalogue.store.turn(ctx, s.o.Pace); err != nil {
			return err
		}
		account, portfolio, err := s.o.Graph.Owner(ctx, n)
		if err != nil || account == "" {
			s.o.Log.Warn("cannot read the WhatsApp Business Account of a number from Meta, will retry", "phone_number_id", n, "err", cmp.Or(err, errNoAccount))
			s.asked[n] = now.Add(10 * firstRetry)
			continue
		}
		if account != of[n] {
			if err := s.o.Owners.Note(ctx, n, account); err != nil {
				return err
			}
			if err := s.o.Catalogue.store.Want(ctx, account); err != nil {
				return err
			}
		}
		if portfolio == "" {
			s.asked[n] = now.Add(s.o.Every)
			continue
		}
		if err := s.o.Owners.NotePortfolio(ctx, account, portfolio); err != nil {
			return err
		}
		portfolios[account] = portfolio
	}
	return nil
}
