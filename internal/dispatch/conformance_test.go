package dispatch

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
)

func TestServerDrainsWhatAsynqsClientEnqueues(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			enqueue := func(c message.Class, opts ...asynq.Option) {
				t.Helper()
				opts = append(opts, asynq.Queue(queue.KeysOf(shards.Of(phone), phone, c).Queue))
				if _, err := f.asynq.Enqueue(asynq.NewTask("send", nil), opts...); err != nil {
					t.Fatal(err)
				}
			}
			f.index(phone)
			due := time.Now().Add(time.Second)
			enqueue(message.Utility, asynq.TaskID("one.1"))
			enqueue(message.Marketing, asynq.TaskID("two.12"))
			enqueue(message.Service, asynq.TaskID("three.3"), asynq.ProcessAt(due))
			enqueue(message.Utility)                            // an id of asynq's making
			enqueue(message.Utility, asynq.TaskID("one.x"))     // no task counter
			enqueue(message.Utility, asynq.TaskID("stranger.")) // an empty one

			type run struct {
				id string
				k  int
			}
			got := make(chan run, 10)
			stop := f.serve("w", func(_ context.Context, id string, k int, known any, _ *Slots) error {
				got <- run{id, k}
				return nil
			}, Number{ID: phone, Rate: 80})
			seen := map[run]bool{}
			for range 3 {
				r := <-got
				seen[r] = true
				if r.id == "three" && time.Now().Before(due.Truncate(time.Second)) {
					t.Errorf("a delayed task came %v early", time.Until(due))
				}
			}
			if want := map[run]bool{{"one", 1}: true, {"two", 12}: true, {"three", 3}: true}; !reflect.DeepEqual(seen, want) {
				t.Errorf("handled %v", seen)
			}
			eventually(t, "the queues are empty", func() bool {
				return f.info(phone, message.Utility).Size+f.info(phone, message.Service).Size+f.info(phone, message.Marketing).Size == 0
			})
			stop()
			close(got)
			for r := range got {
				t.Errorf("handled as well: %v", r)
			}
			if p := f.info(phone, message.Utility).Processed; p != 4 {
				t.Errorf("asynq counted %d tasks done, want 4", p)
			}
			if s, err := f.inspector.Servers(); err != nil || len(s) != 0 {
				t.Errorf("servers %v (%v) after the stop", s, err)
			}
		})
	}
}

func TestAsynqsInspectorSeesAndRulesOurQueues(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(5, phone, message.Marketing)
	f.add(tasks...)
	f.add(queue.Task{ID: "later", Number: phone, Class: message.Marketing, At: time.Now().Add(time.Hour)})
	counts := func(want string) {
		t.Helper()
		var got string
		defer func() {
			if t.Failed() {
				t.Logf("pending, active, scheduled, retry, archived: %s, want %s", got, want)
			}
		}()
		eventually(t, "counts "+want, func() bool {
			i := f.info(phone, message.Marketing)
			got = fmt.Sprint(i.Pending, i.Active, i.Scheduled, i.Retry, i.Archived)
			return got == want
		})
	}
	counts("5 0 1 0 0")

	release := make(chan error)
	started := make(chan string, 100)
	f.serve("w", func(_ context.Context, id string, _ int, known any, _ *Slots) error {
		started <- id
		if !strings.Contains(id, "marketing") {
			return nil
		}
		return <-release
	}, Number{ID: phone, Rate: 80})
	counts("0 5 1 0 0")
	// docs/architecture.md says which views of asynq are given up.
	q := queue.KeysOf(shards.Of(phone), phone, message.Marketing).Queue
	active, err := f.inspector.ListActiveTasks(q)
	if err != nil || len(active) != 5 {
		t.Fatal(active, err)
	}
	id := active[0].ID
	if info, err := f.inspector.GetTaskInfo(q, id); err != nil || info.State != asynq.TaskStatePending {
		t.Errorf("a fetched task: %+v, %v, want pending", info, err)
	}
	for what, order := range map[string]func(string, string) error{"delete": f.inspector.DeleteTask, "run": f.inspector.RunTask, "archive": f.inspector.ArchiveTask} {
		if order(q, id) == nil {
			t.Errorf("%s of a fetched task was not refused", what)
		}
	}
	counts("0 5 1 0 0")
	for range 4 {
		release <- Later{In: time.Hour}
	}
	release <- errors.New("none of Later") // comes back as well, in 5 s
	counts("0 0 1 5 0")
	infos, err := f.inspector.ListRetryTasks(q)
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Retried != 0 || i.MaxRetry != 1000 || i.Type != "send" || i.Timeout != 90*time.Second {
			t.Errorf("%+v", i)
		}
	}
	if n, err := f.inspector.DeleteAllRetryTasks(q); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	for range 5 {
		<-started
	}

	// What comes to a paused class stays there; the others go on.
	if err := f.inspector.PauseQueue(q); err != nil {
		t.Fatal(err)
	}
	f.add(many(3, phone, message.Marketing)...)
	f.add(many(1, phone, message.Authentication)...)
	if id := <-started; !strings.Contains(id, "authentication") {
		t.Errorf("%s left a paused queue", id)
	}
	counts("3 0 1 0 0")
	if err := f.inspector.UnpauseQueue(q); err != nil {
		t.Fatal(err)
	}
	counts("0 3 1 0 0")
	for range 3 {
		release <- nil
	}
	// Asynq's list of running servers names ours.
	if s, err := f.inspector.Servers(); err != nil || len(s) != 1 {
		t.Errorf("servers %v (%v), want one", s, err)
	}
}

func TestAPauseTakesEffectWithinTheHorizon(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const rate = 80
	f.add(many(400, phone, message.Marketing)...)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: rate})
	j.wait(t, 20)
	if err := f.inspector.PauseQueue(queue.KeysOf(shards.Of(phone), phone, message.Marketing).Queue); err != nil {
		t.Fatal(err)
	}
	before := len(j.sent())
	eventually(t, "nothing is in hand", func() bool { return f.info(phone, message.Marketing).Active == 0 })
	// The horizon holds 8 slots. Tasks in hand whose slots lapsed may add a few.
	if after := len(j.sent()) - before; after > 20 {
		t.Errorf("%d messages left after the pause", after)
	}
}

// scriptKeys are the keys of the scripts that are sent to Redis.
type scriptKeys struct {
	mu   sync.Mutex
	keys []string
}

func (*scriptKeys) DialHook(next redis.DialHook) redis.DialHook { return next }

func (*scriptKeys) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}

func (s *scriptKeys) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if strings.HasPrefix(cmd.Name(), "eval") {
			s.mu.Lock()
			for _, a := range cmd.Args() {
				s.keys = append(s.keys, fmt.Sprint(a))
			}
			s.mu.Unlock()
		}
		return next(ctx, cmd)
	}
}

// Nothing about the virtual queue ever reaches Redis.
func TestTheVirtualQueueStaysVirtual(t *testing.T) {
	t.Parallel()
	f := setup(t)
	var seen scriptKeys
	f.db.UniversalClient.(*redis.Client).AddHook(&seen)
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 80})
	f.add(many(10, phone, message.Service)...)
	j.wait(t, 10)
	eventually(t, "all is acknowledged", func() bool { return f.info(phone, message.Service).Size == 0 })
	seen.mu.Lock()
	defer seen.mu.Unlock()
	if !slices.ContainsFunc(seen.keys, func(key string) bool { return strings.HasPrefix(key, "asynq:servers:") }) {
		t.Error("no heartbeat of asynq's server was seen")
	}
	for _, key := range seen.keys {
		if strings.Contains(key, "{gate}") {
			t.Errorf("a script with %s reached Redis", key)
		}
	}
}
