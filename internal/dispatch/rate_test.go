package dispatch

import (
	"math"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

// clock is a clock of a test's own for the scripts. It starts at a whole second of the true
// time and moves only by set.
type clock struct {
	f    *fixture
	base time.Time
}

func (f *fixture) stopClock() *clock {
	now, err := f.db.Now(f.t.Context(), "k")
	if err != nil {
		f.t.Fatal(err)
	}
	c := &clock{f, now.Truncate(time.Second).Add(time.Second)}
	c.set(0)
	return c
}

// clockKey is in the slot of the shard of phone, where its scripts may read it in a Cluster.
var clockKey = store.Key(shards.Of(phone), "clock")

// set sets the clock to d after its start.
func (c *clock) set(d time.Duration) {
	if err := c.f.db.Set(c.f.t.Context(), clockKey, c.base.Add(d).UnixMicro(), 0).Err(); err != nil {
		c.f.t.Fatal(err)
	}
}

// script makes a script go by this clock.
func (c *clock) script(text string) string {
	if strings.Count(text, "redis.call('TIME')") != 1 {
		c.f.t.Fatal("the script does not ask for the time once")
	}
	return strings.Replace(text, "redis.call('TIME')",
		"(function() local us = tonumber(redis.call('GET', '"+clockKey+"')) return {math.floor(us / 1000000), us % 1000000} end)()", 1)
}

// gate is a dispatcher that goes by the clock and its one number.
func (c *clock) gate(worker string, rate int) (*dispatcher, *number) {
	scripts := func(d *dispatcher) {
		d.fetching, d.tidy = c.f.db.Script(c.script(fetchScript)), c.f.db.Script(c.script(tidyScript))
		d.book = c.f.db.Script(c.script(ratelimit.BookLua))
	}
	g, _ := c.f.gateWith(scripts, worker, Number{ID: phone, Rate: rate})
	return g, g.number(phone)
}

// rates change and read the rates of numbers.
type rates struct {
	*ratelimit.Controller
	*backlog.Reader
}

func (f *fixture) rates(rate int) rates {
	configured := func(string) int { return rate }
	return rates{ratelimit.NewController(f.db, shards, configured), backlog.New(f.db, shards, configured)}
}

// stopped is the clock of a Redis, which moves only when a test sets it.
type stopped struct {
	mini *miniredis.Miniredis
	base time.Time
}

func (c *stopped) set(d time.Duration) { c.mini.SetTime(c.base.Add(d)) }

// setupStopped is setup with a Redis whose clock is stopped, about at the true time.
func setupStopped(t testing.TB) (*fixture, *stopped) {
	t.Helper()
	c := &stopped{miniredis.RunT(t), time.Now().Truncate(time.Second).Add(time.Second)}
	c.set(0)
	return open(t, c.mini.Addr(), nil), c
}

// spacing is the time between the slots of the last booking.
func spacing(n *number) time.Duration { return n.schedule.Spacing() }

// near makes a number forget how long Redis took to answer: a slow machine is no Redis far away, for which slots are
// booked further ahead.
func near(n *number) {
	for range 64 {
		n.schedule.AnsweredIn(0)
	}
	n.schedule.Expect(0)
}

// setClock lets a number believe that Redis's clock reads at now.
func (n *number) setClock(t testing.TB, at time.Time) {
	t.Helper()
	us := at.UnixMicro()
	if _, err := n.schedule.Booked(time.Now(), 0, []any{us / 1e6, us % 1e6, int64(0), int64(0), int64(0)}); err != nil {
		t.Fatal(err)
	}
}

func take(t *testing.T, g *dispatcher, n *number, most int) []string {
	t.Helper()
	near(n)
	n.call(every)
	tasks, _, err := g.fetch(t.Context(), n, most)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(tasks))
	for i, task := range tasks {
		ids[i] = task.Message
	}
	return ids
}

// spaced is the time between the slots of a rate.
func spaced(rate float64) time.Duration {
	return time.Duration(math.Ceil(float64((time.Second+ratelimit.Slack).Microseconds())/rate)) * time.Microsecond
}

func TestARefusalLetsTheNumberRestAndSlowsItsSlots(t *testing.T) {
	t.Parallel()
	f, c := setupStopped(t)
	f.add(many(100, phone, message.Utility)...)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	p := f.rates(80)
	if _, err := p.Throttled(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	c.set(ratelimit.RefusalPause / 2)
	if got := take(t, g, n, 100); len(got) != 0 {
		t.Errorf("%d tasks were taken during the rest", len(got))
	}
	c.set(ratelimit.RefusalPause)
	if got := take(t, g, n, 100); len(got) == 0 || spacing(n) != spaced(40) {
		t.Errorf("%d tasks were taken after the rest, %v apart, want %v", len(got), spacing(n), spaced(40))
	}
	// A refusal that comes late does not end a longer pause.
	if err := p.Pause(t.Context(), phone, time.Hour); err != nil {
		t.Fatal(err)
	}
	c.set(10 * time.Second)
	if cut, err := p.Throttled(t.Context(), phone); err != nil || !cut {
		t.Fatal(cut, err)
	}
	c.set(time.Minute)
	if got := take(t, g, n, 100); len(got) != 0 {
		t.Errorf("%d tasks were taken during a pause", len(got))
	}
	if got, err := p.Read(t.Context(), phone); err != nil || time.Until(got.Pause) < 59*time.Minute {
		t.Errorf("%+v (%v), want a pause of an hour", got, err)
	}
	c.set(time.Hour + 2*time.Second)
	if got := take(t, g, n, 100); len(got) == 0 {
		t.Error("nothing was taken after the pause")
	}
}

func TestARateSetAtRunTimeRamps(t *testing.T) {
	t.Parallel()
	f, c := setupStopped(t)
	f.add(many(400, phone, message.Utility)...)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	p := f.rates(80)
	order := func(rate, from int, over time.Duration) {
		t.Helper()
		if err := p.Set(t.Context(), phone, rate, from, over); err != nil {
			t.Fatal(err)
		}
	}
	check := func(at time.Duration, low, high float64) {
		t.Helper()
		c.set(at)
		got, err := p.Read(t.Context(), phone)
		if err != nil || got.Rate < low || got.Rate > high || got.Full != got.Rate {
			t.Errorf("after %v: %+v (%v), want a rate of %v to %v", at, got, err, low, high)
		}
		if ids := take(t, g, n, 1); len(ids) != 1 || spacing(n) < spaced(high) || spacing(n) > spaced(low) {
			t.Errorf("after %v: %q with slots %v apart, want %v to %v", at, ids, spacing(n), spaced(high), spaced(low))
		}
	}
	order(10, 0, 0)
	check(0, 10, 10)
	order(80, 20, time.Minute) // by one each second
	check(time.Second, 20.5, 23)
	check(30*time.Second, 49.5, 52)
	check(59*time.Second, 78.5, 80)
	check(2*time.Minute, 80, 80)
	order(200, 0, 0)
	check(3*time.Minute, 200, 200)
	order(0, 0, 0)
	check(4*time.Minute, 80, 80)
	// Setting a rate ends what a refusal did.
	if _, err := p.Throttled(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	order(80, 0, 0)
	check(4*time.Minute+time.Second, 80, 80)
}

func TestInboundMessagesTakeSlots(t *testing.T) {
	t.Parallel()
	f, c := setupStopped(t)
	f.add(many(200, phone, message.Utility)...)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	p := f.rates(80)
	n.schedule.AnsweredIn(time.Second) // as on a very slow machine
	fetch := func(room int) []string { return take(t, g, n, room) }
	if got := fetch(2); len(got) != 2 {
		t.Fatal(got)
	}
	end := n.schedule.Args().Booked
	if err := p.Debit(t.Context(), phone, 3); err != nil {
		t.Fatal(err)
	}
	if got := fetch(1); len(got) != 1 || n.schedule.Args().Booked-end != (4*spacing(n)).Microseconds() {
		t.Errorf("%q: the schedule went on by %d us, want four times %v", got, n.schedule.Args().Booked-end, spacing(n))
	}
	// However many come, nothing is pushed further than a second ahead.
	for range 3 {
		if err := p.Debit(t.Context(), phone, 30_000); err != nil {
			t.Fatal(err)
		}
	}
	c.set(850 * time.Millisecond) // slots are booked 0.1 s ahead
	if got := fetch(100); len(got) != 0 {
		t.Errorf("%d tasks were taken in a second that was used up", len(got))
	}
	c.set(1100 * time.Millisecond)
	if got := fetch(100); len(got) == 0 {
		t.Error("nothing is taken after that second")
	}
}

// TestTheClockOfRedisIsSetBack: neither what was booked by the clock before nor a pause keeps the number from sending.
func TestTheClockOfRedisIsSetBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(100, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	for _, at := range []time.Duration{0, -time.Minute, time.Minute} {
		c.set(at)
		if at < 0 {
			now := c.base.UnixMicro()
			f.db.HSet(t.Context(), ratelimit.RateKey(shards.Of(phone), phone), "pause", now+60e6, "pause_at", now)
		}
		if got := take(t, g, n, 3); len(got) == 0 {
			t.Errorf("at %s nothing is taken", at)
		}
		c.set(at + 500*time.Millisecond)
		if slots, err := n.schedule.Book(t.Context(), 1); err != nil || len(slots) != 1 {
			t.Errorf("at %s: %d slots are booked, %v", at, len(slots), err)
		}
	}
}

// A failover may lose the last bookings of a schedule; they are not issued again.
func TestAScheduleThatLostItsEndBooksNothingTwice(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(100, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	schedule := ratelimit.ScheduleKey(shards.Of(phone), phone)
	for _, lose := range []func(){
		func() { f.db.Del(t.Context(), schedule) },
		func() { f.db.HIncrBy(t.Context(), schedule, "tat", -(3 * spaced(80)).Microseconds()) },
	} {
		if got := take(t, g, n, 4); len(got) == 0 {
			t.Fatal("nothing was taken")
		}
		end := n.schedule.Args().Booked
		lose()
		got := take(t, g, n, 3)
		if first := n.schedule.Args().Booked - int64(len(got))*spacing(n).Microseconds(); len(got) == 0 || first < end {
			t.Errorf("%d tasks got slots from %d us before the end of those before", len(got), end-first)
		}
		slots, err := n.schedule.Book(t.Context(), 1)
		if err != nil || len(slots) != 1 {
			t.Fatal(slots, err)
		}
		c.set(time.Second)
	}
}

func TestSlotsOfAnyRateTakeASecond(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	for _, rate := range []int{1, 2, 3, 7, 20, 79, 80, 999, 1000, 2000} {
		g, _ := f.gate("w", Number{ID: phone, Rate: rate})
		f.db.FlushAll(t.Context())
		n := g.number(phone)
		if _, err := n.schedule.Book(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if all := time.Duration(rate) * spacing(n); all < time.Second+ratelimit.Slack || all > time.Second*1013/1000 {
			t.Errorf("rate %d: its slots take %v: want a second and the slack, hardly more than 1 %% lost", rate, all)
		}
	}
}

// TestSlotsOfANumberThatProbes: a slot says whether its number probed, whichever worker let it probe.
func TestSlotsOfANumberThatProbes(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		rate    int
		set     func(p rates) error
		probing bool
	}{
		"full rate":             {80, func(rates) error { return nil }, false},
		"probes":                {80, func(p rates) error { return p.Probe(t.Context(), phone, time.Minute) }, true},
		"probes until a status": {80, func(p rates) error { return p.ProbeStatus(t.Context(), phone, time.Minute) }, true},
		"halved": {80, func(p rates) error {
			_, err := p.Throttled(t.Context(), phone)
			return err
		}, false},
		"one a second": {1, func(rates) error { return nil }, false},
	} {
		f, c := setupStopped(t)
		f.add(many(3, phone, message.Utility)...)
		g, _ := f.gate("w", Number{ID: phone, Rate: tt.rate})
		n := g.number(phone)
		if err := tt.set(f.rates(tt.rate)); err != nil {
			t.Fatal(err)
		}
		c.set(2 * ratelimit.RefusalPause)
		if got := take(t, g, n, 1); len(got) != 1 {
			t.Fatalf("%s: fetched %q", name, got)
		}
		c.mini.SetTime(time.Time{}) // its clock goes on, because a slot that passes on a busy machine is booked again
		slot, err := n.schedule.Wait(t.Context(), 0)
		if err != nil || slot.Probing() != tt.probing {
			t.Errorf("%s: the slot is of a number that probes: %t (%v), want %t", name, slot.Probing(), err, tt.probing)
		}
	}
}
