package ledger

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// A Redis that restarts, or that another takes the place of, may have lost what it had last: with
// appendfsync everysec a second of it. Then a message that was sent is queued again. So attempts are
// begun by a script whose text names the epoch of the server that this worker has begun: its run id, and
// what distinguishes the times in which the same process was set back (see Heartbeat). Another process of Redis
// does not know the script, for scripts are neither saved nor replicated, and changes nothing. What the
// worker remembers is written down again before it begins anything there.

//go:embed lua/trust.lua
var trustLua string

//go:embed lua/begin.lua
var beginLua string

// errRestarted means that the server is not in the epoch that this worker has begun.
var errRestarted = errors.New("another epoch of the server")

// runKey is the epoch of its server that a shard was last used in, and until when nothing begins in it
// unless every worker has replayed: a hash.
func runKey(s message.Shard) string { return store.Key(s, "run") }

// beginIn is the script that begins attempts, for a server in an epoch. Where a connection may lead to
// another server at any time, it must also ask.
func (l *Ledger) beginIn(epoch string) store.Script {
	text := beginLua
	if l.db.Scripted() {
		id, _, _ := strings.Cut(epoch, ".")
		text = clockLua + "if run_id() ~= '" + id + "' then return redis.error_reply('NOSCRIPT of another run') end\n" + beginLua
	}
	return l.db.Unlisted(text + "-- " + epoch + "\n")
}

// sameEpoch is errRestarted when a shard's server is not in the epoch that this worker has begun. Like a
// begun attempt it waits for replicas.
func (l *Ledger) sameEpoch(ctx context.Context, s message.Shard) error {
	_, err := l.runBegin(ctx, s, runKey(s), nil)
	return err
}

// runBegin runs the script that begins attempts, together with others of the shard who do so now.
func (l *Ledger) runBegin(ctx context.Context, s message.Shard, key string, intent []byte) (size int, err error) {
	v, _ := l.epochs.Load(s)
	epoch, begun := v.(begunEpoch)
	if !begun {
		return 0, errRestarted
	}
	for range 2 {
		n, err := l.db.Shared().Each(ctx, epoch.begin, key, string(intent))
		switch {
		case store.IsUnknownScript(err): // another run, or somebody made this one forget all scripts
			if l.BeginEpoch(ctx, s, epoch.run) != nil {
				return 0, errRestarted
			}
		case err != nil && !errors.Is(err, store.ErrUnconfirmed):
			return 0, err
		default:
			return int(n), err
		}
	}
	return 0, errRestarted
}

// BeginEpoch lets attempts begin in an epoch of a shard's server. It is an error when that server is in
// another epoch by now, or does not answer.
func (l *Ledger) BeginEpoch(ctx context.Context, s message.Shard, run string) error {
	t := begunEpoch{run, l.beginIn(run)}
	// On one connection, which belongs to one process of the server: the script must not come to
	// another one.
	err := l.db.OnOne(ctx, runKey(s), func(c *redis.Conn) error {
		same := l.db.Unlisted(clockLua + trustLua)
		if err := same.LoadOn(ctx, c); err != nil {
			return err
		}
		if yes, err := c.EvalSha(ctx, same.SHA(), []string{runKey(s)}, run).Int(); err != nil {
			return err
		} else if yes == 0 {
			return errRestarted
		}
		return t.begin.LoadOn(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("begin epoch of the server of shard %d: %w", s, err)
	}
	l.epochs.Store(s, t)
	return nil
}

// begunEpoch is an epoch of a server in which attempts may begin, and how.
type begunEpoch struct {
	run   string
	begin store.Script
}

// replayMost is how many attempts go to the server at once.
const replayMost = 500

// Replay stores again what a worker remembers of a shard's attempts, durably, where the server lacks it.
// It may be repeated.
func (l *Ledger) Replay(ctx context.Context, s message.Shard, all []message.RememberedAttempt) (message.LostWrites, error) {
	var lost message.LostWrites
	for len(all) > 0 {
		n := min(len(all), replayMost)
		if err := l.replaySome(ctx, s, all[:n], &lost); err != nil {
			return lost, fmt.Errorf("replay attempts: %w", err)
		}
		all = all[n:]
	}
	return lost, nil
}

func (l *Ledger) replaySome(ctx context.Context, s message.Shard, some []message.RememberedAttempt, lost *message.LostWrites) error {
	losses := make([]record.Loss, len(some))
	changes := make([]store.Change, len(some))
	for i, m := range some {
		key := RecordPrefix(s) + m.ID
		changes[i] = store.Change{Keys: []string{key}, Slot: key, Durable: true, Decide: func(values []string, w *store.Writes) error {
			before, err := record.Decode(m.ID, values[0])
			if err != nil {
				return err
			}
			now := l.db.Clock(ctx, key)
			after, loss, d := before.Restore(m, now)
			losses[i] = loss
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
		switch losses[i] {
		case record.RecordLost:
			lost.Records++
		case record.IntentLost:
			lost.Intents++
		case record.OutcomeLost:
			lost.Outcomes++
		}
	}
	return nil
}
