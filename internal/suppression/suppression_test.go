package suppression_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

const (
	number = "106540352242922" // of acme, shared with globex
	own    = "106540352242923" // of no client
	phone  = "491701234567"
	moved  = "491707654321"
	user   = "DE.1234567890"
)

type noAccounts struct{}

func (noAccounts) All(context.Context) (map[string]string, error)        { return nil, nil }
func (noAccounts) Portfolios(context.Context) (map[string]string, error) { return nil, nil }

// trips counts round trips to Redis.
type trips struct{ atomic.Int64 }

func (c *trips) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *trips) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() != "hello" { // of a new connection
			c.Add(1)
		}
		return next(ctx, cmd)
	}
}

func (c *trips) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmds)
	}
}

type fixture struct {
	*suppression.Store
	t      testing.TB
	db     *store.DB
	people *people.People
	trips  trips
	at     time.Time       // in whole seconds, as Meta's times are
	events []message.Event // that were published
}

func setup(t testing.TB) *fixture { return setupOn(t, redistest.Client(t)) }

func setupOn(t testing.TB, c redis.UniversalClient) *fixture {
	t.Helper()
	f := &fixture{t: t, at: time.Now().Add(-time.Hour).Truncate(time.Second)}
	c.AddHook(&f.trips)
	var err error
	if f.db, err = store.New(t.Context(), c); err != nil {
		t.Fatal(err)
	}
	f.Store = f.process("the key", "")
	return f
}

// process returns the lists of a process of the installation, with its secrets keys.
func (f *fixture) process(key, second string) *suppression.Store {
	f.t.Helper()
	hash := secrets.Hasher(key, "recipient index")
	f.people = people.New(f.db, people.Options{Hash: hash, Shards: 2, Owners: noAccounts{}})
	f.people.OnLearned(func(ctx context.Context, all []message.Identities) error { return f.Learned(ctx, all) })
	s := suppression.New(f.db, suppression.Options{
		Hash: hash, Second: secrets.Hasher(second, "recipient index"), Box: secrets.New(key, second), People: f.people,
		Clients: func(n string) []string {
			if n == number {
				return []string{"acme", "globex"}
			}
			return []string{""}
		},
		Numbers: func(client string) []string {
			if client == "" {
				return []string{own}
			}
			return []string{number}
		},
		Applies: func(client, _ string, c message.Class) bool {
			return c == message.Marketing || client == "globex" && c == message.Utility
		},
		Category: func(_, name, language string) message.Class {
			if name == "sale" && language == "en" {
				return message.Marketing
			}
			return ""
		},
		Publish: func(_ context.Context, all []message.Event) error {
			f.events = append(f.events, all...)
			return nil
		},
		Words: suppression.NewWords(suppression.WordChanges{Add: []string{"Genug!"}, Remove: []string{"alto"}}, suppression.WordChanges{}),
	})
	if err := s.Load(f.t.Context()); err != nil {
		f.t.Fatal(err)
	}
	return s
}

// wrote notes that a person wrote a text to a number, seconds after f.at.
func (f *fixture) wrote(to, text string, after int, who message.Identities) {
	f.t.Helper()
	who.Number = to
	if err := f.people.Learn(f.t.Context(), []message.Identities{who}); err != nil {
		f.t.Fatal(err)
	}
	err := f.Note(f.t.Context(), []message.Preference{{Who: who, Source: message.SuppressedByWord, Said: []string{text}, At: f.at.Add(time.Duration(after) * time.Second)}})
	if err != nil {
		f.t.Fatal(err)
	}
}

// suppresses reports whether a list suppresses a message.
func (f *fixture) suppresses(client, from, to string, c message.Class) bool {
	f.t.Helper()
	m := message.Message{Client: client, From: from, Class: c, Content: message.Content{To: to}}
	found, err := f.Check(f.t.Context(), []*message.Message{{Client: client, From: from, Class: c, Content: message.Content{To: "+1"}}, &m})
	if err != nil {
		f.t.Fatal(err)
	}
	if found != nil && found[0] != nil {
		f.t.Errorf("a person who said nothing is suppressed")
	}
	return found != nil && found[1] != nil
}

var both = message.Identities{User: user, Phones: []string{phone}}

// TestScope: a stop word concerns all clients that send from the number, and no others; of the classes those that the client suppresses.
func TestScope(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.wrote(number, " Stop! ", 0, both)
	for _, c := range []struct {
		client, from, to string
		class            message.Class
		want             bool
	}{
		{"acme", number, "+" + phone, message.Marketing, true},
		{"acme", number, user, message.Marketing, true},
		{"globex", number, "+" + phone, message.Marketing, true},
		{"", own, "+" + phone, message.Marketing, false},
		{"acme", number, "+" + moved, message.Marketing, false},
		{"acme", number, "+" + phone, message.Utility, false},
		{"globex", number, "+" + phone, message.Utility, true},
		{"globex", number, "+" + phone, message.Authentication, false},
		{"globex", number, "+" + phone, message.Service, false},
	} {
		if got := f.suppresses(c.client, c.from, c.to, c.class); got != c.want {
			t.Errorf("%s from %q to %s is suppressed: %t", c.class, c.client, c.to, got)
		}
	}
	one, err := f.Get(t.Context(), "acme", "+"+phone)
	if err != nil || one == nil || one.Source != message.SuppressedByWord || one.Number != number || one.Recipient != message.Mask("+"+phone) || !one.At.Equal(f.at) {
		t.Errorf("%+v, %v", one, err)
	}
}

// TestLatestCounts: what was said last counts, in whatever order and however often Meta reports it.
func TestLatestCounts(t *testing.T) {
	t.Parallel()
	stop, start := "stop", "START"
	type said struct {
		text  string
		after int
	}
	for name, c := range map[string]struct {
		all  []said
		want bool
	}{
		"stop":                          {[]said{{stop, 1}}, true},
		"start":                         {[]said{{start, 1}}, false},
		"start after stop":              {[]said{{stop, 1}, {start, 2}}, false},
		"stop is reported again":        {[]said{{stop, 1}, {start, 2}, {stop, 1}}, false},
		"start is reported first":       {[]said{{start, 2}, {stop, 1}}, false},
		"stop after start":              {[]said{{stop, 1}, {start, 2}, {stop, 3}}, true},
		"in the same second stop wins":  {[]said{{stop, 1}, {start, 1}}, true},
		"whatever comes first":          {[]said{{start, 1}, {stop, 1}}, true},
		"a sentence is no stop word":    {[]said{{"please don't stop", 1}}, false},
		"neither is a part of a word":   {[]said{{"stopwatch", 1}}, false},
		"a word of the configuration":   {[]said{{"genug", 1}}, true},
		"a word that it removes":        {[]said{{"ALTO", 1}}, false},
		"a Turkish capital":             {[]said{{"DURDUR", 1}}, true},
		"letters that are not Latin":    {[]said{{"СТОП.", 1}}, true},
		"marks belong to their letters": {[]said{{"रोकें", 1}}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			for _, s := range c.all {
				f.wrote(number, s.text, s.after, both)
			}
			if got := f.suppresses("acme", number, "+"+phone, message.Marketing); got != c.want {
				t.Errorf("suppressed: %t", got)
			}
		})
	}
}

// TestNames: an entry is for the person: also under a name that Meta reports later, and not for the next owner of a phone number.
func TestNames(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.wrote(number, "stop", 0, both)
	change := message.Identities{User: user, Phones: []string{moved}, FormerPhone: phone, Change: "wamid.change"}
	f.wrote(number, "hello", 1, change)
	for to, want := range map[string]bool{"+" + moved: true, user: true, "+" + phone: false} {
		if got := f.suppresses("acme", number, to, message.Marketing); got != want {
			t.Errorf("%s is suppressed: %t", to, got)
		}
	}
	// A person without a phone number opts out, and Meta reports the phone number later.
	const shy, later = "DE.shy", "4915198765432"
	f.wrote(number, "stop", 2, message.Identities{User: shy})
	if f.suppresses("acme", number, later, message.Marketing) {
		t.Errorf("a name that is not known to be the person's is suppressed")
	}
	f.wrote(number, "hello", 3, message.Identities{User: shy, Phones: []string{later}})
	if !f.suppresses("acme", number, later, message.Marketing) || !f.suppresses("acme", number, shy, message.Marketing) {
		t.Errorf("a phone number that Meta reported later is not suppressed")
	}
	// Two entries of a person whose names were not known to be of one become one.
	const other, alias = "+4915112345678", "DE.alias"
	for _, to := range []string{other, alias} {
		if _, err := f.Add(t.Context(), "acme", []message.SuppressionOrder{{Recipient: to, Source: message.SuppressedByAPI, By: "crm"}}); err != nil {
			t.Fatal(err)
		}
	}
	f.at = time.Now().Add(time.Hour)
	f.wrote(number, "stop", 0, message.Identities{User: alias, Phones: []string{other[1:]}})
	all, _, err := f.Page(t.Context(), "acme", "", 10, true)
	if err != nil || len(all) != 3 || all[0].Recipient != other {
		t.Errorf("%+v, %v", all, err)
	}
	f.wrote(number, "start", 1, message.Identities{User: alias, Phones: []string{other[1:]}})
	if f.suppresses("acme", number, alias, message.Marketing) || f.suppresses("acme", number, other, message.Marketing) {
		t.Errorf("the person opted in, and is suppressed under one of the names")
	}
}

// TestOrders: an API adds and removes people, with any name of a person, and says what it changed.
func TestOrders(t *testing.T) {
	t.Parallel()
	f := setup(t)
	order := func(f func(context.Context, string, []message.SuppressionOrder) ([]message.SuppressionChange, error), to string) bool {
		t.Helper()
		done, err := f(t.Context(), "acme", []message.SuppressionOrder{{Recipient: to, Source: message.SuppressedByAPI, Reason: "asked by mail", By: "crm"}})
		if err != nil || len(done) != 1 || !done[0].Stored {
			t.Fatal(done, err)
		}
		return done[0].Before
	}
	if order(f.Add, "+"+phone) || !order(f.Add, "+"+phone) {
		t.Errorf("wrong about what was before")
	}
	one, err := f.Get(t.Context(), "acme", phone)
	if err != nil || one == nil || one.Says() != "The API key crm added the person (asked by mail)" {
		t.Errorf("%+v, %v", one, err)
	}
	if n, err := f.Count(t.Context()); n != 1 || err != nil {
		t.Errorf("%d people, %v", n, err)
	}
	f.wrote(number, "hi", 0, both) // now the user id is known to be the person's
	if !f.suppresses("acme", number, user, message.Marketing) || !order(f.Remove, user) || f.suppresses("acme", number, "+"+phone, message.Marketing) {
		t.Errorf("the names of the person are not one")
	}
}

// TestPages: the pages have each entry once, the latest first, also many of one moment.
func TestPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var orders []message.SuppressionOrder
	for i := range 25 {
		orders = append(orders, message.SuppressionOrder{Recipient: fmt.Sprint("+49170000", 1000+i), Source: message.SuppressedByImport, At: f.at.Add(time.Duration(i/10) * time.Second)})
	}
	if _, err := f.Add(t.Context(), "", orders); err != nil {
		t.Fatal(err)
	}
	var found []string
	var last time.Time
	for after, more := "", true; more; more = after != "" {
		all, next, err := f.Page(t.Context(), "", after, 4, true)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range all {
			if found = append(found, one.Recipient); !last.IsZero() && one.At.After(last) {
				t.Errorf("%s comes after %s", one.At, last)
			}
			last = one.At
		}
		after = next
	}
	slices.Sort(found)
	if len(found) != 25 || len(slices.Compact(found)) != 25 {
		t.Errorf("the pages have %q", found)
	}
	if masked, _, err := f.Page(t.Context(), "", "", 1, false); err != nil || masked[0].Recipient == found[24] {
		t.Errorf("not masked: %+v, %v", masked, err)
	}
}

// TestTrips counts round trips to Redis: none without entries and for other classes, one for people who said nothing, however many.
func TestTrips(t *testing.T) {
	t.Parallel()
	f := setup(t)
	count := func(what string, want int64, do func()) {
		t.Helper()
		before := f.trips.Load()
		do()
		if got := f.trips.Load() - before; got != want {
			t.Errorf("%s: %d round trips, want %d", what, got, want)
		}
	}
	count("no list has entries", 0, func() { f.suppresses("acme", number, "+"+phone, message.Marketing) })
	count("no stop word", 0, func() { f.wrote(number, "hello", 0, message.Identities{Phones: []string{phone}}) })
	f.wrote(number, "stop", 0, message.Identities{Phones: []string{phone}})
	count("another client", 0, func() { f.suppresses("", own, "+"+phone, message.Marketing) })
	count("another class", 0, func() { f.suppresses("acme", number, "+"+phone, message.Utility) })
	count("no person opted out", 1, func() { f.suppresses("acme", number, "+"+moved, message.Marketing) })
	count("a person opted out", 2, func() { f.suppresses("acme", number, "+"+phone, message.Marketing) })
}

// BenchmarkMemory measures the memory of Redis for an entry, and how long a stop word and a check take.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		f := setup(b)
		used := func() (n int64) {
			fmt.Sscan(f.db.InfoMap(b.Context(), "memory").Item("Memory", "used_memory"), &n)
			return n
		}
		const all, together = 100_000, 500
		before, start := used(), time.Now()
		for i := 0; i < all; i += together {
			some := make([]message.Preference, together)
			for j := range some {
				who := message.Identities{Number: own, User: fmt.Sprint("DE.", i+j), Phones: []string{fmt.Sprint(4917000000000 + i + j)}}
				some[j] = message.Preference{Who: who, Source: message.SuppressedByWord, Said: []string{"stop"}, At: f.at}
			}
			if err := f.Note(b.Context(), some); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(used()-before)/all, "B/person")
		b.ReportMetric(float64(time.Since(start).Microseconds())/all, "us/stop")
		start = time.Now()
		asked := make([]suppression.Query, together)
		for i := range asked {
			asked[i] = suppression.Query{Number: own, Recipient: fmt.Sprint("+", 4918000000000+i)}
		}
		for range all / together {
			if _, err := f.Find(b.Context(), asked); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(time.Since(start).Microseconds())/all, "us/check")
	}
}
