package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// finishWithin is how long an outcome waits for others, to share a transaction and an fsync. Nothing waits for
// the outcome, but if the worker dies in that time, the attempt is in doubt.
const finishWithin = 10 * time.Millisecond

// Begin records, durably, that the owner of token will send message id for its task number k. Known is the
// record as it was last read; nil: Begin reads it. A repeated call with the same token returns the same answer.
// With Restarted and Unconfirmed, the intent is recorded if the Attempt has an N, and must be withdrawn. After an
// error the intent may be recorded.
func (l *Ledger) Begin(ctx context.Context, id string, k int, token string, known *record.Record) (message.Attempt, error) {
	s, key, err := l.shardOf(id)
	if err != nil {
		return message.Attempt{Verdict: message.Done}, nil // a task of another system
	}
	for {
		if known == nil {
			r, err := l.Read(ctx, id)
			if errors.Is(err, message.ErrNotFound) {
				return message.Attempt{Verdict: message.Done}, nil
			} else if err != nil {
				return message.Attempt{}, fmt.Errorf("begin %s: %w", id, err)
			}
			known = &r
		}
		now := l.db.Clock(ctx, key)
		after, b := known.Begin(k, token, now)
		switch {
		case b.Expired != "":
			return l.expire(ctx, *known, b.Expired)
		case b.Verdict != message.Go:
			return message.Attempt{Verdict: b.Verdict, Wait: b.Wait}, nil
		}
		a := attempt(&after, now)
		recorded := known.State == message.Attempting // by this token
		if recorded {
			err = l.sameEpoch(ctx, s)
		} else {
			recorded, err = l.appendIntent(ctx, s, key, known.Version(), record.Begun(k, token, now))
		}
		switch {
		case errors.Is(err, errRestarted) && recorded:
			a.Verdict = message.Restarted
			return a, nil
		case errors.Is(err, errRestarted):
			return message.Attempt{Verdict: message.Restarted}, nil
		case errors.Is(err, store.ErrUnconfirmed) && recorded:
			a.Verdict = message.Unconfirmed
			return a, nil
		case err != nil && !errors.Is(err, store.ErrUnconfirmed):
			return message.Attempt{}, fmt.Errorf("begin %s: %w", id, err)
		case recorded:
			return a, nil
		}
		known = nil // the record changed first: reading it shows what the intent means
	}
}

// appendIntent appends an intent to a record, durably, and returns whether the record was unchanged before. If
// it had changed, Decode decides what the intent means. If the record no longer exists, the intent means nothing,
// and it is deleted.
func (l *Ledger) appendIntent(ctx context.Context, s message.Shard, key string, known int, intent []byte) (bool, error) {
	size, err := l.runBegin(ctx, s, key, intent)
	if size == len(intent) {
		return false, l.db.Shared().Do(ctx, func(p redis.Pipeliner) { l.db.AddIfUnchanged(ctx, p, key, size, "unlink", key) })
	}
	return size == known+len(intent), err
}

// attempt returns what a worker needs to know of a record whose attempt has begun.
func attempt(r *record.Record, now time.Time) message.Attempt {
	return message.Attempt{
		Verdict: message.Go, ID: r.ID, N: r.Attempt, Token: r.Token, Accepted: r.Incarnation(), Message: r.Context, Payload: []byte(r.Payload),
		ExpiresAt: r.ExpiresAt, Age: now.Sub(r.Since()), Left: r.ExpiresAt.Sub(now), Waited: max(0, now.Sub(r.Ready())), Failures: r.Failures,
		Fallback: r.Template == "" && r.Fallback != "" && r.Proven >= r.Attempt-1,
	}
}

// expire records that a message's deadline has passed, which a worker has just found.
func (l *Ledger) expire(ctx context.Context, r record.Record, why string) (message.Attempt, error) {
	done, err := l.Sweep(ctx, r.Open(), message.Move{To: message.Expired, Reason: why, Keep: true})
	if err != nil {
		return message.Attempt{}, err
	}
	a := message.Attempt{Verdict: message.Done}
	if done {
		a.Expired, a.Message = why, r.Context
	}
	return a, nil
}

// Finish records the outcome of an attempt. It returns the state of the message, which differs from m.To when a
// status was applied first, and whether a second acceptance by Meta is proven. It may be repeated until it
// succeeds.
func (l *Ledger) Finish(ctx context.Context, a message.Attempt, m message.Move) (message.State, bool, error) {
	in, err := inputOf(record.Outcome, m)
	if err != nil {
		return "", false, err
	}
	in.Attempt, in.Token, in.Incarnation = a.N, a.Token, a.Accepted
	out, err := l.move(ctx, a.ID, in, finishWithin, nil)
	if err != nil {
		return "", false, fmt.Errorf("finish %s: %w", a.ID, err)
	}
	return out.state, out.Duplicate, nil
}
