package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// A Redis that restarts, or that another takes the place of, may have lost what it had last: with
// appendfsync everysec a second of it. Then a message that was sent is queued again. So an attempt
// begins only behind a guard: a script whose text names the epoch of the server, its run id, that
// this worker has met. Another process of Redis does not know the script, for scripts are neither
// saved nor replicated. What the worker remembers is written down again before it begins anything
// there.

//go:embed lua/meet.lua
var meetLua string

// errRestarted means that the guard failed.
var errRestarted = errors.New("another run of the server")

// runKey is the epoch of its server that a shard was last used in, and until when nothing is to
// begin in it: a hash.
func runKey(s message.Shard) string { return s.Key("run") }

// guardText is the script that only the server of an epoch knows.
func guardText(epoch string) string { return "return 1 -- " + epoch }

// guard adds the guard of a shard's epoch to a pipeline, once for all who share it.
func (l *Ledger) guard(ctx context.Context, p redis.Pipeliner, s message.Shard) *redis.Cmd {
	return store.Once(p, runKey(s), func() *redis.Cmd {
		return p.EvalSha(ctx, store.SHA(guardText(l.epochOf(s))), []string{runKey(s)})
	})
}

// sameEpoch is errRestarted when a shard's server is not in the epoch that this worker trusts.
func (l *Ledger) sameEpoch(ctx context.Context, s message.Shard) error {
	var guard *redis.Cmd
	err := l.db.Shared().Do(ctx, func(p redis.Pipeliner) { guard = l.guard(ctx, p, s) })
	if store.IsUnknownScript(guard.Err()) {
		return errRestarted
	}
	return err
}

// Meet asks which epoch of its server a shard lies in. After another one nothing is to begin for
// quiet, so that every worker can write down what it remembers; whoever meets it first starts
// that time.
func (l *Ledger) Meet(ctx context.Context, s message.Shard, quiet time.Duration) (message.Run, error) {
	r, err := l.db.Shared().Run(ctx, l.meet, []string{runKey(s)}, quiet.Milliseconds()).Slice()
	if err != nil {
		return message.Run{}, fmt.Errorf("meet the server of shard %d: %w", s, err)
	}
	run := message.Run{ID: text(r[0]), Wait: time.Duration(number(r[1])) * time.Millisecond}
	run.Met = run.ID == l.epochOf(s)
	return run, nil
}

// Trust lets attempts begin in an epoch of a shard's server. It is an error when that server is in
// another epoch by now, or does not answer.
func (l *Ledger) Trust(ctx context.Context, s message.Shard, run string) error {
	// On one connection, which belongs to one process of the server: the guard must not come to
	// another one.
	err := l.db.OnOne(ctx, runKey(s), func(c *redis.Conn) error {
		r, err := c.EvalSha(ctx, l.meet.SHA(), []string{runKey(s)}, 0).Slice()
		if err != nil {
			return err
		}
		if text(r[0]) != run {
			return errRestarted
		}
		return c.Eval(ctx, guardText(run), []string{runKey(s)}).Err()
	})
	if err != nil {
		return fmt.Errorf("trust the server of shard %d: %w", s, err)
	}
	l.epochs.Store(s, run)
	return nil
}

func (l *Ledger) epochOf(s message.Shard) string {
	epoch, _ := l.epochs.Load(s)
	return text(epoch)
}

// assertMost is how many attempts go to the server at once.
const assertMost = 500

// Assert writes down again what a worker remembers of a shard's attempts, durably, where the server
// lacks it. It may be repeated.
func (l *Ledger) Assert(ctx context.Context, s message.Shard, all []message.Memory) (message.Lost, error) {
	var lost message.Lost
	for len(all) > 0 {
		n := min(len(all), assertMost)
		if err := l.assertSome(ctx, s, all[:n], &lost); err != nil {
			return lost, fmt.Errorf("write down again what was lost: %w", err)
		}
		all = all[n:]
	}
	return lost, nil
}

func (l *Ledger) assertSome(ctx context.Context, s message.Shard, some []message.Memory, lost *message.Lost) error {
	type found struct {
		record bool
		loss   record.Loss
	}
	results := make([]found, len(some))
	changes := make([]store.Change, len(some))
	for i, m := range some {
		key := RecordPrefix(s) + m.ID
		changes[i] = store.Change{Keys: []string{key}, Slot: key, Durable: true, Decide: func(values []string, w *store.Writes) error {
			before, err := record.Decode(m.ID, values[0])
			results[i] = found{record: before.Exists()}
			if err != nil || !before.Exists() {
				return err
			}
			now := l.db.Clock(ctx, key)
			after, loss, d := before.Restore(m, now)
			results[i].loss = loss
			if d.Changed || after.Attempt != before.Attempt {
				l.write(w, s, before, after, d.Changes, now)
			}
			return nil
		}}
	}
	for i, err := range l.tx.DoAll(ctx, 0, changes) {
		if err != nil {
			return err
		}
		switch {
		case !results[i].record:
			lost.Records++
		case results[i].loss == record.IntentLost:
			lost.Intents++
		case results[i].loss == record.OutcomeLost:
			lost.Outcomes++
		}
	}
	return nil
}
