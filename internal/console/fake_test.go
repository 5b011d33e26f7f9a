package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/archive"
	"sluice/internal/console"
	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/report"
	"sluice/internal/schedules"
)

const (
	ours   = "106540352242922"
	theirs = "200000000000001"
)

// fakeStore keeps messages and holds in memory.
type fakeStore struct {
	mu    sync.Mutex // of Move
	held  []message.Hold
	open  map[string]message.Open
	moves []message.Move
	dead  []message.DeadLetter
	ended []message.Record
	gone  bool          // the content of ended messages is dropped
	ahead time.Duration // how far its clock is ahead
	noted []message.AuditEntry
	busy  int // so many moves find that the message changed meanwhile
	good  int // so many moves succeed, and all after them fail; 0: none fails
	err   error

	reported report.Filter // of the last report

	removed []string // schedules

	unindexed   bool // there is no index of recipients
	forgotten   int  // people
	unscheduled bool // the schedule to the person is removed
	untraced    bool // what else is stored of the person
}

func (s *fakeStore) List(context.Context) ([]message.Hold, error) { return s.held, s.err }

// CountHeld returns 1 for the first hold, 2 for the second, and so on.
func (s *fakeStore) CountHeld(_ context.Context, holds []message.Hold) (byHold []int, byNumber map[string]int, err error) {
	for i := range holds {
		byHold = append(byHold, i+1)
	}
	return byHold, nil, s.err
}

// Summarize returns a report with one of everything.
func (s *fakeStore) Summarize(_ context.Context, f report.Filter) (report.Summary, error) {
	s.reported = f
	line := []report.Line{{Market: "Germany", Category: "utility", Type: "regular", Messages: 2, Price: 55_000, Amount: 110_000}}
	return report.Summary{
		Days: []report.Delivery{{Day: "2026-01-31", Accepted: 2, Delivered: 1, Rate: 0.5}}, Templates: []report.Delivery{{Template: "sale/en_US", Accepted: 2}},
		Errors:     []report.Undelivered{{Code: 131026, State: "failed", Reason: "x", Result: "not_delivered", Messages: 1}},
		Statements: []report.Statement{{Account: "1", Currency: "EUR", Lines: line, Unpriced: line, Messages: 4, Total: 110_000}},
	}, s.err
}

func (s *fakeStore) Set(_ context.Context, h message.Hold) (message.Hold, error) {
	s.held = append(s.held, h)
	return h, s.err
}

func (s *fakeStore) Release(_ context.Context, h message.Hold) (bool, error) {
	for _, other := range s.held {
		if other.On() == h.On() {
			return true, s.err
		}
	}
	return false, s.err
}

func (s *fakeStore) InDoubt(context.Context, string, int) (all []message.Record, err error) {
	for _, o := range s.open {
		if o.State == message.Parked || o.State == message.InDoubt {
			all = append(all, message.Record{Context: o.Message, State: o.State, Reason: o.Reason})
		}
	}
	return all, s.err
}

func (s *fakeStore) AwaitingStatus(_ context.Context, number string, before time.Time, _ int) (all []message.Record, err error) {
	for _, o := range s.open {
		if o.State == message.Submitted && o.Since.Before(before) && (number == "" || o.Message.From == number) {
			all = append(all, message.Record{Context: o.Message, State: o.State, Timeline: []message.Step{{State: o.State, At: o.Since}}})
		}
	}
	return all, s.err
}

func (s *fakeStore) Dead(_ context.Context, filter message.DeadFilter, f func(message.DeadLetter) bool) error {
	for _, d := range s.dead {
		if filter.Selects(d) && s.open[d.ID].State != message.Queued && !f(d) {
			break
		}
	}
	return s.err
}

func (s *fakeStore) Ended(_ context.Context, filter message.EndedFilter, f func(message.Ended) bool) error {
	for _, r := range s.ended {
		o := s.open[r.ID]
		if o.State == r.State && r.From == filter.Number && filter.Selects(r, r.Timeline[0].At) && !f(message.Ended{Open: o, Code: r.Code, At: r.Timeline[0].At, Kept: !s.gone}) {
			break
		}
	}
	return s.err
}

func (s *fakeStore) ReadOpen(_ context.Context, id string) (message.Open, error) {
	o, ok := s.open[id]
	if !ok {
		return o, message.ErrNotFound
	}
	return o, s.err
}

func (s *fakeStore) ReadEnded(ctx context.Context, id string) (message.Ended, error) {
	o, err := s.ReadOpen(ctx, id)
	return message.Ended{Open: o, Kept: !s.gone}, err
}

func (s *fakeStore) Move(_ context.Context, o message.Open, m message.Move) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy > 0 {
		s.busy--
		return false, s.err
	}
	if s.good > 0 && len(s.moves) >= s.good {
		return false, context.DeadlineExceeded
	}
	o.State, o.Reason = m.To, m.Reason
	s.open[o.ID] = o
	s.moves = append(s.moves, m)
	return true, s.err
}

func (s *fakeStore) Add(_ context.Context, d message.AuditEntry) error {
	s.noted = append(s.noted, d)
	return s.err
}

func (s *fakeStore) Latest(context.Context, int) ([]message.AuditEntry, error) { return s.noted, s.err }

// On, Find and the methods after them have the messages of one person: all of the store.
func (s *fakeStore) On() bool { return !s.unindexed }

func (s *fakeStore) Identity(recipient string) people.Identity {
	if strings.TrimPrefix(recipient, "+") == "491701234567" {
		return people.Identity{Hash: people.ID{1}}
	}
	return people.Identity{Hash: people.ID{9}}
}

func (s *fakeStore) Find(context.Context, string) (people.Person, error) {
	return people.Person{Identities: []people.ID{{1}, {2}}, IDs: []people.ID{{2}}, Scopes: 1}, s.err
}

func (s *fakeStore) OfRecipients(_ context.Context, hashes []string) (all []message.Kept, err error) {
	for id, o := range s.open {
		if len(hashes) == 2 {
			all = append(all, message.Kept{Record: message.Record{Context: message.Context{ID: id, From: ours, Class: message.Service, Type: "text", To: "491***67"}, State: o.State}, Object: json.RawMessage(`{"type":"text"}`)})
		}
	}
	return all, s.err
}

func (s *fakeStore) Cancel(_ context.Context, id string) (message.State, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[id]
	o.State = message.Cancelled
	s.open[id] = o
	return o.State, s.err
}

func (s *fakeStore) ExportAll(_ context.Context, hashes []string, f func(archive.Event) error) error {
	return errors.Join(f(archive.Event{Kind: "status", Number: ours, State: "read", At: time.Now()}), s.err)
}

func (s *fakeStore) DeleteAll(context.Context, []string) (int, error) { return 1, s.err }

// fakeLimits has one entry about the person.
type fakeLimits struct{ *fakeStore }

func (s fakeLimits) Entries(_ context.Context, persons []portfolio.Person) (all []portfolio.Entry, err error) {
	for _, p := range persons {
		if p == (portfolio.Person{2}) {
			all = append(all, portfolio.Entry{Portfolio: "2729063490586005", At: time.Now()})
		}
	}
	return all, s.err
}

func (s fakeLimits) Forget(ctx context.Context, persons []portfolio.Person) (int, error) {
	all, err := s.Entries(ctx, persons)
	return len(all), err
}

// OfPerson has a schedule of a client to the person, who has one name.
func (s fakeSchedules) OfPerson(_ context.Context, is func(string) bool, forget bool) (all []schedules.Listed, _ error) {
	if is("+491701234567") && !is("+491701234568") && !s.unscheduled {
		one := schedules.Listed{Client: "acme"}
		one.Name, one.At, one.Next = "report", []string{"09:00"}, []time.Time{}
		all = append(all, one)
	}
	s.unscheduled = s.unscheduled || forget
	return all, s.err
}

// trace has an entry of the person.
func (s fakeSchedules) trace(_ context.Context, who message.PersonNames, forget bool) (all []message.PersonEntry, _ error) {
	if len(who.Hashes) == 2 && who.In("from 491701234567") && !s.untraced {
		all = append(all, message.PersonEntry{What: "customer_service_window", Number: ours, At: time.Now()})
	}
	s.untraced = s.untraced || forget
	return all, s.err
}

// fakeNames forgets a person, and fakePersonal a message.
type (
	fakeNames    struct{ *fakeStore }
	fakePersonal struct{ *fakeStore }
)

func (s fakeNames) Forget(ctx context.Context, recipient string) (people.Person, error) {
	s.forgotten++
	return s.Find(ctx, recipient)
}

func (s fakePersonal) Forget(_ context.Context, id string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o := s.open[id]
	if !o.State.Final() && !o.State.AtMeta() {
		return false, s.err
	}
	delete(s.open, id)
	return true, s.err
}

// fakeCampaigns has cancelled campaigns.
type fakeCampaigns struct {
	*fakeStore
	all    map[message.Flow]message.CancelledCampaign
	change message.CampaignChange // the last one
}

func (f *fakeCampaigns) ChangeCampaign(_ context.Context, c message.CampaignChange) (w message.CampaignWait, err error) {
	f.change = c
	if s := c.Apply(message.CampaignSettings{}, time.Unix(1_790_000_000, 0).UTC()); s.Set() {
		w.Settings, w.Today, w.DayEnds = &s, 7, time.Unix(1_790_000_000, 0).UTC()
	}
	return w, f.err
}

func (f *fakeCampaigns) CancelCampaign(_ context.Context, c message.CancelledCampaign) (time.Time, error) {
	if f.err == nil && c.Campaign != "spring" {
		return time.Time{}, message.ErrNotFound
	}
	if f.err == nil {
		f.all[c.Flow] = c
	}
	return time.Unix(1_790_000_000, 0).UTC(), f.err
}

func (f *fakeCampaigns) OpenCampaign(_ context.Context, c message.CancelledCampaign) (bool, error) {
	_, was := f.all[c.Flow]
	delete(f.all, c.Flow)
	return was, f.err
}

// testConsole is a console with a fakeStore.
type testConsole struct {
	*httptest.Server
	store      *fakeStore
	fleet      *fakeFleet
	targets    *fakeTargets
	campaigns  *fakeCampaigns
	directory  *fakeDirectory
	onboarding *fakeOnboarding
	synced     []string // the accounts whose templates were ordered
	c          *console.Console
	keys       map[string]string // tokens by scope, and "wide" for all numbers
}

func setup(t *testing.T) *testConsole {
	t.Helper()
	d := &testConsole{onboarding: &fakeOnboarding{}, store: &fakeStore{open: map[string]message.Open{}}, keys: map[string]string{}}
	var keys []httpapi.Key
	add := func(name, scope, number string) {
		d.keys[name] = httpapi.NewToken()
		keys = append(keys, httpapi.Key{Name: "key-" + name, Hash: httpapi.HashToken(d.keys[name]), Scopes: []string{scope}, Numbers: []string{number}})
	}
	for _, scope := range httpapi.Scopes() {
		add(scope, scope, ours)
	}
	add("wide", httpapi.ScopeAdmin, httpapi.AllNumbers)
	add("acmes", httpapi.ScopeConsole, ours)
	keys[len(keys)-1].Client = "acme"
	d.fleet, d.directory = &fakeFleet{fakeStore: d.store}, &fakeDirectory{fakeStore: d.store}
	d.targets = &fakeTargets{fakeStore: d.store, all: map[string]message.RelayStatus{}}
	d.campaigns = &fakeCampaigns{fakeStore: d.store, all: map[message.Flow]message.CancelledCampaign{}}
	d.c = console.New(console.Options{
		Fleet: d.fleet, Rates: rateSetter{d.fleet}, Directory: d.directory, Onboarding: d.onboarding, Templates: catalogue(),
		SyncTemplates: func(_ context.Context, account string) error {
			d.synced = append(d.synced, account)
			return d.store.err
		},
		Accounts: func(context.Context) (map[string]string, error) {
			return map[string]string{ours: "11", theirs: "22", "1": "33"}, d.store.err
		},
		Holds: d.store, People: fakeNames{d.store}, Limits: fakeLimits{d.store}, Personal: fakePersonal{d.store}, Schedules: fakeSchedules{d.store}, Traces: []console.Traces{fakeSchedules{d.store}.trace}, Archived: d.store, Reports: d.store, Lists: d.store, Messages: d.store, Audit: d.store, Relay: d.targets, Campaigns: d.campaigns, Keys: httpapi.FixedKeys(keys...),
		Numbers:     func(number string) bool { return number == ours || number == theirs },
		ClockOffset: func() time.Duration { return d.store.ahead },
		Explain:     func(int) (title, advice string) { return "Undeliverable", "Ask for another number." },
	})
	d.Server = httptest.NewUnstartedServer(d.c.Handler())
	d.Config.ReadTimeout = time.Second // of a whole request; only the trickled body needs it
	d.Start()
	t.Cleanup(d.Close)
	return d
}

// do makes a request with a key. change, which may be nil, changes its header.
func (d *testConsole) do(t *testing.T, key, method, path string, body io.Reader, change func(http.Header)) (status int, header http.Header, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, d.URL+path, body)
	if err != nil {
		t.Fatal(err)
	}
	req.Header = http.Header{"Authorization": {"Bearer " + d.keys[key]}, "Content-Type": {"application/json"}}
	if change != nil {
		change(req.Header)
	}
	resp, err := d.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, resp.Header, string(text)
}

// ask returns an answer's status and JSON.
func (d *testConsole) ask(t *testing.T, key, method, path, body string) (int, map[string]any) {
	t.Helper()
	status, _, text := d.do(t, key, method, path, strings.NewReader(body), nil)
	answer := map[string]any{}
	if err := json.Unmarshal([]byte(text), &answer); err != nil {
		t.Fatalf("%s %s: %q: %v", method, path, text, err)
	}
	return status, answer
}
