// Package queue is the only room that knows asynq. Its client enqueues, its server runs the
// handlers; between Redis and that server stands the gate, which hands the server only tasks
// that have a send slot: by number, the most urgent class first.
package queue

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/holds"
	"sluice/internal/pacing"
	retries "sluice/internal/retry"
	"sluice/internal/store"
)

var (
	//go:embed names.lua
	namesLua string
	//go:embed take.lua
	takeLua string
	//go:embed book.lua
	bookLua string
	//go:embed tidy.lua
	tidyLua string
)

// boundsLua gives the scripts what Go knows of the send schedule.
var boundsLua = fmt.Sprintf("local LEAD, HORIZON, CAP, LAG, SLACK, CLIMB, ASIDE = %d, %d, %d, %d, %d, %g, %d\n",
	pacing.Lead.Microseconds(), pacing.Horizon.Microseconds(), pacing.Cap.Microseconds(), lag.Microseconds(),
	pacing.Slack.Microseconds(), pacing.Climb, takeMost)

// The scripts of a gate, by parts.
var (
	takeScript = []string{namesLua, boundsLua, pacing.PaceLua, pacing.SlotsLua, holds.HeldLua, takeLua}
	bookScript = []string{namesLua, boundsLua, pacing.PaceLua, pacing.SlotsLua, bookLua}
	tidyScript = []string{namesLua, pairLua, fmt.Sprintf("local PROBE = %d\n", probeEvery.Milliseconds()), holds.HeldLua, waitsLua, tidyLua}
)

// gate is the Redis client that asynq's server is given. Of the calls that the server makes
// it answers those about its one virtual queue itself, notes how tasks ended, and passes the rest on.
type gate struct {
	redis.UniversalClient
	db     *store.DB
	o      Options
	clock  pacing.Clock
	place  placement
	client *Client
	tx     *store.Transactions
	seq    atomic.Int64 // of fetches

	take, book, tidy, gone store.Script

	unserved map[string]*unserved // of the goroutine that places numbers

	heart heart

	ready    chan string     // asynq messages that have a slot coming
	stopped  context.Context // ends when nothing more is handed out
	given    context.Context // ends when what is not written yet is given up
	giveUp   context.CancelFunc
	settling sync.WaitGroup
}

func newGate(stopped context.Context, db *store.DB, o Options) *gate {
	g := &gate{
		UniversalClient: db, db: db, o: o, stopped: stopped,
		place: placement{active: map[string]*active{}}, client: NewClient(db, o.Shards),
		tx:   o.Transactions,
		take: db.Script(join(takeScript)), book: db.Script(join(bookScript)), tidy: db.Script(join(tidyScript)),
		gone: db.Script(namesLua + goneLua), unserved: map[string]*unserved{},
		ready: make(chan string, readyMost),
	}
	if g.tx == nil {
		g.tx = db.Transactions(false)
	}
	g.given, g.giveUp = context.WithCancel(context.WithoutCancel(stopped))
	// A process that comes again under the same name must not use a sequence of the last one.
	g.seq.Store(time.Now().UnixMicro())
	return g
}

// readyMost is how many tasks wait for asynq's server to fetch them: it fetches one at a time.
const readyMost = 64

// run feeds the server until the gate stops, and returns when all its tasks are handed out
// or back.
func (g *gate) run() {
	var wg sync.WaitGroup
	wg.Go(g.listen)
	wg.Go(g.placeNumbers)
	wg.Wait()
}

// EvalSha answers, notes or passes on a script of asynq's server.
func (g *gate) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	switch k := kind(keys); k {
	case dequeue:
		if m, ok := g.next(); ok {
			cmd.SetVal(m)
		} else {
			cmd.SetErr(redis.Nil)
		}
		return cmd
	case expired:
		cmd.SetVal([]any{})
		return cmd
	case idle:
		cmd.SetVal(int64(0))
		return cmd
	case done, retry, requeue:
		g.ended(k, keys, args)
		cmd.SetVal("OK")
		return cmd
	case beat:
		args = beatRows(args)
		if len(args) == 0 { // the server's last call
			break
		}
		if g.heart.beat(ctx, g.UniversalClient, sha, keys, args) {
			cmd.SetVal("OK")
			return cmd
		}
		cmd := untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.EvalSha(ctx, sha, keys, args...) })
		g.heart.learn(cmd.Err() == nil)
		return cmd
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.EvalSha(ctx, sha, keys, args...) })
}

// next waits for a task that asynq's server may run; false: there is none yet, or the gate stops.
func (g *gate) next() (string, bool) {
	select {
	case m := <-g.ready:
		return m, true
	default:
	}
	t := time.NewTimer(time.Second)
	defer t.Stop()
	select {
	case m := <-g.ready:
		return m, true
	case <-t.C:
	case <-g.stopped.Done():
	}
	return "", false
}

// Eval is how asynq's server goes on when Redis did not know a script.
func (g *gate) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	if kind(keys) == beat {
		args = beatRows(args)
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.Eval(ctx, text, keys, args...) })
}

// untilDone repeats what has a deadline until an answer comes. Asynq's own repetition never works:
// it uses a context that is over.
func untilDone(ctx context.Context, eval func() *redis.Cmd) (cmd *redis.Cmd) {
	_, bounded := ctx.Deadline()
	retries.Pauses{First: 50 * time.Millisecond, Max: time.Second}.Do(ctx, func() error {
		cmd = eval()
		if !bounded || answered(cmd.Err()) {
			return nil
		}
		return cmd.Err()
	})
	return cmd
}

// answered tells a refusal by Redis, final, from a failure to ask it or its not being ready.
func answered(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		return false
	}
	return !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) && !redis.IsClusterDownError(err) && !redis.IsMasterDownError(err)
}

// ZAddXX: asynq's server extends the leases of its tasks every 5 s. What is in hand is ours as long
// as this worker has a heartbeat, so the call needs no answer of Redis.
func (g *gate) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if isLease(key) {
		return redis.NewIntResult(0, nil)
	}
	return g.UniversalClient.ZAddXX(ctx, key, members...)
}

// ZAdd: asynq's server enters itself into lists of servers with each heartbeat.
func (g *gate) ZAdd(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if isServers(key) && g.heart.list(key, members) {
		return redis.NewIntResult(0, nil)
	}
	return g.UniversalClient.ZAdd(ctx, key, members...)
}

// ZRem: asynq's server takes itself off those lists when it stops, after its last heartbeat.
func (g *gate) ZRem(ctx context.Context, key string, members ...any) *redis.IntCmd {
	if isServers(key) {
		g.heart.sent.Wait()
	}
	return g.UniversalClient.ZRem(ctx, key, members...)
}
