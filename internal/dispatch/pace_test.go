package dispatch

import (
	"math"
	"strings"
	"testing"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
)

// clock is a clock of a test's own for the scripts. It starts at a whole second of the true
// time and moves only when told.
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

// set sets the clock to d after its start.
func (c *clock) set(d time.Duration) {
	if err := c.f.db.Set(c.f.t.Context(), "clock", c.base.Add(d).UnixMicro(), 0).Err(); err != nil {
		c.f.t.Fatal(err)
	}
}

// script makes a script go by this clock.
func (c *clock) script(parts ...string) string {
	text := strings.Join(parts, "")
	if strings.Count(text, "redis.call('TIME')") != 1 {
		c.f.t.Fatal("the script does not ask for the time once")
	}
	return strings.Replace(text, "redis.call('TIME')",
		"(function() local us = tonumber(redis.call('GET', 'clock')) return {math.floor(us / 1000000), us % 1000000} end)()", 1)
}

// paces goes by the clock but for Order and Pause, which go by the true time.
func (c *clock) paces(rate int) *Paces {
	p := backlog.New(c.f.db, shards, func(string) int { return rate })
	p.cut = c.f.db.Script(c.script(ratelimit.PaceLua, cutLua))
	p.debit = c.f.db.Script(c.script(ratelimit.PaceLua, debitLua))
	p.read = c.f.db.Script(c.script(ratelimit.PaceLua, readLua))
	return p
}

// gate is a gate that goes by the clock and its one number.
func (c *clock) gate(worker string, rate int) (*dispatcher, *number) {
	g, _ := c.f.gate(worker, Number{ID: phone, Rate: rate})
	g.take, g.book, g.tidy = c.f.db.Script(c.script(takeScript...)), c.f.db.Script(c.script(bookScript...)), c.f.db.Script(c.script(tidyScript...))
	return g, g.number(phone)
}

func take(t *testing.T, g *dispatcher, n *number, most int) []string {
	t.Helper()
	n.call(every)
	tasks, _, err := g.fetch(t.Context(), n, most)
	if err != nil {
		t.Fatal(err)
	}
	ids := make([]string, len(tasks))
	for i, task := range tasks {
		ids[i], _, _ = splitTaskID(task.ID)
	}
	return ids
}

// spaced is the time between the slots of a rate.
func spaced(rate float64) time.Duration {
	return time.Duration(math.Ceil(float64((time.Second+ratelimit.Slack).Microseconds())/rate)) * time.Microsecond
}

func TestARefusalLetsTheNumberRestAndSlowsItsSlots(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(100, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	p := c.paces(80)
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

func TestAnOrderedRateRamps(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(400, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	p := c.paces(80)
	order := func(rate, from int, over time.Duration) {
		t.Helper()
		if err := p.Order(t.Context(), phone, rate, from, over); err != nil {
			t.Fatal(err)
		}
	}
	// The orders are given up to a second before the clock starts.
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
	order(80, 20, time.Minute) // by one each second; given a moment before or after the clock stopped
	check(time.Second, 20.5, 23)
	check(30*time.Second, 49.5, 52)
	check(59*time.Second, 78.5, 80)
	check(2*time.Minute, 80, 80)
	order(200, 0, 0)
	check(3*time.Minute, 200, 200)
	order(0, 0, 0)
	check(4*time.Minute, 80, 80)
	// An order makes good what a refusal cut.
	if _, err := p.Throttled(t.Context(), phone); err != nil {
		t.Fatal(err)
	}
	order(80, 0, 0)
	check(4*time.Minute+time.Second, 80, 80)
}

func TestWhatPeopleWriteTakesSlots(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(200, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	p := c.paces(80)
	fetch := func(room int) []string {
		near(n) // a slow machine is no Redis far away, for which slots are booked further ahead
		return take(t, g, n, room)
	}
	if got := fetch(2); len(got) != 2 {
		t.Fatal(got)
	}
	end := n.schedule.Args().Booked
	if err := p.Debit(t.Context(), phone, 3); err != nil {
		t.Fatal(err)
	}
	if got := fetch(1); len(got) != 1 || n.schedule.Args().Booked-end != (4*spacing(n)).Microseconds() {
		t.Errorf("%q: the line went on by %d us, want four times %v", got, n.schedule.Args().Booked-end, spacing(n))
	}
	// However much people write, nothing is pushed further than a second ahead.
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

// TestTheClockOfRedisIsSetBack: what was booked by the clock before does not keep the number from sending.
func TestTheClockOfRedisIsSetBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(100, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	for _, at := range []time.Duration{0, -time.Minute, time.Minute} {
		c.set(at)
		if got := take(t, g, n, 3); len(got) == 0 {
			t.Errorf("at %s nothing is taken", at)
		}
		c.set(at + 500*time.Millisecond)
		if slots, err := n.schedule.Book(t.Context(), 1); err != nil || len(slots) != 1 {
			t.Errorf("at %s: %d slots are booked, %v", at, len(slots), err)
		}
	}
}

// A failover may lose the line's last bookings; they are not issued again.
func TestALineThatLostItsEndBooksNothingTwice(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(100, phone, message.Utility)...)
	c := f.stopClock()
	g, n := c.gate("w", 80)
	line := ratelimit.ScheduleKey(shards.Of(phone), phone)
	for _, lose := range []func(){
		func() { f.db.Del(t.Context(), line) },
		func() { f.db.HIncrBy(t.Context(), line, "tat", -(3 * spaced(80)).Microseconds()) },
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
		if _, err := g.bookSlots(t.Context(), g.number(phone), 1); err != nil {
			t.Fatal(err)
		}
		if all := time.Duration(rate) * g.number(phone).spacing; all < time.Second+ratelimit.Slack || all > time.Second*1013/1000 {
			t.Errorf("rate %d: its slots take %v: want a second and the slack, hardly more than 1 %% lost", rate, all)
		}
	}
}
