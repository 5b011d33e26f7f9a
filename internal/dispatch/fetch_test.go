package dispatch

import (
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
	for voidTasks(t) { // on a busy machine Redis seems far, and slots are booked further ahead
	}
}

// voidTasks plays the test, and reports whether Redis seemed far: then it means nothing.
func voidTasks(t *testing.T) (far bool) {
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
	if n.schedule.Further() > 0 {
		return true
	}
	if got := slices.Concat(first, second); !slices.Equal(got, messageIDs(good[:free])) || len(first) != free-3 {
		t.Errorf("taken %q, then %q, want %d in all", first, second, free)
	}
	if line := f.tat(phone) - c.base.Add(2*time.Millisecond).UnixMicro(); line != int64(free)*spaced(80).Microseconds() {
		t.Errorf("the schedule went on by %d us, want %d slots", line, free)
	}
	if got := take(t, g, n, 100); len(got) != 0 {
		t.Errorf("without a slot %q were taken", got)
	}
	return false
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
	if took := time.Since(first); took > 11*time.Second { // their slots would be 12 s; a busy machine takes some seconds
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
