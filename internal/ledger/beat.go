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

// A shard has the heartbeats of all workers: a server that is away, or set back, concerns its own shards
// only. Each worker numbers its heartbeats, in each shard from 1. The server keeps the latest number, and
// the worker knows which were answered. A server that lacks one of these has lost writes: it was restored,
// loaded an older file, or took its data from an older copy.

// workersKey holds the time of the last heartbeat of each worker, by the clock of the shard's node.
func workersKey(s message.Shard) string { return store.Key(s, "workers") }

// pulsesKey holds the number of the last heartbeat of each worker: a hash.
func pulsesKey(s message.Shard) string { return store.Key(s, "pulses") }

// replayingKey holds the workers that lived before the shard's epoch began, and have not replayed: a set.
func replayingKey(s message.Shard) string { return store.Key(s, "replaying") }

const (
	// forgetAfter is when a dead worker's heartbeat is dropped: long after its attempts were reclaimed.
	forgetAfter = 24 * time.Hour
	// beatAhead is how far a heartbeat may lie in the future and count.
	beatAhead = time.Second
)

// Parts divides the shards into those that are available together: all where there is one server, each
// for itself in a Cluster.
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

// Heartbeat sends heartbeats, in one round trip, and returns the answer to each, in their order.
// A shard whose heartbeat fails has no epoch until BeginEpoch is called again: while it was away another
// server may have taken its place, and given it back.
func (l *Ledger) Heartbeat(ctx context.Context, pulses []message.Heartbeat) []message.Epoch {
	cmds := make([]*redis.Cmd, len(pulses))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, b := range pulses {
			s := b.Shard
			cmds[i] = l.beat.Add(ctx, p, []string{runKey(s), workersKey(s), pulsesKey(s), replayingKey(s)},
				b.Worker, b.N, b.Answered, b.Replayed, rand.Text()[:8], message.DeadAfter.Milliseconds(), forgetAfter.Milliseconds())
		}
	})
	runs := make([]message.Epoch, len(pulses))
	flushed := false
	for i, c := range cmds {
		s := pulses[i].Shard
		r, failed := c.Slice()
		if failed == nil && len(r) < 5 {
			failed = fmt.Errorf("the heartbeat's script replied %d values", len(r))
		}
		if failed != nil {
			if err != nil && failed == redis.Nil {
				failed = err
			}
			l.epochs.Delete(s)
			runs[i].Err = fmt.Errorf("heartbeat in shard %d: %w", s, failed)
			continue
		}
		run := message.Epoch{
			ID: text(r[0]), Wait: time.Duration(number(r[1])) * time.Millisecond,
			Kept: number(r[2]), Now: time.UnixMilli(number(r[3])),
		}
		if number(r[4]) == 1 && (!flushed || l.db.Cluster()) {
			l.forgetScripts(ctx, s)
			flushed = true
		}
		v, _ := l.epochs.Load(s)
		epoch, begun := v.(begunEpoch)
		if run.Ready = begun && epoch.run == run.ID && run.Wait == 0; !run.Ready {
			l.epochs.Delete(s)
		}
		runs[i] = run
	}
	return runs
}

// CurrentEpoch returns the epoch of a shard's server, without a heartbeat.
func (l *Ledger) CurrentEpoch(ctx context.Context, s message.Shard) (message.Epoch, error) {
	run := l.Heartbeat(ctx, []message.Heartbeat{{Shard: s}})[0]
	return run, run.Err
}

// forgetScripts makes a server that was set back forget the scripts by which others begin attempts there,
// so that they learn of it at once. Where that is forbidden they learn of it by their next heartbeats.
func (l *Ledger) forgetScripts(ctx context.Context, s message.Shard) {
	l.db.OnOne(ctx, runKey(s), func(c *redis.Conn) error { return c.ScriptFlush(ctx).Err() })
}

// Leave takes back a worker's heartbeats at its orderly end.
func (l *Ledger) Leave(ctx context.Context, worker string) error {
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, s := range l.o.Shards.All() {
			p.ZRem(ctx, workersKey(s), worker)
			p.HDel(ctx, pulsesKey(s), worker)
			p.SRem(ctx, replayingKey(s), worker)
		}
	})
	if err != nil {
		return fmt.Errorf("take back heartbeats: %w", err)
	}
	return nil
}

// Alive returns, for each of some shards, the workers whose last heartbeat there is younger than d. What
// cannot be read has an error, and says nothing of the others.
func (l *Ledger) Alive(ctx context.Context, shards []message.Shard, d time.Duration) []message.LiveWorkers {
	cmds := make([]*redis.Cmd, len(shards))
	l.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		for i, s := range shards {
			cmds[i] = l.alive.Add(ctx, p, []string{workersKey(s)}, d.Milliseconds(), beatAhead.Milliseconds())
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
