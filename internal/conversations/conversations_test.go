package conversations_test

import (
	"context"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/conversations"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	number = "106540352242922"
	other  = "106540352242923"
	phone  = "16505551234"
	user   = "US.1234567890"
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
	*conversations.Owners
	t      testing.TB
	db     *store.DB
	people *people.People
	trips  trips
	now    time.Time // in whole seconds, as Meta's times are
}

// setup returns the owners of conversations with a Redis of their own. keyed: people are known by keyed hashes.
func setup(t testing.TB, keyed bool) *fixture {
	t.Helper()
	c := redistest.Client(t)
	f := &fixture{t: t, now: time.Now().Truncate(time.Second)}
	c.AddHook(&f.trips)
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	f.db = db
	o := people.Options{Shards: 2, Owners: noAccounts{}}
	if keyed {
		o.Hash = secrets.Hasher("a key", "recipient index")
	}
	f.people = people.New(db, o)
	f.Owners = f.process()
	return f
}

func (f *fixture) process() *conversations.Owners {
	return conversations.New(f.db, 2, f.people, slog.New(slog.DiscardHandler))
}

func (f *fixture) ok(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// report returns a report about the conversation with phone.
func (f *fixture) report(o message.Owner, ago time.Duration, handover bool) message.OwnerReport {
	return message.OwnerReport{Number: number, Phone: phone, Owner: o, Handover: handover, At: f.now.Add(-ago)}
}

func (f *fixture) until(o *conversations.Owners, to string) time.Time {
	f.t.Helper()
	until, err := o.ElsewhereTo(f.t.Context(), []conversations.Recipient{{Number: number, To: to}})
	f.ok(err)
	return until[0]
}

// TestWithoutAnIndex: without an index of recipients a worker has hashes of its own for messaging limits. All programs name the people
// of conversations alike all the same.
func TestWithoutAnIndex(t *testing.T) {
	t.Parallel()
	f := setup(t, false)
	worker := conversations.New(f.db, 2, people.New(f.db, people.Options{
		Hash: secrets.Hasher("a key", "recipient index"), Alone: true, Shards: 2, Owners: noAccounts{},
	}), slog.New(slog.DiscardHandler))
	f.ok(worker.Note(t.Context(), []message.OwnerReport{f.report(message.OwnedByOther, time.Hour, false)}))
	producer := f.process()
	f.ok(producer.Load(t.Context()))
	if until := f.until(producer, "+"+phone); until.IsZero() {
		t.Error("the producer does not know the owner that the worker stored")
	}
}

// TestOwner: the latest report decides, in whatever order and however often reports come. After 24 hours without one no app owns a
// conversation.
func TestOwner(t *testing.T) {
	t.Parallel()
	const us, app, unknown = message.OwnedByUs, message.OwnedByOther, message.OwnerUnknown
	f := setup(t, true)
	for name, c := range map[string]struct {
		reports []message.OwnerReport
		want    time.Duration // from f.now, until when another app owns the conversation; 0: none does
	}{
		"nothing":                        {nil, 0},
		"a message to another app":       {[]message.OwnerReport{f.report(app, time.Hour, false)}, 23 * time.Hour},
		"then one to us":                 {[]message.OwnerReport{f.report(app, time.Hour, false), f.report(us, time.Minute, false)}, 0},
		"the one to us was earlier":      {[]message.OwnerReport{f.report(us, 2*time.Hour, false), f.report(app, time.Hour, false)}, 23 * time.Hour},
		"another app writes on":          {[]message.OwnerReport{f.report(app, time.Hour, false), f.report(app, 0, false)}, 24 * time.Hour},
		"control passed to us":           {[]message.OwnerReport{f.report(app, time.Minute, false), f.report(us, 0, true)}, 0},
		"control taken from us":          {[]message.OwnerReport{f.report(us, time.Minute, false), f.report(app, 0, true)}, 24 * time.Hour},
		"passed in the same second":      {[]message.OwnerReport{f.report(app, 0, false), f.report(us, 0, true)}, 0},
		"taken in the same second":       {[]message.OwnerReport{f.report(us, 0, false), f.report(app, 0, true)}, 24 * time.Hour},
		"Meta does not say":              {[]message.OwnerReport{f.report(app, time.Minute, false), f.report(unknown, 0, true)}, 0},
		"idle":                           {[]message.OwnerReport{f.report(app, 24*time.Hour, false)}, 0},
		"control passed, without others": {[]message.OwnerReport{f.report(us, 0, true)}, 0},
	} {
		want := time.Time{}
		if c.want > 0 {
			want = f.now.Add(c.want).UTC()
		}
		reversed := append([]message.OwnerReport(nil), c.reports...)
		for i := range reversed {
			reversed[i] = c.reports[len(c.reports)-1-i]
		}
		// One call is one webhook batch. Separate calls have the first report of another app first, or the number is not shared yet.
		for order, calls := range map[string][][]message.OwnerReport{"together": {c.reports}, "reversed": {reversed}, "repeated": {c.reports, reversed, c.reports}} {
			f.db.FlushAll(t.Context())
			f.Owners = f.process()
			for _, reports := range calls {
				f.ok(f.Note(t.Context(), reports))
			}
			second := f.process() // of another process
			f.ok(second.Load(t.Context()))
			for _, o := range []*conversations.Owners{f.Owners, second} {
				if got := f.until(o, "+"+phone); !got.Equal(want) {
					t.Errorf("%s, %s: until %s, want %s", name, order, got, want)
				}
			}
		}
	}
}

// TestNames: a conversation has all names of its person. Without keyed hashes each name that Meta reports is known.
func TestNames(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		f := setup(t, keyed)
		if keyed {
			f.ok(f.people.Learn(t.Context(), []message.Identities{{Number: number, User: user, Phones: []string{phone}}}))
		}
		r := f.report(message.OwnedByOther, 0, false)
		r.User = user
		f.ok(f.Note(t.Context(), []message.OwnerReport{r}))
		for to, want := range map[string]bool{"+" + phone: true, user: true, "+16505550000": false, "US.9": false} {
			if got := !f.until(f.Owners, to).IsZero(); got != want {
				t.Errorf("keyed %t: %s is elsewhere: %t", keyed, to, got)
			}
		}
		if keyed && len(f.db.Keys(t.Context(), "*owners*").Val()) != 1 {
			t.Error("the person has two entries")
		}
		if names := f.db.Keys(t.Context(), "*"+phone+"*").Val(); len(names) > 0 {
			t.Errorf("keys name the person: %q", names)
		}
	}
}

// TestCommands counts round trips: none for a number on which Meta reported no other app.
func TestCommands(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	f.db.Clock(t.Context(), "any") // is read once a minute
	f.ok(f.Note(t.Context(), []message.OwnerReport{{Number: other, Phone: "1", Owner: message.OwnedByOther, At: f.now}}))
	for _, c := range []struct {
		name string
		want int64
		do   func() error
	}{
		{"messages to a number of ours alone", 0, func() error {
			return f.Note(t.Context(), []message.OwnerReport{f.report(message.OwnedByUs, 0, false), f.report(message.OwnedByUs, 0, false)})
		}},
		{"owners there", 0, func() error {
			_, err := f.ElsewhereTo(t.Context(), []conversations.Recipient{{Number: number, To: "+" + phone}, {Number: number, To: user}})
			return err
		}},
		{"the first message to another app: noted, read, stored", 3, func() error {
			return f.Note(t.Context(), []message.OwnerReport{f.report(message.OwnedByOther, 0, false)})
		}},
		{"the next one", 1, func() error {
			return f.Note(t.Context(), []message.OwnerReport{f.report(message.OwnedByOther, 0, false)})
		}},
		{"owners of many", 1, func() error {
			_, err := f.ElsewhereTo(t.Context(), []conversations.Recipient{{Number: number, To: "+" + phone}, {Number: number, To: "+2"}, {Number: other, To: "+3"}})
			return err
		}},
	} {
		before := f.trips.Load()
		f.ok(c.do())
		if got := f.trips.Load() - before; got != c.want {
			t.Errorf("%s: %d round trips, want %d", c.name, got, c.want)
		}
	}
}

// TestExpiry: everything that is stored ends by itself.
func TestExpiry(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	f.ok(f.Note(t.Context(), []message.OwnerReport{f.report(message.OwnedByOther, 25*time.Hour, false)}))
	if keys := f.db.Keys(t.Context(), "*owners*").Val(); len(keys) != 0 {
		t.Errorf("an old report is kept in %q", keys)
	}
	f.ok(f.Note(t.Context(), []message.OwnerReport{f.report(message.OwnedByOther, 0, false)}))
	for _, key := range f.db.Keys(t.Context(), "*owners*").Val() {
		if left := f.db.TTL(t.Context(), key).Val(); left <= 0 || left > 25*time.Hour {
			t.Errorf("%s is kept for %s", key, left)
		}
	}
	f.ok(f.db.ZAdd(t.Context(), "sluice:conversations:shared", redis.Z{Score: float64(f.now.Add(-26 * time.Hour).Unix()), Member: number}).Err())
	f.ok(f.Load(t.Context()))
	if f.Shared(number) {
		t.Error("a number counts as shared for too long")
	}
}

// BenchmarkMemory measures the memory of Redis for a person who wrote to a number that another app shares.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		f := setup(b, true)
		used := func() (n int64) {
			_, text, _ := strings.Cut(f.db.Info(b.Context(), "memory").Val(), "used_memory:")
			text, _, _ = strings.Cut(text, "\r")
			n, _ = strconv.ParseInt(text, 10, 64)
			return n
		}
		const all, together = 100_000, 500
		before := used()
		for i := 0; i < all; i += together {
			some := make([]message.OwnerReport, together)
			for j := range some {
				some[j] = message.OwnerReport{Number: number, Phone: fmt.Sprint(16500000000 + i + j), Owner: message.OwnedByOther, At: f.now}
			}
			f.ok(f.Note(b.Context(), some))
		}
		b.ReportMetric(float64(used()-before)/all, "B/person")
	}
}

// TestOfPerson: the owner of a conversation is forgotten for all names of the person, and the others stay.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	of := f.report(message.OwnedByOther, time.Hour, false)
	stays := of
	stays.Phone = "16505559999"
	f.ok(f.Note(t.Context(), []message.OwnerReport{of, stays}))
	hash := f.people.Identity(phone).Hash
	who := message.PersonNames{Hashes: []string{string(hash[:]), "another "}}
	second := f.process() // has not read which numbers are shared
	for i, want := range []int{1, 1, 0} {
		all, err := second.OfPerson(t.Context(), who, i == 1)
		if err != nil || len(all) != want || want > 0 && (all[0].Number != number || !all[0].At.Equal(of.At)) {
			t.Errorf("%+v, %v, want %d", all, err, want)
		}
	}
	if !f.until(f.Owners, "+"+phone).IsZero() || f.until(f.Owners, "+"+stays.Phone).IsZero() {
		t.Error("the wrong conversation is forgotten")
	}
}
