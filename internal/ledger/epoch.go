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

// A Redis that restarts, or that is replaced by another, may have lost its latest writes: with appendfsync everysec,
// those of a second. Then a message that was sent is queued again. So attempts are begun by a script whose text has
// the epoch of the server that this worker has begun: the server's run id, and a number for the times at which the same
// process was set back to an earlier state (see Heartbeat). Another Redis process does not know the script, because
// scripts are neither saved nor replicated, and so it changes nothing. The worker first replays there what it
// remembers.

//go:embed lua/epoch.lua
var epochLua string

//go:embed lua/begin.lua
var beginLua string

// errRestarted means that the server is not in the epoch that this worker has begun.
var errRestarted = errors.New("another epoch of the server")

// epochKey has the epoch in which the shard was last used, and until when no attempt begins in it unless every
// worker has replayed: a hash.
func epochKey(s message.Shard) string { return store.Key(s, "run") }

// beginIn returns the script that begins attempts on a server in an epoch. If a connection may lead to another
// server at any time, the script also compares the run id.
func (l *Ledger) beginIn(epoch string) store.Script {
	text := beginLua
	if l.db.Scripted() {
		id, _, _ := strings.Cut(epoch, ".")
		text = clockLua + "if run_id() ~= '" + id + "' then return redis.error_reply('NOSCRIPT of another process') end\n" + beginLua
	}
	return l.db.Unlisted(text + "-- " + epoch + "\n")
}

// sameEpoch returns errRestarted if a shard's server is not in the epoch that this worker has begun. Like the begin
// of an attempt, it waits for replicas.
func (l *Ledger) sameEpoch(ctx context.Context, s message.Shard) error {
	_, err := l.runBegin(ctx, s, epochKey(s), nil)
	return err
}

// runBegin runs the script that begins attempts, together with concurrent calls for the same shard.
func (l *Ledger) runBegin(ctx context.Context, s message.Shard, key string, intent []byte) (size int, err error) {
	v, _ := l.epochs.Load(s)
	epoch, begun := v.(begunEpoch)
	if !begun {
		return 0, errRestarted
	}
	for range 2 {
		n, err := l.db.Shared().Each(ctx, epoch.begin, key, string(intent))
		switch {
		case store.IsUnknownScript(err): // another process, or the scripts of this one were flushed
			if l.BeginEpoch(ctx, s, epoch.id) != nil {
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

// BeginEpoch allows attempts to begin in an epoch of a shard's server. It returns an error if the server is in
// another epoch now, or does not answer.
func (l *Ledger) BeginEpoch(ctx context.Context, s message.Shard, epoch string) error {
	e := begunEpoch{epoch, l.beginIn(epoch)}
	// Use one connection, which belongs to one process of the server: another process must not get the script.
	err := l.db.OnOne(ctx, epochKey(s), func(c *redis.Conn) error {
		same := l.db.Unlisted(clockLua + epochLua)
		if err := same.LoadOn(ctx, c); err != nil {
			return err
		}
		if yes, err := c.EvalSha(ctx, same.SHA(), []string{epochKey(s)}, epoch).Int(); err != nil {
			return err
		} else if yes == 0 {
			return errRestarted
		}
		return e.begin.LoadOn(ctx, c)
	})
	if err != nil {
		return fmt.Errorf("begin epoch of the server of shard %d: %w", s, err)
	}
	l.epochs.Store(s, e)
	return nil
}

// begunEpoch is an epoch of a server in which attempts may begin, with the script that begins them.
type begunEpoch struct {
	id    string
	begin store.Script
}

// replayMost is how many attempts are sent to the server at once.
const replayMost = 500

// Replay stores again, durably, what a worker remembers of a shard's attempts, where the server lost it. It may be
// repeated.
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
		changes[i] = l.replaying(ctx, s, m, []string{m.ID}, &losses[i])
	}
	for i, err := range l.tx.DoAll(ctx, 0, changes) {
		err = l.again(ctx, err, func(others []string) store.Change {
			return l.replaying(ctx, s, some[i], append([]string{some[i].ID}, others...), &losses[i])
		})
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

// replaying returns the change that stores again what a worker remembers of an attempt for the first of some messages.
// The others are messages that wait for it.
func (l *Ledger) replaying(ctx context.Context, s message.Shard, m message.RememberedAttempt, ids []string, loss *record.Loss) store.Change {
	keys := keysOf(s, ids)
	return store.Change{Keys: keys, Slot: keys[0], Durable: true, Decide: func(values []string, w *store.Writes) error {
		before, err := record.Decode(m.ID, values[0])
		if err != nil {
			return err
		}
		now := l.db.Clock(ctx, keys[0])
		after, lost, d := before.Restore(m, now)
		*loss = lost
		if d.Changed || after.Attempt != before.Attempt {
			return l.writeWithFollowers(w, s, before, after, d.Changes, now, ids, values)
		}
		return nil
	}}
}
