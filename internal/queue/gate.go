// Package queue is the only room that knows asynq. Its client enqueues, its server runs the
// handlers; between Redis and that server stands the gate, which hands the server only tasks
// that have a send slot: by number, the most urgent class first.
package queue

import (
	"context"
	_ "embed"
	"errors"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/pacing"
	"sluice/internal/store"
)

var (
	//go:embed take.lua
	takeLua string
	//go:embed book.lua
	bookLua string
	//go:embed tidy.lua
	tidyLua string
	//go:embed renew.lua
	renewLua string
	//go:embed holds.lua
	holdsLua string
	//go:embed standing.lua
	standingLua string
)

const (
	// lease is how long a task stays with a worker that says nothing; renewEvery, how often a
	// living one says so. Asynq's own 30 s and minutely look would leave a dead worker's
	// tasks for two minutes.
	lease      = 6 * time.Second
	renewEvery = 2 * time.Second
)

// gate is the Redis client that asynq's server is given. Of the calls that the server makes
// it answers those about its one virtual queue itself, lets acknowledgements share round
// trips and repeats those that failed, and passes the rest on.
type gate struct {
	redis.UniversalClient
	db    *store.DB
	o     Options
	clock pacing.Clock
	place placement
	acks  acks

	take, book, tidy, renew, done store.Script

	ready   chan string     // asynq messages that have a slot coming
	stopped context.Context // ends when nothing more is handed out
}

func newGate(stopped context.Context, db *store.DB, o Options) *gate {
	return &gate{
		UniversalClient: db, db: db, o: o, stopped: stopped,
		place: placement{active: map[string]*active{}}, acks: acks{open: map[string]*ackGroup{}},
		take: db.Script(pacing.PaceLua + pacing.SlotsLua + pacing.PairLua + holdsLua + o.Standing + takeLua),
		book: db.Script(pacing.PaceLua + pacing.SlotsLua + bookLua),
		tidy: db.Script(holdsLua + tidyLua), renew: db.Script(renewLua), done: db.Script(doneLua),
		ready: make(chan string),
	}
}

// run feeds the server until the gate stops, and returns when all its tasks are handed out
// or back. Tasks in hand stay ours as long as renewLeases runs.
func (g *gate) run() {
	var wg sync.WaitGroup
	wg.Go(g.listen)
	wg.Go(g.placeNumbers)
	wg.Wait()
}

// renewLeases keeps the tasks in hand ours until ctx ends.
func (g *gate) renewLeases(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := g.renewAll(ctx); err != nil && ctx.Err() == nil {
			g.o.Log.Warn("renew leases", "err", err)
		}
	}
}

func (g *gate) renewAll(ctx context.Context) error {
	return g.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, n := range g.actives() {
			for class, ids := range n.inHand() {
				g.renew.Add(ctx, p, []string{n.classes[class].lease}, append([]any{int(lease.Seconds())}, ids...)...)
			}
		}
	})
}

// EvalSha answers, repeats or passes on a script of asynq's server.
func (g *gate) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	switch kind(keys) {
	case dequeue:
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select {
		case m := <-g.ready:
			cmd.SetVal(m)
		case <-t.C:
			cmd.SetErr(redis.Nil)
		case <-g.stopped.Done():
			cmd.SetErr(redis.Nil)
		}
		return cmd
	case expired:
		cmd.SetVal([]any{})
		return cmd
	case idle:
		cmd.SetVal(int64(0))
		return cmd
	case beat:
		args = beatRows(args)
	case done:
		return untilDone(ctx, func() *redis.Cmd { return g.ack(ctx, keys, args) })
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.EvalSha(ctx, sha, keys, args...) })
}

// Eval is how asynq's server goes on when Redis did not know a script.
func (g *gate) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	if kind(keys) == beat {
		args = beatRows(args)
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.Eval(ctx, text, keys, args...) })
}

// untilDone repeats what has a deadline, an acknowledgement that is, until an answer comes.
// Asynq's own repetition never works: it uses a context that is over.
func untilDone(ctx context.Context, eval func() *redis.Cmd) *redis.Cmd {
	_, bounded := ctx.Deadline()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		cmd := eval()
		if err := cmd.Err(); err == nil || !bounded || answered(err) {
			return cmd
		}
		select {
		case <-ctx.Done():
			return cmd
		case <-time.After(pause):
		}
	}
}

// answered tells a refusal by Redis, final, from a failure to ask it or its not being ready.
func answered(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		return false
	}
	return !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) && !redis.IsClusterDownError(err) && !redis.IsMasterDownError(err)
}

// ZAddXX: asynq's server extends the leases of its tasks every 5 s. The gate does so itself,
// sooner and for longer than that would, so the server's call needs no answer of Redis.
func (g *gate) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if isLease(key) {
		return redis.NewIntResult(0, nil)
	}
	return g.UniversalClient.ZAddXX(ctx, key, members...)
}

func micros(v any) int64 {
	s, _ := v.(string)
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
