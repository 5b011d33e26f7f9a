package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
)

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
		virtual    Call // on the virtual queue
		other      Call
	}{
		{"RPOPLPUSH", "dequeue", Dequeue, Other},
		{"redis.error_reply(\"INTERNAL\")", "complete", Idle, Other},
		{`redis.call("ZRANGE", KEYS[4], 0, -ARGV[5])`, "archive", Idle, Other},
		{`"state", "retry"`, "retry", Idle, Retry},
		{`redis.call("DEL", KEYS[3]) == 0`, "done", Idle, Done},
		{"SETEX", "beat", Heartbeat, Heartbeat},
		{`redis.call("HGET", taskKey, "group")`, "forward", Idle, Other},
		{`local ids = redis.call("ZRANGEBYSCORE", KEYS[1], "-inf", ARGV[1], "LIMIT", 0, tonumber(ARGV[3]))`, "janitor", Idle, Other},
	}
	var mu sync.Mutex
	seen := map[string]Call{}
	unknown := map[string]Call{}
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
					if got := CallOf(keys); got != want {
						t.Errorf("%s %v is of kind %d, want %d", m.what, keys, got, want)
					}
					seen[m.what] = want
					return
				}
			}
			unknown[strings.Join(keys, " ")] = CallOf(keys)
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
		fmt.Sprint("asynq:{gate}:lease: ", int(Expired)), fmt.Sprint("asynq:{real}:lease: ", int(Other)),
		fmt.Sprint("asynq:{gate}:aggregation_sets: ", int(Idle)), fmt.Sprint("asynq:{real}:t:done asynq:{real}:pending: ", int(Other)),
	} {
		if !slices.Contains(rest, want) {
			t.Errorf("%q is not among what else was seen: %q", want, rest)
		}
	}
	if CallOf(nil) != Other {
		t.Error("a script without keys is no matter of the gate")
	}
}

func TestHeartbeatRows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ workers, want int }{{0, 0}, {1, 1}, {100, 100}, {101, 100}, {4000, 100}} {
		if got := len(heartbeatRows(make([]any, 2+2*c.workers))); got != 2+2*c.want {
			t.Errorf("%d workers: %d arguments, want %d", c.workers, got, 2+2*c.want)
		}
	}
}
