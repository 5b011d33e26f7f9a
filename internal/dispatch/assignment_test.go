package dispatch

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
)

// served are the workers that look at a number, the one that serves it first.
func served(workers []string, number string) []string {
	sorted := slices.Clone(workers)
	g := func(w string) int {
		x := &dispatcher{o: Options{Worker: w, Shards: 1}}
		x.assignment.workers = alike(1, workers...)
		return x.rank(number)
	}
	slices.SortFunc(sorted, func(a, b string) int { return g(a) - g(b) })
	return sorted[:min(servers, len(sorted))]
}

// A worker that comes or goes moves its own share of the numbers and no other.
func TestPlacementMovesOnlyAShare(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 1))
		var workers []string
		for i := range 3 + r.IntN(8) {
			workers = append(workers, fmt.Sprintf("host%d-%d", i, r.IntN(1e6)))
		}
		gone := workers[r.IntN(len(workers))]
		rest := slices.DeleteFunc(slices.Clone(workers), func(w string) bool { return w == gone })
		r.Shuffle(len(rest), func(i, j int) { rest[i], rest[j] = rest[j], rest[i] }) // the order says nothing
		const numbers = 1000
		first := map[string]int{}
		for range numbers {
			number := fmt.Sprint(1e14 + r.Int64N(9e14))
			before, after := served(workers, number), served(rest, number)
			first[before[0]]++
			switch slices.Index(before, gone) {
			case -1:
				if !slices.Equal(before, after) {
					t.Fatalf("%s went from %q to %q when %s left", number, before, after, gone)
				}
			case 0:
				if after[0] != before[1] {
					t.Fatalf("%s is served by %q, want its standby: %q", number, after, before)
				}
			case 1:
				if after[0] != before[0] {
					t.Fatalf("%s lost its server %q for its standby %q", number, before, after)
				}
			}
		}
		for _, w := range workers {
			if fair := numbers / len(workers); first[w] < fair/2 || first[w] > 2*fair {
				t.Errorf("%s serves %d of %d numbers, %d workers", w, first[w], numbers, len(workers))
			}
		}
	}
}

// The standby takes over at once, not when the dead worker is found dead.
func TestTheStandbyTakesOver(t *testing.T) {
	t.Parallel()
	f := setup(t)
	workers := served([]string{"a", "b", "c"}, phone)
	f.live("c")
	f.add(many(2000, phone, message.Marketing)...)
	rate := Number{ID: phone, Rate: 80}
	j := newJournal()
	// The dead one goes on living for the others.
	stop := f.serve(workers[0], j.handle, rate)
	second := newJournal()
	f.serve(workers[1], second.handle, rate)
	j.wait(t, 60)
	if n := len(second.sent()); n > 40 { // it helps out when the first stalls; as an equal it would send 60
		t.Errorf("the standby sent %d while the first sent 60", n)
	}
	f.live(workers[0])
	stop()
	before := len(second.sent())
	eventually(t, "the standby sends, though the others count the first as alive", func() bool { return len(second.sent()) > before })
}

func TestNumbersComeAndGoAtRunTime(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var configured atomic.Int64
	f.rate = func(string) (int, bool) { r := configured.Load(); return int(r), r > 0 }
	tasks := many(300, phone, message.Utility)
	f.add(tasks...)
	j := newJournal()
	f.serve("w", j.handle)
	time.Sleep(100 * time.Millisecond) // nothing can be waited for
	if n := len(j.sent()); n > 0 {
		t.Errorf("%d messages of a number that is not configured left", n)
	}
	configured.Store(50)
	j.wait(t, 20)
	configured.Store(0)
	eventually(t, "nothing is in hand", func() bool { return f.info(phone, message.Utility).Active == 0 })
	gone := len(j.sent())
	if gone == len(tasks) {
		t.Fatal("all left")
	}
	configured.Store(1000)
	eventually(t, "all is sent", func() bool { return len(j.sent()) >= len(tasks) })
	j.once(t, tasks)
}

// commands counts the commands a Redis has run, scripts' own not included.
func commands(t *testing.T, f *fixture, names ...string) (n int) {
	t.Helper()
	for line := range strings.Lines(f.db.Info(t.Context(), "commandstats").Val()) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		var calls int
		if fmt.Sscan(strings.Split(rest, ",")[0], &calls); slices.Contains(names, name) {
			n += calls
		}
	}
	return n
}

func TestAnIdleNumberIsLetGoAndComesBack(t *testing.T) {
	t.Parallel()
	f := setup(t)
	j := newJournal()
	f.live("w")
	g := NewServer(f.db, f.options("w", j.handle, []Number{{phone, 80}})).dispatcher
	f.add(many(1, phone, message.Service)...)
	if err := g.assign(); err != nil {
		t.Fatal(err)
	}
	g.assignment.mu.Lock()
	a := g.assignment.active[phone]
	g.assignment.mu.Unlock()
	if a == nil {
		t.Fatal("a number with work is not served")
	}
	m := <-g.ready // taken
	if !strings.Contains(m, phone) {
		t.Errorf("%q", m)
	}
	rested := func(by time.Duration) bool {
		a.mu.Lock()
		a.busy = time.Now().Add(-by)
		a.mu.Unlock()
		g.rest()
		return g.number(phone) == nil
	}
	if rested(time.Hour) {
		t.Error("a number with a task in hand was let go")
	}
	task := a.lease.Task(taskID(many(1, phone, message.Service)[0].ID, 1))
	a.returned(task, nil)
	a.leave(queue.Exit{Fetched: task, How: queue.Finished})
	if err := a.lease.Write(0); err != nil {
		t.Fatal(err)
	}
	if rested(restAfter - time.Second) {
		t.Error("a number was let go early")
	}
	if !rested(restAfter + time.Second) {
		t.Error("an idle number was not let go")
	}
	g.wake(phone)
	if g.number(phone) == nil {
		t.Error("a call does not bring it back")
	}
	for _, a := range g.actives() {
		a.stop()
	}
	g.assignment.wg.Wait()
	g.giveUp()
	g.writers.Wait()
}

// Tidying up is no work: a number whose queues are only tidied is let go.
func TestTidyingUpKeepsNoNumberBusy(t *testing.T) {
	t.Parallel()
	f := setup(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	n.busy = time.Now().Add(-time.Hour)
	for range 2 {
		g.tidyUp(t.Context(), n, true)
	}
	if idle := n.idleFor(); idle < time.Hour {
		t.Errorf("idle for %s, want an hour", idle)
	}
}

// Numbers without work cost nothing, however many have been busy before.
func TestIdleNumbersCostNoCommands(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var numbers []Number
	var tasks []queue.Task
	for i := range 500 {
		numbers = append(numbers, Number{ID: fmt.Sprint(100000000000000 + i), Rate: 80})
		tasks = append(tasks, many(1, numbers[i].ID, message.Service)...)
	}
	j := newJournal()
	s := NewServer(f.db, f.options("w", j.handle, numbers))
	f.live("w")
	f.run(s)
	for _, task := range tasks[:50] {
		f.add(task)
	}
	j.wait(t, 50)
	left := func() (n int64) {
		for _, s := range shards.All() {
			n += f.db.SCard(t.Context(), queue.WorkKey(s)).Val()
		}
		return n
	}
	eventually(t, "the index of work is empty", func() bool { return left() == 0 })
	eventually(t, "the numbers are let go", func() bool { // sooner than by themselves
		for _, a := range s.dispatcher.actives() {
			a.mu.Lock()
			a.busy = a.busy.Add(-restAfter)
			a.mu.Unlock()
		}
		return len(s.dispatcher.actives()) == 0
	})
	began := time.Now()
	looks, scripts := commands(t, f, "smembers"), commands(t, f, "evalsha")
	eventually(t, "each shard is looked at twice", func() bool { return commands(t, f, "smembers")-looks >= 2*int(shards) })
	looks, scripts = commands(t, f, "smembers")-looks, commands(t, f, "evalsha")-scripts
	seconds := int(time.Since(began)/time.Second) + 1
	if looks > (seconds+1)*int(shards) {
		t.Errorf("%d looks at the index in %d s, want one a second for each of %d shards", looks, seconds, shards)
	}
	if scripts > seconds { // asynq's heartbeat
		t.Errorf("%d scripts ran for idle numbers in %d s", scripts, seconds)
	}
	f.add(tasks[499])
	j.wait(t, 1)
}

// Acknowledgements of tasks that end together share a round trip.
func TestAcknowledgementsShareRoundTrips(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const n = 60 // what a worker takes on at first
	f.add(many(n, phone, message.Service)...)
	started, release := make(chan struct{}, n), make(chan struct{})
	stop := f.serve("w", func(context.Context, string, int, any, *Slots) error {
		started <- struct{}{}
		<-release
		return nil
	}, Number{ID: phone, Rate: 1000})
	for range n {
		<-started
	}
	execs := commands(t, f, "exec")
	close(release)
	f.idle(phone)
	trips := commands(t, f, "exec") - execs
	stop()
	if trips > 6 {
		t.Errorf("%d acknowledgements took %d transactions", n, trips)
	}
	if i := f.info(phone, message.Service); i.Processed != n || i.ProcessedTotal != n || i.Size != 0 {
		t.Errorf("%+v, want %d tasks counted as done", i, n)
	}
	day := queue.KeysOf(shards.Of(phone), phone, message.Service).ProcessedOn(time.Now())
	if f.db.TTL(t.Context(), day).Val() <= 0 {
		t.Error("the day's count lives for ever")
	}
}
