package dispatch

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/redistest"
)

const phone = "106540352242922"

func TestAnUrgentMessageLeavesBeforeABacklog(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			f.add(many(500, phone, message.Marketing)...)
			j := newJournal()
			f.serve("w", j.handle, Number{ID: phone, Rate: 80})
			j.wait(t, 20)
			urgent := many(1, phone, message.Authentication)
			before := len(j.sent())
			f.add(urgent...)
			eventually(t, "the urgent message left", func() bool { return slices.Contains(j.sent(), urgent[0].ID) })
			// The horizon holds 8 slots.
			if ahead := slices.Index(j.sent(), urgent[0].ID) - before; ahead > 25 {
				t.Errorf("%d marketing messages left before it", ahead)
			}
		})
	}
}

func TestTasksAreTakenByClassThenInTheirOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var want []string
	for _, c := range []message.Class{message.Marketing, message.Utility, message.Service, message.Authentication} {
		tasks := many(3, phone, c)
		f.add(tasks...)
		want = slices.Concat([]string{tasks[0].ID, tasks[1].ID, tasks[2].ID}, want)
	}
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	var got []string
	for _, most := range []int{4, 100} {
		tasks, next, err := g.fetch(t.Context(), g.number(phone), most)
		if err != nil {
			t.Fatal(err)
		}
		for _, task := range tasks {
			id := task.Message
			got = append(got, id)
			if !strings.Contains(id, string(message.Classes()[task.Class])) {
				t.Errorf("%s was taken as of class %d", id, task.Class)
			}
		}
		if waits := next < tidyEvery; waits != (most == 4) {
			t.Errorf("having taken %d, the next look is in %v", len(got), next)
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("taken in the order %q", got)
	}
}

func TestTwoWorkersKeepTheRateTogether(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const rate, n = 200, 600
	tasks := many(n, phone, message.Marketing)
	f.add(tasks...)
	j := newJournal()
	f.serve("a", j.handle, Number{ID: phone, Rate: rate})
	f.serve("b", j.handle, Number{ID: phone, Rate: rate})
	j.wait(t, n)
	j.once(t, tasks)
	slices.SortFunc(j.at, time.Time.Compare)
	for i := rate; i < n; i++ {
		// The workers estimate the clock of Redis, each with an error of some milliseconds.
		if d := j.at[i].Sub(j.at[i-rate]); d < 980*time.Millisecond {
			t.Fatalf("%d messages within %v", rate+1, d)
		}
	}
}

func TestLaterComesBackAtTheHead(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(40, phone, message.Marketing)
	f.add(tasks...)
	var again, at sync.Map
	j := newJournal()
	put := func(id string, in time.Duration) (first bool) {
		_, second := again.LoadOrStore(id, time.Now().Add(in))
		if second {
			at.Store(id, time.Now())
		}
		return !second
	}
	f.serve("w", func(ctx context.Context, id string, _ int, known any, slots *Slots) error {
		if id == tasks[0].ID && put(id, time.Second) {
			return Later{In: time.Second}
		}
		if id == tasks[1].ID && put(id, 0) {
			return Later{}
		}
		return j.handle(ctx, id, 1, nil, slots)
	}, Number{ID: phone, Rate: 8})
	j.wait(t, 40)
	j.once(t, tasks)
	for _, task := range tasks[:2] {
		due, _ := again.Load(task.ID)
		came, _ := at.Load(task.ID)
		// Redis and this process share a clock here.
		if early := due.(time.Time).Sub(came.(time.Time)); early > 0 {
			t.Errorf("%s came back %v early", task.ID, early)
		}
	}
	// Eight a second: due at once, or after two seconds at most, they leave before the last.
	for i, last := range []int{30, 37} {
		if place := slices.Index(j.sent(), tasks[1-i].ID); place > last {
			t.Errorf("%s left as number %d of 40", tasks[1-i].ID, place+1)
		}
	}
}

// Tidying puts due tasks foremost, the earliest first, however many there are.
func TestTidyKeepsOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	waiting := many(3, phone, message.Marketing)
	f.add(waiting...)
	k := queue.KeysOf(shards.Of(phone), phone, message.Marketing)
	var want []string
	delayed := many(1200, phone, message.Marketing)[3:]
	for i := range delayed {
		delayed[i].At = time.Now().Add(time.Hour)
	}
	f.add(delayed...)
	err := f.db.Pipe(t.Context(), func(p redis.Pipeliner) {
		for i, task := range delayed {
			id := taskID(task.ID, task.K)
			p.ZAddXX(t.Context(), k.Scheduled, redis.Z{Score: float64(1000 + i), Member: id})
			want = append(want, id)
		}
		p.ZAdd(t.Context(), k.Scheduled, redis.Z{Score: 5, Member: "deleted.1"}) // its task is gone
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range waiting {
		want = append(want, taskID(w.ID, w.K))
	}
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	rounds := 1
	for g.tidyUp(t.Context(), g.number(phone), true) {
		rounds++
	}
	if rounds != 3 {
		t.Errorf("%d rounds, want 3", rounds)
	}
	got := f.db.LRange(t.Context(), k.Pending, 0, -1).Val()
	slices.Reverse(got) // the head is on the right
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%d tasks in the order %.200q ..., want %d in the order %.200q ...", len(got), got, len(want), want)
	}
	if n := f.db.ZCard(t.Context(), k.Scheduled).Val(); n != 0 {
		t.Errorf("%d tasks are still scheduled", n)
	}
	if state := f.db.HGet(t.Context(), k.Task+want[0], "state").Val(); state != "pending" {
		t.Errorf("a task that was moved is %q", state)
	}
}

// A worker takes nothing before others can know that it lives.
func TestNothingIsFetchedBeforeTheFirstHeartbeat(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(3, phone, message.Service)...)
	f.live("another")
	j := newJournal()
	f.run(NewServer(f.db, f.options("w", j.handle, []Number{{phone, 80}})))
	time.Sleep(300 * time.Millisecond) // that nothing happens
	if got := j.sent(); len(got) > 0 || f.info(phone, message.Service).Pending != 3 {
		t.Errorf("fetched without a heartbeat: %q", got)
	}
	f.live("w")
	j.wait(t, 3)
}

func TestAFullRedisDrains(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(20, phone, message.Service)
	f.add(tasks...)
	if err := f.db.ConfigSet(t.Context(), "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := f.tryAdd(f.client, many(1, phone, message.Utility)...); err == nil {
		t.Error("a full Redis took another task")
	}
	g, stop := f.gate("first", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	taken, _, err := g.fetch(t.Context(), n, 5)
	if err != nil || len(taken) != 5 {
		t.Fatal(taken, err)
	}
	// All ways out of a worker's hands.
	n.leave(queue.Exit{Fetched: taken[0], How: queue.Delayed, At: 1}, queue.Exit{Fetched: taken[1], How: queue.Retried, At: 1, Text: "changed"}, queue.Exit{Fetched: taken[2], How: queue.Held, Text: "tag::none"})
	if err := n.lease.Write(0); err != nil {
		t.Fatal(err)
	}
	g.tidyUp(t.Context(), n, true)
	stop()
	g.giveBack(n, taken[3:])
	j := newJournal()
	f.serve("second", j.handle, Number{ID: phone, Rate: 80})
	j.wait(t, len(tasks))
	eventually(t, "all is acknowledged", func() bool { return f.info(phone, message.Service).Size == 0 })
	j.once(t, tasks)
}

func TestAStopLosesNothingAndSendsNothingTwice(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(60, phone, message.Utility)
	f.add(tasks...)
	j := newJournal()
	for i := range 3 {
		stop := f.serve(fmt.Sprint("w", i), j.handle, Number{ID: phone, Rate: 40})
		j.wait(t, 10)
		stop()
		i := f.info(phone, message.Utility)
		if sent := len(j.sent()); i.Active != 0 || i.Pending+i.Retry != len(tasks)-sent {
			t.Fatalf("after %d sends %d tasks are pending, %d to be retried, %d active", sent, i.Pending, i.Retry, i.Active)
		}
	}
	f.serve("last", j.handle, Number{ID: phone, Rate: 1000})
	j.wait(t, len(tasks)-len(j.sent()))
	eventually(t, "all is acknowledged", func() bool { return f.info(phone, message.Utility).Size == 0 })
	j.once(t, tasks)
}

func TestAnEnqueueWakesTheWorker(t *testing.T) {
	t.Parallel()
	f := setup(t)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 80})
	f.add(many(1, phone, message.Service)...)
	j.wait(t, 1)
	start := time.Now()
	const n = 10
	for i := range n {
		f.add(queue.Task{ID: fmt.Sprint("m", i), Number: phone, Class: message.Service})
		j.wait(t, 1)
	}
	// Each begins just after a fetch: without the call it would wait for the next.
	if took := time.Since(start); took > n*tidyEvery*4/5 {
		t.Errorf("%d messages, one after the other, took %v", n, took)
	}
}

func TestABurstOfEnqueuesIsNoBurstOfLooks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 80})
	f.add(many(1, phone, message.Service)...)
	j.wait(t, 1)
	if err := f.inspector.PauseQueue(queue.KeysOf(shards.Of(phone), phone, message.Marketing).Queue); err != nil {
		t.Fatal(err)
	}
	scripts := func() (n int) {
		t.Helper()
		_, rest, _ := strings.Cut(f.db.Info(t.Context(), "commandstats").Val(), "cmdstat_evalsha:calls=")
		if _, err := fmt.Sscan(strings.Split(rest, ",")[0], &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	const n = 1000
	before, start := scripts(), time.Now()
	for _, task := range many(n, phone, message.Marketing) {
		f.add(task)
	}
	looks := scripts() - before - n
	// Fetches at their time, and tidying, come in addition to those that were announced.
	took := time.Since(start)
	if most := int(took/burst + took/tidyEvery*8 + 20); looks > most {
		t.Errorf("%d looks during %d enqueues in %v, want %d at most", looks, n, took, most)
	}
}

func TestAcknowledgementsSurviveALossOfRedis(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := open(t, server.Addr, nil)
	const n = 10
	f.add(many(n, phone, message.Service)...)
	var runs atomic.Int32
	started, release, ended := make(chan struct{}, 2*n), make(chan struct{}), make(chan struct{}, 2*n)
	f.serve("w", func(_ context.Context, id string, _ int, known any, _ *Slots) error {
		runs.Add(1)
		started <- struct{}{}
		<-release
		ended <- struct{}{}
		if id[len(id)-1]%2 == 0 {
			return Later{In: time.Hour}
		}
		return nil
	}, Number{ID: phone, Rate: 80})
	for range n {
		<-started
	}
	server.Kill()
	close(release)
	for range n {
		<-ended
	}
	server.Restart()
	eventually(t, "all is acknowledged", func() bool {
		i, err := f.inspector.GetQueueInfo(queue.KeysOf(shards.Of(phone), phone, message.Service).Queue)
		return err == nil && i.Active == 0 && i.Pending == 0 && i.Retry == n/2
	})
	if runs.Load() != n {
		t.Errorf("the handler ran %d times for %d tasks", runs.Load(), n)
	}
	if p := f.info(phone, message.Service).Processed; p != n/2 {
		t.Errorf("%d tasks were counted as done, want %d", p, n/2)
	}
}

func BenchmarkTake100(b *testing.B) {
	f := setup(b)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1_000_000})
	n := g.number(phone)
	for b.Loop() {
		b.StopTimer()
		f.db.FlushAll(b.Context())
		f.add(many(100, phone, message.Marketing)...)
		b.StartTimer()
		if tasks, _, err := g.fetch(b.Context(), n, 100); err != nil || len(tasks) != 100 {
			b.Fatal(len(tasks), err)
		}
	}
}
