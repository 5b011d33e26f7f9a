package servicewindow_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/servicewindow"
	"sluice/internal/store"
)

const (
	number  = "106540352242922"
	off     = "106540352242923"
	phone   = "16505551234"
	user    = "US.1234567890"
	since   = "sluice:windows:since"
	repeats = 15 * time.Minute
)

type noAccounts struct{}

func (noAccounts) All(context.Context) (map[string]string, error)        { return nil, nil }
func (noAccounts) Portfolios(context.Context) (map[string]string, error) { return nil, nil }

// commands counts the commands to Redis.
type commands struct{ atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

type fixture struct {
	*servicewindow.Windows
	t       testing.TB
	db      *store.DB
	people  *people.People
	server  *redistest.Server
	asked   commands
	now     time.Time
	channel message.Channel
	mark    time.Time
	applied func() bool
}

// setup returns windows that are known: the number is tracked for long, and webhooks arrive. keyed: there is a secrets key.
func setup(t testing.TB, keyed bool) *fixture {
	t.Helper()
	f := &fixture{t: t, server: redistest.Start(t), now: time.Now()}
	c := f.server.Client()
	c.AddHook(&f.asked)
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	o := people.Options{Shards: 2, Owners: noAccounts{}}
	if keyed {
		o.Hash = secrets.Hasher("a key", "recipient index")
	}
	f.db, f.people = db, people.New(db, o)
	f.channel = message.Channel{Reported: true, Programs: 1, Open: f.now, LastStatus: f.now.Add(-time.Hour), Gap: f.now.Add(-time.Hour)}
	f.mark, f.applied = f.now, func() bool { return true }
	f.again()
	if keyed {
		f.since(25 * time.Hour)
	}
	return f
}

// since lets the number be tracked for as long.
func (f *fixture) since(d time.Duration) {
	f.t.Helper()
	if err := f.db.HSet(f.t.Context(), since, f.Field(number), f.now.Add(-d).UnixMilli()).Err(); err != nil {
		f.t.Fatal(err)
	}
}

// again makes windows that remember nothing.
func (f *fixture) again() {
	f.Windows = servicewindow.New(f.db, servicewindow.Options{
		Shards: 2, People: f.people, Numbers: func() []string { return []string{number, off} }, Tracked: func(n string) bool { return n == number },
		Channel: func(context.Context, string) (message.Channel, error) { return f.channel, nil },
		Repeats: func(string) time.Duration { return repeats },
		Watermark: func(context.Context, message.Shard) (time.Time, error) {
			return f.mark, nil
		},
		Applied: func(context.Context, message.Shard) (bool, error) { return f.applied(), nil },
	})
}

func (f *fixture) note(all ...message.WindowReport) {
	f.t.Helper()
	if err := f.Note(f.t.Context(), all); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) wrote(number, phone, user string, ago time.Duration) message.WindowReport {
	return message.WindowReport{Number: number, Phone: phone, User: user, At: f.now.Add(-ago)}
}

func (f *fixture) closed(number, recipient string) bool {
	f.t.Helper()
	for _, ask := range []func(context.Context, []servicewindow.Query) ([]bool, error){f.Closed, f.ClosedNow} {
		closed, err := ask(f.t.Context(), []servicewindow.Query{{Number: number, Recipient: recipient}})
		if err != nil {
			f.t.Fatal(err)
		}
		if closed[0] {
			return true
		}
	}
	return false
}

func (f *fixture) end(recipient string) time.Time {
	f.t.Helper()
	ends, err := f.Ends(f.t.Context(), []servicewindow.Query{{Number: number, Recipient: recipient}})
	if err != nil {
		f.t.Fatal(err)
	}
	return ends[0]
}

// TestWindows: a message opens the window of all names of the person for 24 hours by Meta's time. The latest message counts, in whatever
// order they come.
func TestWindows(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	if !f.closed(number, "+"+phone) || !f.closed(number, user) {
		t.Error("the window of a person who never wrote is open")
	}
	f.note(f.wrote(number, phone, "", time.Hour), f.wrote(number, phone, "", 2*time.Hour))
	f.note(f.wrote(number, phone, "", 3*time.Hour))
	want := f.now.Add(-time.Hour).Truncate(time.Second).Add(24 * time.Hour)
	if got := f.end("+" + phone); !got.Equal(want) || f.closed(number, "+"+phone) || f.closed(number, phone) {
		t.Errorf("the window ends at %s, want %s", got, want)
	}
	if !f.closed(number, user) {
		t.Error("another person has the window")
	}
	// Meta reports that the user id is the same person.
	if err := f.people.Learn(t.Context(), []message.Identities{{Number: number, User: user, Phones: []string{phone}}}); err != nil {
		t.Fatal(err)
	}
	if f.closed(number, user) {
		t.Error("the window of the user id is closed")
	}
	// A person with a username wrote without a phone number.
	f.note(f.wrote(number, "", "US.2", time.Minute))
	if f.closed(number, "US.2") || !f.closed(number, "US.3") {
		t.Error("the window of a user id")
	}
	for name, c := range map[string]struct {
		ago  time.Duration
		want bool
	}{
		"just before its end": {24*time.Hour - 10*time.Second, false}, "in the margin": {24*time.Hour - 2*time.Second, true},
		"after its end": {24*time.Hour + time.Second, true}, "delivered a day late": {48 * time.Hour, true},
	} {
		to := strconv.FormatInt(4917000000000+int64(c.ago/time.Second), 10)
		f.note(f.wrote(number, to, "", c.ago))
		if got := f.closed(number, "+"+to); got != c.want {
			t.Errorf("%s: closed %t", name, got)
		}
	}
}

// TestUnknownWindows: a window is not closed while Sluice may have missed what opened it.
func TestUnknownWindows(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	channel := f.channel
	for name, change := range map[string]func(){
		"not tracked yet":                       func() { f.db.Del(t.Context(), since) },
		"tracked for less than a day":           func() { f.since(24 * time.Hour) },
		"no webhook program":                    func() { f.channel.Programs = 0 },
		"it is not proven that none was missed": func() { f.channel.Open = f.now.Add(-2 * time.Minute) },
		"a webhook was refused":                 func() { f.channel.Gap = f.now.Add(-repeats + time.Minute) },
		"no status for a day":                   func() { f.channel.LastStatus = f.now.Add(-25 * time.Hour) },
		"no status ever":                        func() { f.channel.LastStatus = time.Time{} },
		"webhooks are not applied":              func() { f.mark = f.now.Add(-30 * time.Second) },
	} {
		f.again()
		change()
		if f.closed(number, phone) {
			t.Errorf("%s: closed", name)
		}
		f.channel, f.mark = channel, f.now
		f.since(25 * time.Hour)
		if f.again(); !f.closed(number, phone) {
			t.Errorf("%s: still unknown", name)
		}
	}
	// A new message may answer one that is not applied yet.
	f.applied = func() bool { return false }
	if closed, err := f.ClosedNow(t.Context(), []servicewindow.Query{{Number: number, Recipient: phone}}); err != nil || closed[0] {
		t.Errorf("a new message: closed %t, %v", closed, err)
	}
	f.applied = func() bool {
		f.note(f.wrote(number, phone, "", time.Second))
		return true
	}
	if closed, err := f.ClosedNow(t.Context(), []servicewindow.Query{{Number: number, Recipient: phone}, {Number: number, Recipient: user}}); err != nil || closed[0] || !closed[1] {
		t.Errorf("new messages: closed %t, %v", closed, err)
	}
	f.server.Kill()
	if _, err := f.Closed(t.Context(), []servicewindow.Query{{Number: number, Recipient: phone}}); err == nil {
		t.Error("without Redis the window is known")
	}
}

// TestNotTracked: numbers without the setting, and an installation without a secrets key, store nothing and ask nothing.
func TestNotTracked(t *testing.T) {
	t.Parallel()
	for _, keyed := range []bool{true, false} {
		f := setup(t, keyed)
		of := number
		if keyed {
			of = off
		}
		before := f.asked.Load()
		f.note(f.wrote(of, phone, user, time.Hour))
		if f.closed(of, phone) || f.Tracked(of) {
			t.Errorf("keyed %t: closed", keyed)
		}
		if n := f.asked.Load() - before; n != 0 {
			t.Errorf("keyed %t: %d commands", keyed, n)
		}
	}
}

// TestSince: a number is tracked from when the setting is seen on, until it is not. The time begins anew when Redis lost writes, and
// when webhooks are missed for longer than Meta gets to repeat them.
func TestSince(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	f.db.Del(t.Context(), since)
	f.db.HSet(t.Context(), since, f.Field(off), 1, number+":another key", 1)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- f.Run(ctx) }()
	poll.Until(t, "the numbers are noted", func() bool {
		all := f.db.HGetAll(t.Context(), since).Val()
		at, _ := strconv.ParseInt(all[f.Field(number)], 10, 64)
		return len(all) == 1 && at >= f.now.Add(-time.Second).UnixMilli()
	})
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	reset := func() {
		f.db.HSet(t.Context(), since, f.Field(number), 1)
	}
	anew := func() bool { return f.db.HGet(t.Context(), since, f.Field(number)).Val() != "1" }
	reset()
	if err := f.Lost(t.Context(), message.Shards(2).Of(number)); err != nil || !anew() {
		t.Errorf("lost writes: %v", err)
	}
	reset()
	if err := f.Lost(t.Context(), 1-message.Shards(2).Of(number)); err != nil || anew() {
		t.Errorf("lost writes of another shard: %v", err)
	}
	tidy := func() {
		t.Helper()
		if err := f.Tidy(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	good := f.channel
	f.channel.Programs = 0
	tidy()
	f.BrokenFor(repeats / 2)
	if tidy(); anew() {
		t.Error("a short outage")
	}
	f.channel = good
	tidy()
	f.channel.Gap = f.now // each webhook is refused
	tidy()
	f.BrokenFor(repeats * 2)
	if tidy(); !anew() {
		t.Error("a long outage")
	}
}

// TestFullRedis: a full Redis does not keep what Meta reports from being applied, and no window is closed from then on.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	known := func() float64 {
		t.Helper()
		f.again()
		reg := prometheus.NewRegistry()
		reg.MustRegister(f.Windows)
		all, err := reg.Gather()
		if err != nil || len(all) != 1 || len(all[0].Metric) != 1 {
			t.Fatalf("%v, %v", all, err)
		}
		return all[0].Metric[0].GetGauge().GetValue()
	}
	if known() != 1 {
		t.Error("the gauge does not say that the windows are known")
	}
	if err := f.db.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	f.note(f.wrote(number, phone, "", time.Hour))
	if f.closed(number, "+"+phone) || known() != 0 {
		t.Error("a window that could not be stored is closed")
	}
}

// BenchmarkMemory measures the memory of Redis for a person with an open window, and how long it takes to note and to read one.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		f := setup(b, true)
		used := func() (n int64) {
			_, text, _ := strings.Cut(f.db.Info(b.Context(), "memory").Val(), "used_memory:")
			text, _, _ = strings.Cut(text, "\r")
			n, _ = strconv.ParseInt(text, 10, 64)
			return n
		}
		const all, together = 200_000, 200
		before, start := used(), time.Now()
		for i := 0; i < all; i += together {
			some := make([]message.WindowReport, together)
			for j := range some {
				some[j] = f.wrote(number, fmt.Sprint(4917000000000+i+j), fmt.Sprint("DE.", i+j), time.Duration(i+j)*time.Second/4)
			}
			f.note(some...)
		}
		b.ReportMetric(float64(used()-before)/all, "B/person")
		b.ReportMetric(float64(time.Since(start).Microseconds())/all, "us/note")
		start = time.Now()
		if closed, err := f.Closed(b.Context(), []servicewindow.Query{{Number: number, Recipient: "4917000000001"}}); closed[0] {
			b.Fatal(errors.Join(err, errors.New("closed")))
		}
		b.ReportMetric(float64(time.Since(start).Microseconds()), "us/read")
	}
}

// TestOfPerson: the windows of a person are found and deleted under each name, and those of others stay.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	f := setup(t, true)
	f.note(message.WindowReport{Number: number, Phone: phone, User: user, At: f.now.Add(-time.Hour)}, message.WindowReport{Number: number, Phone: "16505559999", At: f.now})
	of := func(forget bool) []message.PersonEntry {
		t.Helper()
		var who message.PersonNames
		for _, name := range []string{phone, user} {
			hash := f.people.Identity(name).Hash
			who.Hashes = append(who.Hashes, string(hash[:]))
		}
		all, err := f.OfPerson(t.Context(), who, forget)
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	for _, forget := range []bool{false, true} {
		if all := of(forget); len(all) != 1 || all[0].Number != number || !all[0].At.Equal(f.now.Add(-time.Hour).Truncate(time.Second)) {
			t.Errorf("%+v", all)
		}
	}
	if all := of(false); len(all) != 0 {
		t.Errorf("left %+v", all)
	}
	ends, err := f.Ends(t.Context(), []servicewindow.Query{{Number: number, Recipient: phone}, {Number: number, Recipient: user}, {Number: number, Recipient: "16505559999"}})
	if err != nil || !ends[0].IsZero() || !ends[1].IsZero() || ends[2].IsZero() {
		t.Errorf("%v %v", ends, err)
	}
}
