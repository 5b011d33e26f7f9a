package dispatch

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

func TestOneRecipientGetsABurstThenOneEachSixSeconds(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	same, others := many(60, phone, message.Marketing), many(70, phone, message.Marketing)[60:]
	f.add(same...)
	f.record(same, Candidate{Recipient: ratelimit.Recipient{'a'}})
	f.add(others...)
	f.record(others, Candidate{})
	g, n := c.gate("w", 2000)
	want := slices.Concat(same[:45], others) // the rest steps back, the others overtake
	if got := take(t, g, n, 1000); !slices.Equal(got, messageIDs(want)) {
		t.Fatalf("taken %d: %q", len(got), got)
	} else {
		f.end(g, n, queue.Finished, got...)
	}
	line := f.tat(phone) - c.base.Add(2*time.Millisecond).UnixMicro()
	if line != (70 * spaced(2000)).Microseconds() { // booked before their tasks are known
		t.Errorf("70 tasks used %d us of the line, want %v", line, 70*spaced(2000))
	}
	if i := f.info(phone, message.Marketing); i.Size != 0 || f.waiting(phone) != 15 {
		t.Errorf("%d wait for the recipient; asynq's inspector: %+v", f.waiting(phone), i)
	}
	for i, at := range []time.Duration{5 * time.Second, 6 * time.Second, 11 * time.Second, 12 * time.Second, 18 * time.Second, 90 * time.Second} {
		c.set(at)
		n.setClock(t, c.base.Add(at))
		g.tidyUp(t.Context(), n, true)
		got := take(t, g, n, 1000)
		if want := []int{0, 1, 0, 1, 1, 12}[i]; len(got) != want {
			t.Errorf("after %v %d were taken, want %d", at, len(got), want)
		}
		f.end(g, n, queue.Finished, got...)
	}
	if keys := f.db.Keys(t.Context(), "sluice:*:waits:*").Val(); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}

// waiting is how many tasks of a number wait for their recipients.
func (f *fixture) waiting(number string) (n int) {
	f.t.Helper()
	p, err := f.rates(1).Read(f.t.Context(), number)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, w := range p.Waiting {
		n += w.Delayed
	}
	return n
}

// Whoever waits for a recipient costs Redis nothing while it waits, and leaves in its order: what is urgent
// first, and then what was accepted first, whatever came to the front of the queue meanwhile.
func TestTasksWaitForTheirRecipientInOrder(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	recipient := ratelimit.Recipient{'a'}
	accepted := func(tasks []queue.Task, from int) {
		for i, task := range tasks {
			f.record([]queue.Task{task}, Candidate{Recipient: recipient, Accepted: c.base.Add(time.Duration(from+i) * time.Millisecond)})
		}
	}
	burst, slow, urgent := many(ratelimit.PairBurst, phone, message.Marketing), many(545, phone, message.Marketing)[45:], many(2, phone, message.Authentication)
	f.add(burst...)
	accepted(burst, 0)
	g, n := c.gate("w", 2000)
	f.end(g, n, queue.Finished, take(t, g, n, 1000)...)
	f.add(slow...)
	accepted(slow, 100)
	f.add(urgent...)
	accepted(urgent, 1000)
	at := time.Duration(0)
	set := func(d time.Duration) {
		at = d
		c.set(d)
		n.setClock(t, c.base.Add(d))
	}
	for f.waiting(phone) < len(slow)+len(urgent) {
		set(at + ratelimit.Horizon)
		if at > 3*time.Second {
			t.Fatalf("%d wait", f.waiting(phone))
		}
		if got := take(t, g, n, 1000); len(got) != 0 {
			t.Fatalf("taken: %q", got)
		}
		if err := n.lease.Write(0); err != nil {
			t.Fatal(err)
		}
	}
	left := slices.Concat(messageIDs(urgent), messageIDs(slow))
	for i := range 6 {
		set(time.Duration(i+1) * ratelimit.PairEvery)
		g.tidyUp(t.Context(), n, true)
		came := f.info(phone, message.Authentication).Pending + f.info(phone, message.Marketing).Pending
		if most := 1 + i/4; came > most { // the others cost nothing
			t.Errorf("%d: %d tasks came to their queues, want %d at most", i, came, most)
		}
		if i == 3 { // it was fetched and gave way to another worker's message: it comes again first
			got := take(t, g, n, 1000)
			if !slices.Equal(got, left[:1]) {
				t.Fatalf("%d: taken %q, want %q", i, got, left[:1])
			}
			task := n.lease.Task(taskID(got[0], 1))
			n.leave(queue.Exit{Fetched: task, How: queue.Waits, At: c.base.Add(at).UnixMicro()})
			if err := n.lease.Write(0); err != nil {
				t.Fatal(err)
			}
			continue
		}
		want := left[:1]
		got := take(t, g, n, 1000)
		if !slices.Equal(got, want) {
			t.Fatalf("%d: taken %q, want %q", i, got, want)
		}
		left = left[len(got):]
		f.end(g, n, queue.Finished, got...)
	}
	place, err := f.rates(1).Position(t.Context(), phone, message.Marketing, message.Flow{}, left[9], 1)
	if want := c.base.Add(16 * ratelimit.PairEvery); err != nil || place.Task != message.TaskDelayed || place.Until.Sub(want).Abs() > time.Second {
		t.Errorf("the tenth: %+v, %v, want it at %s", place, err, want)
	}
}

// A recipient of whom Meta says that it has had enough gets nothing for so long, of no message.
func TestARefusalForTheRecipientTeachesTheLimit(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	same, other := many(3, phone, message.Utility), many(4, phone, message.Utility)[3:]
	f.add(same[0])
	f.record(same, Candidate{Recipient: ratelimit.Recipient{'a'}})
	f.record(other, Candidate{Recipient: ratelimit.Recipient{'b'}})
	g, n := c.gate("w", 2000)
	got := take(t, g, n, 10)
	if len(got) != 1 {
		t.Fatal(got)
	}
	refused := n.lease.Task(taskID(got[0], 1))
	n.setClock(t, c.base)
	n.returned(refused, Later{In: 16 * time.Second, Recipient: true})
	n.leave(n.retried(refused, "", 0))
	if err := n.lease.Write(0); err != nil {
		t.Fatal(err)
	}
	f.add(same[1:]...)
	f.add(other...)
	for _, tt := range []struct {
		after time.Duration
		want  []string
	}{
		{0, messageIDs(other)},
		{15 * time.Second, nil},
		{17 * time.Second, messageIDs(same[:1])},
		{18 * time.Second, nil},
		{23 * time.Second, messageIDs(same[1:2])},
		{29 * time.Second, messageIDs(same[2:])},
	} {
		c.set(tt.after)
		n.setClock(t, c.base.Add(tt.after))
		g.tidyUp(t.Context(), n, true)
		got := take(t, g, n, 10)
		if !slices.Equal(got, tt.want) {
			t.Errorf("after %v: %q, want %q", tt.after, got, tt.want)
		}
		f.end(g, n, queue.Finished, got...)
	}
	// A worker that takes the number over knows as much as it must: that the burst is used up.
	next, m := c.gate("x", 2000)
	again := many(5, phone, message.Utility)[4:]
	f.record(again, Candidate{Recipient: ratelimit.Recipient{'a'}})
	f.add(again...)
	c.set(30 * time.Second)
	if got := take(t, next, m, 10); len(got) != 0 {
		t.Errorf("another worker took %q", got)
	}
}

// What a worker handed out to a recipient counts for the next one, before and after a take-over.
func TestThePairLimitHoldsForAllWorkersTogether(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	const per = 15
	tasks := many(200, phone, message.Utility)
	f.record(tasks, Candidate{Recipient: ratelimit.Recipient{'a'}})
	other := many(1, phone, message.Marketing)
	f.record(other, Candidate{Recipient: ratelimit.Recipient{'b'}})
	at := time.Duration(0)
	worker := func(name string) (func(n int) int, *dispatcher) {
		g, n := c.gate(name, 1000)
		return func(most int) int {
			t.Helper()
			at += 500 * time.Millisecond // the schedule is free, whoever had it
			c.set(at)
			if !n.schedule.RedisTime(time.Now()).IsZero() {
				n.setClock(t, c.base.Add(at))
			}
			got := take(t, g, n, most)
			f.end(g, n, queue.Finished, got...)
			g.tidyUp(t.Context(), n, true)
			return len(got)
		}, g
	}
	a, _ := worker("a")
	b, _ := worker("b")
	for i := range 2 * per {
		f.add(tasks[i])
	}
	if n := a(per); n != per {
		t.Fatalf("the first handed out %d", n)
	}
	if n := b(per); n != per {
		t.Fatalf("the second handed out %d", n)
	}
	f.add(tasks[2*per : 4*per]...)
	if n := a(2 * per); n != per {
		t.Errorf("the first handed out %d more, want %d: 45 in all", n, per)
	}
	// One that takes the number over, and one that had it before.
	next, _ := worker("c")
	f.add(tasks[4*per])
	f.add(other...)
	if n := next(10); n != 1 {
		t.Errorf("the third handed out %d, want the one to another recipient", n)
	}
	f.add(tasks[4*per+1])
	if n := b(10); n != 0 {
		t.Errorf("the second handed out %d more", n)
	}
	if n := f.waiting(phone); n != per+2 {
		t.Errorf("%d wait for their recipient, want %d", n, per+2)
	}
	keys := f.db.Keys(t.Context(), "sluice:*:pairs:*").Val()
	for _, key := range keys {
		if ttl := f.db.TTL(t.Context(), key).Val(); ttl <= 0 || ttl > ratelimit.PairWindow+30*time.Second {
			t.Errorf("%s expires in %v", key, ttl)
		}
	}
	if len(keys) == 0 {
		t.Error("there is no log")
	}
	// After five minutes nothing counts any more.
	at += 5 * time.Minute
	fresh, _ := worker("d")
	if n := fresh(100); n != 0 {
		t.Fatal(n) // those that waited are tidied up now
	}
	if n := fresh(100); n != per+2 {
		t.Errorf("after five minutes %d were handed out, want %d", n, per+2)
	}
}

// Where Redis is full the limit holds in the memory of each worker.
func TestThePairLimitOnAFullRedis(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	tasks := many(60, phone, message.Utility)
	f.add(tasks...)
	f.record(tasks, Candidate{Recipient: ratelimit.Recipient{'a'}})
	if err := f.db.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 1000})
	j.wait(t, ratelimit.PairBurst)
	eventually(t, "the rest waits", func() bool { return f.waiting(phone) >= 60-ratelimit.PairBurst-1 })
	f.idle(phone)
}
