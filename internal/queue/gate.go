// Package queue is the only package that uses asynq. Its client enqueues tasks as asynq's client does. Its
// gate is the Redis client of asynq's server: it passes on only tasks that the dispatcher has chosen. A Lease
// is what one worker has fetched of a number, and writes how tasks leave. All of asynq's tools stay usable.
package queue

import (
	"context"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/retry"
	"sluice/internal/store"
)

// Source gives asynq's server its tasks.
type Source interface {
	// Next waits for a task that may run, in asynq's encoding; false: there is none yet, or the source ends.
	Next() (string, bool)
	// Ended takes in what asynq's server does with a task.
	Ended(Ended)
}

// Gate is the Redis client that asynq's server is given. Of the calls that the server makes
// it answers those about its one virtual queue by its source, passes on to the source how tasks ended, and
// passes the rest on to Redis.
type Gate struct {
	redis.UniversalClient
	source     Source
	heartbeats heartbeats
}

// NewGate returns a gate between asynq's server and Redis.
func NewGate(db *store.DB, s Source) *Gate { return &Gate{UniversalClient: db, source: s} }

// EvalSha answers, notes or passes on a script of asynq's server.
func (g *Gate) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	switch c := CallOf(keys); c {
	case Dequeue:
		if m, ok := g.source.Next(); ok {
			cmd.SetVal(m)
		} else {
			cmd.SetErr(redis.Nil)
		}
		return cmd
	case Expired:
		cmd.SetVal([]any{})
		return cmd
	case Idle:
		cmd.SetVal(int64(0))
		return cmd
	case Done, Retry, Requeue:
		g.source.Ended(ended(c, keys, args))
		cmd.SetVal("OK")
		return cmd
	case Heartbeat:
		args = heartbeatRows(args)
		if len(args) == 0 { // the server's last call
			break
		}
		if g.heartbeats.send(ctx, g.UniversalClient, sha, keys, args) {
			cmd.SetVal("OK")
			return cmd
		}
		cmd := untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.EvalSha(ctx, sha, keys, args...) })
		g.heartbeats.learn(cmd.Err() == nil)
		return cmd
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.EvalSha(ctx, sha, keys, args...) })
}

// Eval is what asynq's server calls when Redis did not know a script.
func (g *Gate) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	if CallOf(keys) == Heartbeat {
		args = heartbeatRows(args)
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.Eval(ctx, text, keys, args...) })
}

// untilDone repeats a call that has a deadline until an answer comes. Asynq's own repetition never works:
// it uses a context that is over.
func untilDone(ctx context.Context, eval func() *redis.Cmd) (cmd *redis.Cmd) {
	_, bounded := ctx.Deadline()
	retry.Pauses{First: 50 * time.Millisecond, Max: time.Second}.Do(ctx, func() error {
		cmd = eval()
		if !bounded || store.Refused(cmd.Err()) {
			return nil
		}
		return cmd.Err()
	})
	return cmd
}

// ZAddXX is how asynq's server extends the leases of its tasks every 5 s. Fetched tasks are leased as long
// as their worker has a heartbeat, so the call needs no answer of Redis.
func (g *Gate) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if isLease(key) {
		return redis.NewIntResult(0, nil)
	}
	return g.UniversalClient.ZAddXX(ctx, key, members...)
}

// ZAdd is how asynq's server enters itself into lists of servers with each heartbeat.
func (g *Gate) ZAdd(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if isServers(key) && g.heartbeats.list(key, members) {
		return redis.NewIntResult(0, nil)
	}
	return g.UniversalClient.ZAdd(ctx, key, members...)
}

// ZRem is how asynq's server removes itself from those lists when it stops, after its last heartbeat.
func (g *Gate) ZRem(ctx context.Context, key string, members ...any) *redis.IntCmd {
	if isServers(key) {
		g.heartbeats.sent.Wait()
	}
	return g.UniversalClient.ZRem(ctx, key, members...)
}
