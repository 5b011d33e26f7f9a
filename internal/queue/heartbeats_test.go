package queue

import (
	"context"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
)

// slowBeats is a client whose heartbeats of asynq's servers wait.
type slowBeats struct {
	*redis.Client
	asked chan bool     // gets a value when one is sent
	held  chan struct{} // they wait until it is closed; nil: they do not wait
}

func (s *slowBeats) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if CallOf(keys) == Heartbeat && s.held != nil && len(args) > 0 {
		s.asked <- true
		<-s.held
	}
	return s.Client.EvalSha(ctx, sha, keys, args...)
}

// Asynq's server does not wait for its heartbeats, and all of them are there before it goes.
func TestNobodyWaitsForAHeartbeat(t *testing.T) {
	t.Parallel()
	var slow *slowBeats
	f := open(t, redistest.Start(t, "--appendonly", "no").Addr, func(c redis.UniversalClient) redis.UniversalClient {
		slow = &slowBeats{Client: c.(*redis.Client), asked: make(chan bool, 10)}
		return slow
	})
	ctx := t.Context()
	g := NewGate(f.db, nil)
	keys := []string{"asynq:servers:{h:1:x}", "asynq:workers:{h:1:x}"}
	script := redis.NewScript(`redis.call("SETEX", KEYS[1], ARGV[1], ARGV[2]) return "OK"`)
	beats := func(text string) error {
		if err := g.ZAdd(ctx, "asynq:servers", redis.Z{Score: 1e10, Member: keys[0]}).Err(); err != nil {
			return err
		}
		return script.Run(ctx, g, keys, 100., text).Err()
	}
	for range 2 { // the first brings its script, the second finds it
		if err := beats("first"); err != nil {
			t.Fatal(err)
		}
	}
	slow.held = make(chan struct{})
	for range 3 { // of which one is under way
		if err := beats("second"); err != nil {
			t.Fatal(err)
		}
	}
	if got := f.db.Get(ctx, keys[0]).Val(); got != "first" {
		t.Errorf("%q is written already", got)
	}
	<-slow.asked
	left := make(chan error)
	go func() { left <- g.ZRem(ctx, "asynq:servers", keys[0]).Err() }()
	close(slow.held)
	if err := <-left; err != nil {
		t.Fatal(err)
	}
	if got := f.db.Get(ctx, keys[0]).Val(); got != "second" || len(slow.asked) != 0 {
		t.Errorf("%q is written, %d more were sent", got, len(slow.asked))
	}
	if n := f.db.ZCard(ctx, "asynq:servers").Val(); n != 0 {
		t.Errorf("%d servers are listed", n)
	}
	// A Redis that has forgotten the script gets it with one of the next.
	if err := f.db.ScriptFlush(ctx).Err(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the script is there again", func() bool {
		return beats("third") == nil && f.db.Get(ctx, keys[0]).Val() == "third"
	})
}
