package dispatch

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/redistest"
)

// Whatever becomes of tasks, in the end nothing is in hand and no task is left.
func TestHandsDrainToZero(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			hs := f.holds()
			if _, err := hs.Set(t.Context(), message.Hold{Tag: "kept", By: "anna", Reason: "quality"}); err != nil {
				t.Fatal(err)
			}
			var all []queue.Task
			for _, c := range message.Classes() {
				all = append(all, many(150, phone, c)...)
			}
			f.add(all...)
			// A message's fate follows from its name, and from how often it was asked about or tried.
			var mu sync.Mutex
			seen := map[string]int{}
			next := func(what, id string) int {
				mu.Lock()
				defer mu.Unlock()
				seen[what+id]++
				return seen[what+id]
			}
			fate := func(id string) int {
				var sum int
				for _, c := range id {
					sum += int(c)
				}
				return sum % 10
			}
			f.candidates = func(_ context.Context, _ message.Shard, tasks []queue.TaskID) ([]Candidate, error) {
				out := make([]Candidate, len(tasks))
				for i, id := range tasks {
					switch n := next("asked", id.Message); fate(id.Message) {
					case 0:
						out[i].Verdict = Void
					case 1:
						if n == 1 {
							out[i] = Candidate{Verdict: NotYet, At: time.Now()}
						}
					case 2:
						out[i].Tags = []string{"kept"}
					case 3:
						out[i].Recipient = ratelimit.Recipient{'a'}
					}
				}
				if rand.IntN(8) == 0 {
					return nil, errors.New("the records are away")
				}
				return out, nil
			}
			j := newJournal()
			handle := func(ctx context.Context, id string, _ int, _ any, slots *Slots) error {
				n := next("tried", id)
				switch fate(id) {
				case 4:
					if n == 1 {
						return Later{}
					}
				case 5:
					if n == 1 {
						return Later{In: time.Millisecond}
					}
				case 6:
					if n == 1 && slots.class == 0 {
						panic("a handler that panics")
					}
				}
				return j.handle(ctx, id, 1, nil, slots)
			}
			f.serve("a", handle, Number{ID: phone, Rate: 300})
			stop := f.serve("b", handle, Number{ID: phone, Rate: 300})
			j.wait(t, 100)
			stop()
			if ok, err := hs.Release(t.Context(), message.Hold{Tag: "kept", By: "ben"}); !ok || err != nil {
				t.Fatal(ok, err)
			}
			want := slices.DeleteFunc(all, func(task queue.Task) bool { return fate(task.ID) == 0 })
			// One recipient gets 45 messages, and then one in six seconds: the rest need not be waited for.
			limited := 0
			for _, task := range want {
				if fate(task.ID) == 3 {
					limited++
				}
			}
			sent := len(want) - max(0, limited-ratelimit.PairBurst-1)
			j.wait(t, sent-100)
			eventually(t, "nothing is in hand", func() bool { return len(f.hands(phone)) == 0 })
			count := map[string]int{}
			for _, id := range j.sent() {
				if count[id]++; count[id] > 1 || fate(id) == 0 {
					t.Errorf("%s was sent %d times", id, count[id])
				}
			}
			eventually(t, "asynq's lists are right", func() bool {
				waiting := f.waiting(phone) // for their recipient
				for _, c := range message.Classes() {
					i := f.info(phone, c)
					if i.Active > 0 || i.Retry > 0 || i.Pending > 0 || i.Archived > 0 || i.Scheduled > 0 {
						return false
					}
				}
				return waiting == len(want)-len(j.sent()) && len(f.db.Keys(t.Context(), "asynq:*:t:*").Val()) == waiting
			})
		})
	}
}

// A task that is in its queue twice is handled once at a time, and nothing of it is left.
func TestATaskThatIsThereTwice(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(3, phone, message.Service)
	f.add(tasks...)
	k := queue.KeysOf(shards.Of(phone), phone, message.Service)
	for _, task := range tasks {
		f.db.LPush(t.Context(), k.Pending, taskID(task.ID, 1))
	}
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 1000})
	j.wait(t, 3)
	eventually(t, "all is acknowledged", func() bool { return f.info(phone, message.Service).Size == 0 })
	f.idle(phone)
	j.once(t, tasks)
}

// A fetch whose answer was lost and that ran twice took its tasks once.
func TestAFetchThatRunsTwice(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			tasks := many(20, phone, message.Service)
			f.add(tasks...)
			g, _ := f.gate("w", Number{ID: phone, Rate: 80})
			n := g.number(phone)
			k := n.lease.Keys(message.Service.Order())
			if got := take(t, g, n, 4); !slices.Equal(got, messageIDs(tasks[:4])) {
				t.Fatal(got)
			}
			before, line := f.db.LRange(t.Context(), k.Pending, 0, -1).Val(), f.tat(phone)
			g.seq.Add(-1) // the same again
			if got := take(t, g, n, 3); len(got) != 0 {
				t.Errorf("taken again %q", got)
			}
			if after := f.db.LRange(t.Context(), k.Pending, 0, -1).Val(); !slices.Equal(after, before) || f.tat(phone) != line {
				t.Errorf("pending\n%q, before\n%q", after, before)
			}
		})
	}
}

// lost lets commands run and loses the answers to pipelines that have any of some scripts.
type lost struct {
	scripts []string
	left    atomic.Int32
}

func (*lost) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*lost) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (l *lost) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			if a := cmd.Args(); err == nil && len(a) > 1 && slices.Contains(l.scripts, fmt.Sprint(a[1])) && l.left.Add(-1) >= 0 {
				err = errors.New("the answer is lost")
				for _, cmd := range cmds {
					cmd.SetErr(err)
				}
				return err
			}
		}
		return err
	}
}

// What was taken by a fetch whose answer never came goes back to its place.
func TestAFetchWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(40, phone, message.Service)
	f.add(tasks...)
	g, _ := f.gate("w", Number{ID: phone, Rate: 80})
	n := g.number(phone)
	if got := take(t, g, n, 2); len(got) != 2 {
		t.Fatal(got)
	}
	l := &lost{scripts: []string{g.fetching.SHA()}}
	l.left.Store(2)
	f.db.UniversalClient.(*redis.Client).AddHook(l)
	for range 2 {
		n.call(every)
		if tasks, _, err := g.fetch(t.Context(), n, 2); err == nil {
			t.Fatalf("an answer: %v", tasks)
		}
	}
	var got []string // one at a time: a slow fetch finds fewer slots
	eventually(t, "further tasks come", func() bool { got = append(got, take(t, g, n, 1)...); return len(got) == 2 })
	if !slices.Equal(got, messageIDs(tasks[2:4])) {
		t.Errorf("further tasks are %q", got)
	}
	if hands := f.hands(phone); len(hands) != 3 {
		t.Errorf("in hand are %q", hands)
	}
}

// A failover may lose how tasks left the hands of a worker that lives and still has others of the same
// fetch. It returns them, whether it serves the number or stands by.
func TestExitsThatRedisLost(t *testing.T) {
	t.Parallel()
	for what, first := range map[string]bool{"serves": true, "stands by": false} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			tasks := many(4, phone, message.Service)
			f.add(tasks...)
			g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
			n := g.number(phone)
			if got := take(t, g, n, 4); len(got) != 4 {
				t.Fatal(got)
			}
			k := n.lease.Keys(message.Service.Order())
			before := f.hands(phone)
			f.end(g, n, queue.ToHead, tasks[1].ID, tasks[2].ID)
			pending := f.db.LRange(t.Context(), k.Pending, 0, -1).Val()
			if len(pending) != 2 {
				t.Fatalf("pending are %q", pending)
			}
			f.db.Del(t.Context(), k.Pending)
			for field, value := range before {
				f.db.HSet(t.Context(), queue.LeasesKey(n.shard, n.id), field, value)
			}
			for range 2 {
				if there := f.db.LLen(t.Context(), k.Pending).Val(); there != 0 {
					t.Errorf("%d tasks were returned after one read", there)
				}
				n.leasesRead = time.Time{}
				g.tidyUp(t.Context(), n, first)
			}
			eventually(t, "the tasks are back in their order", func() bool {
				return slices.Equal(f.db.LRange(t.Context(), k.Pending, 0, -1).Val(), pending)
			})
			for _, value := range f.hands(phone) {
				if queue.HasTask(value, taskID(tasks[1].ID, 1)) || !queue.HasTask(value, taskID(tasks[0].ID, 1)) {
					t.Errorf("in hand are %q", value)
				}
			}
		})
	}
}

// Redis may stop and start again while everything is under way.
func TestARestartOfRedisInTheMiddle(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := open(t, server.Addr, nil)
	tasks := slices.Concat(many(300, phone, message.Service), many(100, phone, message.Marketing))
	f.add(tasks...)
	r := rand.New(rand.NewPCG(1, 1))
	var mu sync.Mutex
	again := map[string]bool{}
	for _, task := range tasks {
		again[task.ID] = r.IntN(4) == 0
	}
	j := newJournal()
	handle := func(ctx context.Context, id string, _ int, _ any, slots *Slots) error {
		mu.Lock()
		come := again[id]
		again[id] = false
		mu.Unlock()
		if come {
			return Later{In: time.Duration(len(id)%2) * time.Millisecond}
		}
		return j.handle(ctx, id, 1, nil, slots)
	}
	f.serve("a", handle, Number{ID: phone, Rate: 100})
	f.serve("b", handle, Number{ID: phone, Rate: 100})
	for range 3 {
		j.wait(t, 60)
		server.Kill()
		time.Sleep(100 * time.Millisecond) // that tasks end meanwhile
		server.Restart()
	}
	j.wait(t, len(tasks)-3*60)
	f.idle(phone)
	eventually(t, "all is acknowledged", func() bool {
		return f.info(phone, message.Service).Size+f.info(phone, message.Marketing).Size == 0
	})
	j.once(t, tasks)
}

// Asynq's inspector lists what is in hand as active, to a second. Of one such task it says that it is
// pending, and it can neither delete nor run nor archive it.
func TestAsynqsInspectorOfATaskInHand(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.add(many(2, phone, message.Service)...)
	started, release := make(chan struct{}, 2), make(chan struct{})
	f.serve("w", func(context.Context, string, int, any, *Slots) error {
		started <- struct{}{}
		<-release
		return nil
	}, Number{ID: phone, Rate: 80})
	<-started
	<-started
	q, id := queue.KeysOf(shards.Of(phone), phone, message.Service).Queue, taskID(many(1, phone, message.Service)[0].ID, 1)
	eventually(t, "both are listed", func() bool {
		active, err := f.inspector.ListActiveTasks(q)
		return err == nil && len(active) == 2 && f.info(phone, message.Service).Active == 2
	})
	if pending, err := f.inspector.ListPendingTasks(q); err != nil || len(pending) != 0 {
		t.Errorf("pending %v, %v", pending, err)
	}
	info, err := f.inspector.GetTaskInfo(q, id)
	if err != nil || info.State != asynq.TaskStatePending {
		t.Errorf("%+v, %v, want a pending task", info, err)
	}
	for what, try := range map[string]func(queue, id string) error{
		"delete": f.inspector.DeleteTask, "run": f.inspector.RunTask, "archive": f.inspector.ArchiveTask,
	} {
		if err := try(q, id); err == nil {
			t.Errorf("%s: not refused", what)
		}
	}
	if n, err := f.inspector.DeleteAllPendingTasks(q); n != 0 || err != nil {
		t.Errorf("%d deleted, %v", n, err)
	}
	close(release)
	eventually(t, "none is listed", func() bool { return f.info(phone, message.Service).Size == 0 })
	if n := f.info(phone, message.Service).Processed; n != 2 {
		t.Errorf("%d counted as done", n)
	}
}
