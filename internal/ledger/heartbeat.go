package ledger

import (
	"context"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Each shard has the heartbeats of all workers: a server that fails, or is restored to an earlier state, concerns
// its own shards only. Each worker numbers its heartbeats, in each shard from 1. The server stores the latest
// number, and the worker knows which ones were answered. If the server lacks one of these, it has lost writes: it
// was restored, loaded an older file, or copied its data from an older server.

// workersKey has the time of the last heartbeat of each worker, by the clock of the shard's node.
func workersKey(s message.Shard) string { return store.Key(s, "workers") }

// heartbeatNumbersKey has the number of the last heartbeat of each worker: a hash.
func heartbeatNumbersKey(s message.Shard) string { return store.Key(s, "pulses") }

// replayingKey has the workers that were alive before the shard's epoch began and have not replayed yet: a set.
func replayingKey(s message.Shard) string { return store.Key(s, "replaying") }

const (
	// heartbeatLife is how long the heartbeat of a dead worker is kept: until long after its attempts were reclaimed.
	heartbeatLife = 24 * time.Hour
	// heartbeatAhead is how far a heartbeat may be in the future and still count.
	heartbeatAhead = time.Second
)

// Parts divides the shards into groups that fail together: all shards of one server; in a Cluster, each shard
// alone.
func (l *Ledger) Parts() [][]message.Shard {
	if !l.db.Cluster() {
		return [][]message.Shard{l.o.Shards.All()}
	}
	var parts [][]message.Shard
	for _, s := range l.o.Shards.All() {
		parts = append(parts, []message.Shard{s})
	}
	return parts
}

// Heartbeat sends heartbeats, in one round trip, and returns the answer to each, in their order. A shard whose
// heartbeat fails has no epoch until BeginEpoch is called again: while its server did not answer, another server
// may have replaced it for a time.
func (l *Ledger) Heartbeat(ctx context.Context, heartbeats []message.Heartbeat) []message.Epoch {
	cmds := make([]*redis.Cmd, len(heartbeats))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, h := range heartbeats {
			s := h.Shard
			cmds[i] = l.heartbeat.Add(ctx, p, []string{epochKey(s), workersKey(s), heartbeatNumbersKey(s), replayingKey(s)},
				h.Worker, h.N, h.Answered, h.Replayed, rand.Text()[:8], message.DeadAfter.Milliseconds(), heartbeatLife.Milliseconds())
		}
	})
	epochs := make([]message.Epoch, len(heartbeats))
	flushed := false
	for i, c := range cmds {
		s := heartbeats[i].Shard
		r, failed := c.Slice()
		if failed == nil && len(r) < 5 {
			failed = fmt.Errorf("the heartbeat's script replied %d values", len(r))
		}
		if failed != nil {
			if err != nil && failed == redis.Nil {
				failed = err
			}
			l.epochs.Delete(s)
			epochs[i].Err = fmt.Errorf("heartbeat in shard %d: %w", s, failed)
			continue
		}
		e := message.Epoch{
			ID: text(r[0]), Wait: time.Duration(number(r[1])) * time.Millisecond,
			Kept: number(r[2]), Now: time.UnixMilli(number(r[3])),
		}
		if number(r[4]) == 1 && (!flushed || l.db.Cluster()) {
			l.flushScripts(ctx, s)
			flushed = true
		}
		v, _ := l.epochs.Load(s)
		current, begun := v.(begunEpoch)
		if e.Ready = begun && current.id == e.ID && e.Wait == 0; !e.Ready {
			l.epochs.Delete(s)
		}
		epochs[i] = e
	}
	return epochs
}

// CurrentEpoch returns the epoch of a shard's server, without a heartbeat.
func (l *Ledger) CurrentEpoch(ctx context.Context, s message.Shard) (message.Epoch, error) {
	e := l.Heartbeat(ctx, []message.Heartbeat{{Shard: s}})[0]
	return e, e.Err
}

// flushScripts deletes all scripts of a server that was restored to an earlier state, so that other workers
// notice it with their next attempt. If the command is forbidden, they notice it with their next heartbeats.
func (l *Ledger) flushScripts(ctx context.Context, s message.Shard) {
	l.db.OnOne(ctx, epochKey(s), func(c *redis.Conn) error { return c.ScriptFlush(ctx).Err() })
}

// Leave removes a worker's heartbeats when it stops in order.
func (l *Ledger) Leave(ctx context.Context, worker string) error {
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, s := range l.o.Shards.All() {
			p.ZRem(ctx, workersKey(s), worker)
			p.HDel(ctx, heartbeatNumbersKey(s), worker)
			p.SRem(ctx, replayingKey(s), worker)
		}
	})
	if err != nil {
		return fmt.Errorf("remove heartbeats: %w", err)
	}
	return nil
}

// Alive returns, for each of the shards, the workers whose last heartbeat there is younger than d. A shard that
// cannot be read has an error of its own.
func (l *Ledger) Alive(ctx context.Context, shards []message.Shard, d time.Duration) []message.LiveWorkers {
	cmds := make([]*redis.Cmd, len(shards))
	l.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		for i, s := range shards {
			cmds[i] = l.alive.Add(ctx, p, []string{workersKey(s)}, d.Milliseconds(), heartbeatAhead.Milliseconds())
		}
	})
	all := make([]message.LiveWorkers, len(shards))
	for i, c := range cmds {
		names, err := c.StringSlice()
		if err == nil && len(names) == 0 {
			err = fmt.Errorf("the script replied nothing")
		}
		if err != nil {
			all[i].Err = fmt.Errorf("read the heartbeats of shard %d: %w", shards[i], err)
			continue
		}
		all[i] = message.LiveWorkers{Now: time.UnixMilli(number(names[0])), Workers: map[string]bool{}}
		for _, name := range names[1:] {
			all[i].Workers[name] = true
		}
	}
	return all
}

// Workers returns the workers whose last heartbeat in any shard is younger than d.
func (l *Ledger) Workers(ctx context.Context, d time.Duration) (map[string]bool, error) {
	all := map[string]bool{}
	for _, a := range l.Alive(ctx, l.o.Shards.All(), d) {
		if a.Err != nil {
			return nil, a.Err
		}
		for w := range a.Workers {
			all[w] = true
		}
	}
	return all, nil
}
