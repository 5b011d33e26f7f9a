package dispatch

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/queue"
	"sluice/internal/redistest"
)

func TestACheckLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	for what, setup := range map[string]func(testing.TB) *fixture{"redis": setup, "miniredis": setupMini} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setup(t)
			s := NewServer(f.db, f.options("w", nil, nil))
			for range 3 {
				if err := s.Check(t.Context()); err != nil {
					t.Fatal(err)
				}
				if keys := f.db.Keys(t.Context(), "*").Val(); len(keys) != 0 {
					t.Errorf("it left %q", keys)
				}
			}
		})
	}
}

// A worker must start while everything is held: that is the first step after Redis was restored from a copy.
func TestACheckWhileEverythingIsHeld(t *testing.T) {
	t.Parallel()
	f := setup(t)
	if _, err := f.holds().Set(t.Context(), message.Hold{By: "anna", Reason: "restored"}); err != nil {
		t.Fatal(err)
	}
	if err := NewServer(f.db, f.options("w", nil, nil)).Check(t.Context()); err != nil {
		t.Error(err)
	}
}

// changed shows the gate the calls of another asynq.
type changed struct {
	redis.UniversalClient
	keys func([]string) []string
}

func (c changed) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	return c.UniversalClient.EvalSha(ctx, sha, c.keys(keys), args...)
}

func (c changed) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	return c.UniversalClient.Eval(ctx, text, c.keys(keys), args...)
}

func TestACheckNoticesAnotherAsynq(t *testing.T) {
	t.Parallel()
	replace := func(of queue.Call, change func([]string) []string) func([]string) []string {
		return func(keys []string) []string {
			if queue.CallOf(keys) == of {
				return change(slices.Clone(keys))
			}
			return keys
		}
	}
	rename := func(old, to string) func([]string) []string {
		return func(keys []string) []string {
			for i := range keys {
				keys[i] = strings.Replace(keys[i], old, to, 1)
			}
			return keys
		}
	}
	more := func(keys []string) []string { return append(keys, keys[0]+"2") }
	for what, c := range map[string]struct {
		keys func([]string) []string
		want string
	}{
		"a dequeue with more keys":         {replace(queue.Dequeue, more), "dequeue"},
		"another name of the list":         {replace(queue.Dequeue, rename(":pending", ":waiting")), "dequeue"},
		"an acknowledgement with more":     {replace(queue.Done, more), "acknowledgement"},
		"a heartbeat elsewhere":            {replace(queue.Heartbeat, rename("asynq:servers:", "asynq:live:")), "heartbeat"},
		"expired leases elsewhere":         {replace(queue.Expired, rename(":lease", ":leases")), "expired leases"},
		"another list of running tasks":    {replace(queue.Done, rename(":active", ":running")), "acknowledgement"},
		"leases kept by another name":      {replace(queue.Done, rename(":lease", ":leases")), "acknowledgement"},
		"tasks kept by another name":       {replace(queue.Done, rename(":t:", ":task:")), "acknowledgement"},
		"retries that end up elsewhere":    {rename(":retry", ":again"), "retry"},
		"running tasks kept somewhere new": {rename(":active", ":running"), "retry"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			f := setupMini(t)
			p := newCheck(f.db, f.options("w", nil, nil))
			ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("waited long enough"))
			defer cancel()
			err := p.run(ctx, func(gate redis.UniversalClient) redis.UniversalClient { return changed{gate, c.keys} })
			if !errors.Is(err, queue.ErrAsynq) || !strings.Contains(err.Error(), "v0.26.0") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%v, want one that says %q", err, c.want)
			}
		})
	}
}

func TestAServerThatFailsItsCheckSendsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t)
	// Tasks are not where this asynq's inspector looks for them.
	s := NewServer(f.db, f.options("w", nil, nil))
	s.dispatcher.db.UniversalClient.(*redis.Client).AddHook(hideTasks{})
	ctx, cancel := context.WithTimeout(t.Context(), poll.Limit)
	defer cancel()
	if err := s.Run(ctx); err == nil || !strings.Contains(err.Error(), "asynq") {
		t.Errorf("Run: %v, want the probe's error", err)
	}
}

// hideTasks loses what is written into pending lists.
type hideTasks struct{}

func (hideTasks) DialHook(next redis.DialHook) redis.DialHook { return next }

func (hideTasks) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (hideTasks) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, c := range cmds {
			for i, a := range c.Args() {
				if s, ok := a.(string); ok && strings.HasSuffix(s, ":pending") {
					c.Args()[i] = s + "2"
				}
			}
		}
		return next(ctx, cmds)
	}
}

// restarted shows a Redis that has another run id at each look, and loses tasks as hideTasks does.
type restarted struct{ hideTasks }

func (restarted) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		err := next(ctx, cmd)
		if info, ok := cmd.(*redis.StringCmd); ok && cmd.Name() == "info" {
			info.SetVal(strings.Replace(info.Val(), "run_id:", "run_id:"+rand.Text(), 1))
		}
		return err
	}
}

// A Redis that is restored during the check loses its task, which says nothing about asynq.
func TestACheckWhileRedisIsRestored(t *testing.T) {
	t.Parallel()
	for hook, asynq := range map[redis.Hook]bool{hideTasks{}: true, restarted{}: false} {
		f := setup(t)
		p := newCheck(f.db, f.options("w", nil, nil))
		f.db.UniversalClient.(*redis.Client).AddHook(hook)
		ctx, cancel := context.WithTimeoutCause(t.Context(), 5*time.Second, errors.New("waited long enough"))
		err := p.run(ctx, func(gate redis.UniversalClient) redis.UniversalClient { return gate })
		cancel()
		if err == nil || errors.Is(err, queue.ErrAsynq) != asynq {
			t.Errorf("%T: %v", hook, err)
		}
	}
}

// A worker that starts while Redis is away waits for it: the probe has proven nothing.
func TestAWorkerThatStartsWhileRedisIsAwayWaits(t *testing.T) {
	t.Parallel()
	r := redistest.Start(t)
	f := open(t, r.Addr, nil)
	f.add(queue.Task{ID: "1-a", Number: "1", Class: message.Service})
	handled := make(chan string, 1)
	o := f.options("w", func(_ context.Context, id string, _ int, known any, _ *Slots) error { handled <- id; return nil }, []Number{{"1", 80}})
	f.live("w")
	tried := make(chan struct{}, 100)
	o.Log = slog.New(slog.NewTextHandler(writerFunc(func(p []byte) (int, error) {
		if bytes.Contains(p, []byte("cannot check asynq")) {
			tried <- struct{}{}
		}
		return len(p), nil
	}), nil))
	s := NewServer(f.db, o)
	r.Kill()
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	select {
	case <-tried:
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	}
	r.Restart()
	if id := <-handled; id != "1-a" {
		t.Errorf("handled %q", id)
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
