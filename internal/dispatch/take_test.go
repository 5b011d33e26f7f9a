package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// tat is the end of a number's line in microseconds.
func (f *fixture) tat(number string) int64 {
	n, _ := f.db.HGet(f.t.Context(), ratelimit.ScheduleKey(shards.Of(number), number), "tat").Int64()
	return n
}

func TestWhatCannotBeSentIsSetAsideWithoutASlot(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	due := c.base.Add(90*time.Second + 300*time.Millisecond)
	kinds := []struct {
		name  string
		known *Candidate // nil: no record
		later bool
	}{
		{"cancelled", &Candidate{Verdict: Void}, false},
		{"stray", nil, false},
		{"later", &Candidate{Verdict: NotYet, At: due}, true},
		{"settled", &Candidate{Verdict: Void}, false},
	}
	for _, kind := range kinds {
		tasks := []queue.Task{{ID: phone + "-" + kind.name, K: 1, Number: phone, Class: message.Service}}
		f.add(tasks...)
		if kind.known != nil {
			f.record(tasks, *kind.known)
		}
	}
	replaced := []queue.Task{{ID: phone + "-replaced", K: 0, Number: phone, Class: message.Service}}
	f.add(replaced...)
	f.record(replaced, Candidate{})
	f.add(queue.Task{ID: "stranger", K: -1, Number: phone, Class: message.Service})
	good := many(2, phone, message.Service)
	f.add(good...)
	f.record(good, Candidate{Known: "this"})
	g, n := c.gate("w", 80)
	tasks, _, err := g.fetch(t.Context(), n, 100)
	if err != nil || len(tasks) != 2 || tasks[0].Message != good[0].ID || tasks[1].Message != good[1].ID || tasks[0].Known != "this" {
		t.Fatalf("fetched %+v, %v", tasks, err)
	}
	f.end(g, n, queue.Finished, good[0].ID, good[1].ID)
	k := queue.KeysOf(shards.Of(phone), phone, message.Service)
	for _, kind := range kinds {
		id := phone + "-" + kind.name + ".1"
		if there := f.db.Exists(t.Context(), k.Task+id).Val() == 1; there != kind.later {
			t.Errorf("%s: the task is there: %t", kind.name, there)
		}
	}
	if i := f.info(phone, message.Service); i.Size != 1 || i.Scheduled != 1 {
		t.Errorf("left %+v, want one delayed task", i)
	}
	if at := f.db.ZScore(t.Context(), k.Scheduled, phone+"-later.1").Val(); at != float64(due.Unix()+1) {
		t.Errorf("it is to come back at %.0f, want %d", at, due.Unix()+1)
	}
	if state := f.db.HGet(t.Context(), k.Task+phone+"-later.1", "state").Val(); state != "scheduled" {
		t.Errorf("its state is %q", state)
	}
	if hands := f.hands(phone); len(hands) != 0 {
		t.Errorf("in hand are still %q", hands)
	}
	c.set(92 * time.Second)
	f.record([]queue.Task{{ID: phone + "-later"}}, Candidate{})
	g.tidyUp(t.Context(), n, true)
	if got := take(t, g, n, 100); !slices.Equal(got, []string{phone + "-later"}) {
		t.Errorf("taken when its time had come: %q", got)
	}
}

// The slots of tasks that cannot be sent go to the next ones, as far as there are any in time.
func TestVoidTasksCostNoSlot(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	void, good := many(3, phone, message.Service), many(20, phone, message.Service)[3:]
	f.add(void...)
	f.add(good...)
	f.record(void, Candidate{Verdict: Void})
	f.record(good, Candidate{})
	g, n := c.gate("w", 80)
	free := int((ratelimit.Horizon-ratelimit.Lead)/spaced(80)) + 1
	first := take(t, g, n, 100)
	second := take(t, g, n, 100)
	if got := slices.Concat(first, second); !slices.Equal(got, messageIDs(good[:free])) || len(first) != free-3 {
		t.Errorf("taken %q, then %q, want %d in all", first, second, free)
	}
	if line := f.tat(phone) - c.base.Add(2*time.Millisecond).UnixMicro(); line != int64(free)*spaced(80).Microseconds() {
		t.Errorf("the schedule went on by %d us, want %d slots", line, free)
	}
	if got := take(t, g, n, 100); len(got) != 0 {
		t.Errorf("without a slot %q were taken", got)
	}
}

// A thousand cancelled messages in front of a good one are out of its way within a horizon or two,
// and a good one behind them keeps its place before the next.
func TestAThousandVoidDelayTheNextByAHorizonOrTwo(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	bad, good := many(1000, phone, message.Marketing), many(1003, phone, message.Marketing)[1000:]
	f.add(bad...)
	f.add(good...)
	f.record(bad, Candidate{Verdict: Void})
	f.record(good, Candidate{})
	j := newJournal()
	begun := time.Now()
	f.serve("w", j.handle, Number{ID: phone, Rate: 80})
	f.awaitBegin(phone)
	first := time.Now()
	j.wait(t, 3)
	if took := time.Since(first); took > 2*ratelimit.Horizon+100*time.Millisecond {
		t.Errorf("the good ones left after %v, %v after the start", took, time.Since(begun))
	}
	j.once(t, good)
	eventually(t, "nothing is left", func() bool { return f.info(phone, message.Marketing).Size == 0 })
	f.idle(phone)
	if keys := f.db.Keys(t.Context(), "asynq:*:t:*").Val(); len(keys) != 0 {
		t.Errorf("%d tasks are left", len(keys))
	}
}

// awaitBegin waits until a worker has booked slots of a number.
func (f *fixture) awaitBegin(number string) {
	f.t.Helper()
	poll.Until(f.t, "tasks are fetched", func() bool { return f.tat(number) != 0 })
}

// What cannot be sent is fetched in growing numbers. Those among it that can be and find no slot go
// back, in their order, also those of other classes.
func TestTasksWithoutASlotGoBackInTheirOrder(t *testing.T) {
	t.Parallel()
	for seed := range uint64(8) {
		f := setupRecords(t)
		c := f.stopClock()
		r := rand.New(rand.NewPCG(seed, 1))
		var want [4][]string
		for class, name := range message.Classes() {
			tasks := many(300, phone, name)
			f.add(tasks...)
			for i := 0; i < len(tasks); {
				stretch := min(1+r.IntN(60), len(tasks)-i)
				known := Candidate{Verdict: Verdict(2 * r.IntN(2))}
				f.record(tasks[i:i+stretch], known)
				if known.Verdict == Sendable {
					want[class] = append(want[class], messageIDs(tasks[i:i+stretch])...)
				}
				i += stretch
			}
		}
		g, n := c.gate("w", 200)
		var got [4][]string
		for at := time.Duration(0); ; at += ratelimit.Horizon / 4 {
			c.set(at)
			tasks, _, err := g.fetch(t.Context(), n, 1+r.IntN(40))
			if err != nil {
				t.Fatal(err)
			}
			for _, task := range tasks {
				got[task.Class] = append(got[task.Class], task.Message)
				n.leave(queue.Exit{Fetched: task, How: queue.Finished})
			}
			if len(tasks) == 0 && n.may == 0 {
				break
			}
		}
		for class := range want {
			if !slices.Equal(got[class], want[class]) {
				t.Errorf("seed %d, class %d: %d tasks, want %d in this order: %.200s ...", seed, class, len(got[class]), len(want[class]), fmt.Sprint(want[class]))
			}
		}
		f.idle(phone)
	}
}

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
	if line != (70 * spaced(2000)).Microseconds() { // booked before it is known who is to get them
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
	place, err := f.rates(1).Position(t.Context(), phone, message.Marketing, left[9], 1)
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

// Authentication without end leaves the others a 20th of the slots, however often the gate looks.
func TestAFloodLeavesTheOthersTheirShare(t *testing.T) {
	t.Parallel()
	for _, every := range []time.Duration{5 * time.Millisecond, 50 * time.Millisecond, 90 * time.Millisecond} {
		t.Run(every.String(), func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			for _, class := range message.Classes() {
				f.add(many(900, phone, class)...)
			}
			c := f.stopClock()
			g, n := c.gate("w", 80)
			count := map[string]int{}
			total := 0
			for at := time.Duration(0); total < 600; at += every {
				c.set(at)
				for _, id := range take(t, g, n, 100) {
					class := strings.TrimRight(strings.TrimPrefix(id, phone+"-"), "0123456789")
					count[class]++
					total++
				}
			}
			for _, class := range message.Classes()[1:] {
				if got := count[string(class)]; got < 9 || got > 11 {
					t.Errorf("%d of %d slots went to %s, want a 60th", got, total, class)
				}
			}
		})
	}
}

// The same with handlers and a line between: those of the others do leave.
func TestAFloodStarvesNobodyAtTheWorker(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(1500, phone, message.Authentication)...)
	f.add(many(20, phone, message.Marketing)...)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 200})
	j.wait(t, 600)
	marketing := 0
	for _, id := range j.sent()[:600] {
		if strings.Contains(id, "marketing") {
			marketing++
		}
	}
	if marketing < 15 {
		t.Errorf("%d of 600 were marketing messages, want about a 20th", marketing)
	}
}

// A worker that stands by takes nothing while the other keeps up, be it ever so urgent.
func TestTheStandbyLeavesTheLineToItsOwner(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(500, phone, message.Marketing)...)
	c := f.stopClock()
	a, na := c.gate("a", 80)
	b, nb := c.gate("b", 80)
	take(t, a, na, 100)
	for at := 40 * time.Millisecond; at < time.Second; at += 40 * time.Millisecond {
		c.set(at)
		f.add(queue.Task{ID: fmt.Sprint(phone, "-", at), Number: phone, Class: message.Authentication})
		if got := take(t, b, nb, 100); len(got) != 0 {
			t.Fatalf("after %v the other worker took %q", at, got)
		}
		if got := take(t, a, na, 100); !slices.Contains(got, fmt.Sprint(phone, "-", at)) {
			t.Errorf("after %v the owner took %q, want the urgent one", at, got)
		}
	}
	c.set(1400 * time.Millisecond) // the owner is dead
	if got := take(t, b, nb, 100); len(got) == 0 {
		t.Error("the other worker does not take over")
	}
}

func TestRoomGoesByTheAnswerTime(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	for _, c := range []struct {
		rate   int
		answer time.Duration
		inHand int
		want   int
	}{
		{80, 0, 0, 20},
		{80, 200 * time.Millisecond, 0, 3*16 + 16},
		{80, time.Second, 0, 2*80 + 20}, // no more than two seconds' worth
		{80, time.Minute, 0, 2*80 + 20},
		{80, time.Minute, 180, 0},
		{1000, 200 * time.Millisecond, 0, 600 + 200},
		{1, time.Minute, 0, 22},
	} {
		g, _ := f.gate("w", Number{ID: phone, Rate: c.rate})
		n := g.number(phone)
		for range 1000 { // each lets the next be one more
			n.answered(c.answer)
		}
		for range c.inHand {
			n.running++
		}
		if got := n.room(true); got < c.want-1 || got > c.want+1 {
			t.Errorf("rate %d, answers after %v, %d in hand: room for %d, want %d", c.rate, c.answer, c.inHand, got, c.want)
		}
	}
}

// A worker begins with little in hand. When tasks miss their slots it takes on half of what it
// has, and then slowly more.
func TestRoomGoesByMissedSlots(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	n := g.number(phone)
	room := func(want int) {
		t.Helper()
		if got := n.room(true); got != want {
			t.Errorf("room for %d, want %d", got, want)
		}
	}
	room(64)
	for range 100 {
		n.answered(time.Second)
	}
	room(164)
	for range 150 {
		n.running++
	}
	n.missed()
	n.missed() // of the same moment
	room(75 - 150)
	for range 30 {
		n.answered(time.Second)
	}
	if got := n.room(true) + 150; got < 76 || got > 78 {
		t.Errorf("after 30 answers %d in hand at most, want one or two more than 75", got)
	}
}

// A look for tasks is put off until there is room for an eighth of what may be in hand, unless
// somebody calls.
func TestALittleRoomIsWorthNoLook(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	n := g.number(phone)
	for range 64 {
		n.running++
	}
	for i := range 8 {
		if quiet, called := n.room(false), n.room(true); quiet != 0 || called != i {
			t.Errorf("%d of 64 in hand: room for %d, when called for %d", 64-i, quiet, called)
		}
		n.returned(&queue.Fetched{}, nil)
	}
	if got := n.room(false); got != 8 {
		t.Errorf("56 of 64 in hand: room for %d", got)
	}
}

// A Meta that does not answer holds up its own number only, and is not buried.
func TestASlowNumberKeepsItsRequestsFew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const slow, quick = phone, "206540352242922"
	f.add(many(400, slow, message.Utility)...)
	f.add(many(60, quick, message.Utility)...)
	j := newJournal()
	release := make(chan struct{})
	defer close(release)
	f.serve("w", func(ctx context.Context, id string, k int, known any, slots *Slots) error {
		if strings.HasPrefix(id, slow) {
			if _, err := slots.Wait(ctx, false); err != nil {
				return Later{}
			}
			<-release
			return nil
		}
		return j.handle(ctx, id, k, nil, slots)
	}, Number{ID: slow, Rate: 80}, Number{ID: quick, Rate: 80})
	j.wait(t, 60)
	active := 0
	for _, value := range f.hands(slow) {
		active += len(strings.Fields(value)) - 1
	}
	if active < 20 || active > 180 {
		t.Errorf("%d tasks of the slow number are in hand, want 180 at most", active)
	}
}
