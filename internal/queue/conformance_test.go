package queue

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
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// dump returns all that asynq has in Redis, without the moments of enqueueing.
func (f *fixture) dump() map[string]any {
	f.t.Helper()
	ctx := f.t.Context()
	all := map[string]any{}
	for _, key := range f.db.Keys(ctx, "asynq:*").Val() {
		switch kind := f.db.Type(ctx, key).Val(); kind {
		case "hash":
			h := f.db.HGetAll(ctx, key).Val()
			if since, there := h["pending_since"]; there {
				h["pending_since"] = fmt.Sprintf("%d digits", len(since))
			}
			all[key] = h
		case "list":
			all[key] = f.db.LRange(ctx, key, 0, -1).Val()
		case "zset":
			all[key] = f.db.ZRangeWithScores(ctx, key, 0, -1).Val()
		case "set":
			all[key] = f.db.SMembers(ctx, key).Val()
		default:
			f.t.Errorf("%s is a %s", key, kind)
		}
	}
	return all
}

func TestAddWritesWhatAsynqsClientWrites(t *testing.T) {
	t.Parallel()
	f := setup(t)
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, c := range []struct {
		what      string
		at        time.Time
		processAt time.Time
	}{
		{"at once", time.Time{}, time.Time{}},
		{"long due", time.Now().Add(-time.Hour), time.Time{}},
		{"at a whole second", soon, soon},
		{"within a second", soon.Add(time.Millisecond), soon.Add(time.Second)},
	} {
		t.Run(c.what, func(t *testing.T) {
			wakes := f.db.Subscribe(t.Context(), store.WakeChannel(shards.Of(phone)))
			defer wakes.Close()
			if _, err := wakes.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.db.FlushAll(t.Context())
			f.db.ScriptFlush(t.Context())
			client := NewClient(f.db, shards) // one that has published no queue yet
			task := Task{ID: phone + "-abc", K: 7, Number: phone, Class: message.Utility, At: c.at}
			if err := f.tryAdd(client, task); err != nil {
				t.Fatal(err)
			}
			ours := f.dump()
			if work := f.db.SMembers(t.Context(), workKey(shards.Of(phone))).Val(); !slices.Equal(work, []string{phone}) {
				t.Errorf("the index of work has %q", work)
			}

			f.db.FlushAll(t.Context())
			opts := []asynq.Option{
				asynq.Queue(name(shards.Of(phone), phone, message.Utility)), asynq.TaskID(phone + "-abc.7"),
				asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout),
			}
			if !c.processAt.IsZero() {
				opts = append(opts, asynq.ProcessAt(c.processAt))
			}
			if _, err := asynq.NewClientFromRedisClient(f.db).Enqueue(asynq.NewTask(taskType, []byte(task.ID)), opts...); err != nil {
				t.Fatal(err)
			}
			if theirs := f.dump(); !reflect.DeepEqual(ours, theirs) || len(ours) != 3 {
				t.Errorf("our client wrote\n%v\nasynq's\n%v", ours, theirs)
			}

			// Those to be sent at once are announced; delayed ones would wake nobody.
			f.db.Publish(t.Context(), store.WakeChannel(shards.Of(phone)), "end")
			woken := 0
			for {
				m, err := wakes.ReceiveMessage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m.Payload == "end" {
					break
				}
				if m.Payload != phone+" 2" { // with the class
					t.Errorf("a call for %q", m.Payload)
				}
				woken++
			}
			if (woken > 0) != c.processAt.IsZero() {
				t.Errorf("%d calls", woken)
			}
		})
	}
}

func TestServerDrainsWhatAsynqsClientEnqueues(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			enqueue := func(c message.Class, opts ...asynq.Option) {
				t.Helper()
				opts = append(opts, asynq.Queue(name(shards.Of(phone), phone, c)))
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
	f.add(Task{ID: "later", Number: phone, Class: message.Marketing, At: time.Now().Add(time.Hour)})
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
	for range 4 {
		release <- Later{In: time.Hour}
	}
	release <- errors.New("none of Later") // comes back as well, in 5 s
	counts("0 0 1 5 0")
	infos, err := f.inspector.ListRetryTasks(name(shards.Of(phone), phone, message.Marketing))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range infos {
		if i.Retried != 0 || i.MaxRetry != maxRetry || i.Type != taskType || i.Timeout != taskTimeout {
			t.Errorf("%+v", i)
		}
	}
	if n, err := f.inspector.DeleteAllRetryTasks(name(shards.Of(phone), phone, message.Marketing)); n != 5 || err != nil {
		t.Fatal(n, err)
	}
	for range 5 {
		<-started
	}

	// What comes to a paused class stays there; the others go on.
	q := name(shards.Of(phone), phone, message.Marketing)
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
	if err := f.inspector.PauseQueue(name(shards.Of(phone), phone, message.Marketing)); err != nil {
		t.Fatal(err)
	}
	before := len(j.sent())
	eventually(t, "nothing is in hand", func() bool { return f.info(phone, message.Marketing).Active == 0 })
	// The horizon holds 8 slots. Tasks in hand whose slots lapsed may add a few.
	if after := len(j.sent()) - before; after > 20 {
		t.Errorf("%d messages left after the pause", after)
	}
}

// spy sees the scripts that go through a client.
type spy struct {
	redis.UniversalClient
	see func(text string, keys []string)

	mu    sync.Mutex
	texts map[string]string
}

func (s *spy) Conn() *redis.Conn { return s.UniversalClient.(*redis.Client).Conn() }

func (s *spy) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	s.mu.Lock()
	text := s.texts[sha]
	s.mu.Unlock()
	if text != "" {
		s.see(text, keys)
	}
	return s.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

func (s *spy) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	s.mu.Lock()
	s.texts[redis.NewScript(text).Hash()] = text
	s.mu.Unlock()
	s.see(text, keys)
	return s.UniversalClient.Eval(ctx, text, keys, args...)
}

// Asynq's own server, on the virtual queue and a real one, shows what kind must tell apart.
func TestKindsOfAsynqsScripts(t *testing.T) {
	t.Parallel()
	const real = "s07}:106540352242922:utility"
	// What a script does, by a part of its text that no other has.
	marks := []struct {
		mark, what string
		virtual    call // on the virtual queue
		other      call
	}{
		{"RPOPLPUSH", "dequeue", dequeue, other},
		{"redis.error_reply(\"INTERNAL\")", "complete", idle, other},
		{`redis.call("ZRANGE", KEYS[4], 0, -ARGV[5])`, "archive", idle, other},
		{`"state", "retry"`, "retry", idle, retry},
		{`redis.call("DEL", KEYS[3]) == 0`, "done", idle, done},
		{"SETEX", "beat", beat, beat},
		{`redis.call("HGET", taskKey, "group")`, "forward", idle, other},
		{`local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, tonumber(ARGV[3]))`, "janitor", idle, other},
	}
	var mu sync.Mutex
	seen := map[string]call{}
	unknown := map[string]call{}
	f := open(t, redistest.Start(t, "--appendonly", "no").Addr, func(c redis.UniversalClient) redis.UniversalClient {
		return &spy{UniversalClient: c, texts: map[string]string{}, see: func(text string, keys []string) {
			mu.Lock()
			defer mu.Unlock()
			virtually := strings.HasPrefix(keys[0], "asynq:{gate}:")
			for _, m := range marks {
				if strings.Contains(text, m.mark) {
					want := m.other
					if virtually {
						want = m.virtual
					}
					if got := kind(keys); got != want {
						t.Errorf("%s %v is of kind %d, want %d", m.what, keys, got, want)
					}
					seen[m.what] = want
					return
				}
			}
			unknown[strings.Join(keys, " ")] = kind(keys)
		}}
	})
	srv := asynq.NewServerFromRedisClient(f.db, asynq.Config{
		Queues: map[string]int{virtual: 1, real: 1}, Concurrency: 4, LogLevel: asynq.FatalLevel,
		TaskCheckInterval: 10 * time.Millisecond, DelayedTaskCheckInterval: 100 * time.Millisecond, JanitorInterval: 100 * time.Millisecond,
		RetryDelayFunc: func(int, error, *asynq.Task) time.Duration { return 0 },
	})
	for id, opts := range map[string][]asynq.Option{
		"done": nil, "retry": {asynq.MaxRetry(1)}, "archive": {asynq.MaxRetry(0)}, "complete": {asynq.Retention(time.Hour)},
	} {
		opts = append(opts, asynq.Queue(real), asynq.TaskID(id))
		if _, err := f.asynq.Enqueue(asynq.NewTask("send", []byte(id)), opts...); err != nil {
			t.Fatal(err)
		}
	}
	err := srv.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		if id := string(task.Payload()); id == "retry" || id == "archive" {
			return errors.New("no")
		}
		return nil
	}))
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, "all scripts were seen", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(seen) == len(marks)
	})
	srv.Shutdown()
	// The rest: expired leases, stale aggregation sets, enqueues, and a server's farewell.
	var rest []string
	for keys, k := range unknown {
		rest = append(rest, fmt.Sprintf("%s: %d", strings.ReplaceAll(keys, real, "real"), k))
	}
	slices.Sort(rest)
	for _, want := range []string{
		fmt.Sprint("asynq:{gate}:lease: ", int(expired)), fmt.Sprint("asynq:{real}:lease: ", int(other)),
		fmt.Sprint("asynq:{gate}:aggregation_sets: ", int(idle)), fmt.Sprint("asynq:{real}:t:done asynq:{real}:pending: ", int(other)),
	} {
		if !slices.Contains(rest, want) {
			t.Errorf("%q is not among what else was seen: %q", want, rest)
		}
	}
	if kind(nil) != other {
		t.Error("a script without keys is no matter of the gate")
	}
}

// Nothing about the virtual queue ever reaches Redis, and a heartbeat stays small.
func TestTheVirtualQueueStaysVirtual(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	f := open(t, redistest.Start(t, "--appendonly", "no").Addr, func(c redis.UniversalClient) redis.UniversalClient {
		return &spy{UniversalClient: c, texts: map[string]string{}, see: func(_ string, keys []string) {
			mu.Lock()
			defer mu.Unlock()
			seen = append(seen, keys...)
		}}
	})
	j := newJournal()
	f.serve("w", j.handle, Number{ID: phone, Rate: 80})
	f.add(many(10, phone, message.Service)...)
	j.wait(t, 10)
	eventually(t, "all is acknowledged", func() bool { return f.info(phone, message.Service).Size == 0 })
	mu.Lock()
	defer mu.Unlock()
	if len(seen) == 0 {
		t.Error("the spy is blind")
	}
	for _, key := range seen {
		if strings.Contains(key, "{"+virtual+"}") {
			t.Errorf("a script with %s reached Redis", key)
		}
	}
}

func TestBeatRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ workers, want int }{{0, 0}, {1, 1}, {100, 100}, {101, 100}, {4000, 100}} {
		if got := len(beatRows(make([]any, 2+2*c.workers))); got != 2+2*c.want {
			t.Errorf("%d workers: %d arguments, want %d", c.workers, got, 2+2*c.want)
		}
	}
}
