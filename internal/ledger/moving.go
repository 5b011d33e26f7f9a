package ledger

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// MoveAway cancels a message that waits, durably, so that a message of another number can take its place; see
// record.MayMove. It returns the record after that, and whether the message is being moved. Like the begin of an attempt, it changes nothing while Redis may have lost attempts.
func (l *Ledger) MoveAway(ctx context.Context, id, number string) (after record.Record, moving bool, err error) {
	return l.moveAway(ctx, id, func(r *record.Record) bool { return r.MayMove() }, number)
}

// ReadMoving returns the record of a message that MoveAway cancelled, and whether the message is still being moved. What it
// read is durable: the call of MoveAway may have ended before that.
func (l *Ledger) ReadMoving(ctx context.Context, id string) (r record.Record, moving bool, err error) {
	return l.moveAway(ctx, id, func(*record.Record) bool { return false }, "")
}

func (l *Ledger) moveAway(ctx context.Context, id string, may func(*record.Record) bool, number string) (after record.Record, moving bool, err error) {
	s, key, err := l.shardOf(id)
	if err == nil {
		err = l.sameEpoch(ctx, s)
	}
	if err != nil {
		return after, false, fmt.Errorf("move %s: %w", id, err)
	}
	var decided record.Record // not to be read after an error
	err = l.tx.Do(ctx, 0, store.Change{Keys: []string{key}, Slot: key, Durable: true, Decide: func(values []string, w *store.Writes) error {
		before, err := record.Decode(id, values[0])
		if decided = before; err != nil || !may(&before) {
			return err
		}
		at := l.db.Clock(ctx, key)
		after, c := before.MoveAway(number, at)
		l.write(w, s, before, after, []record.Change{c}, at)
		decided = after
		return nil
	}})
	if err != nil {
		return after, false, fmt.Errorf("move %s: %w", id, err)
	}
	return decided, decided.Moving(), nil
}

// AcceptMoved creates the record of the message that takes the place of another one, durably, together with its task,
// unless it exists. enqueue adds the task: not before the time of NextAt. recipient is the recipient of the message; of
// the successor it sets what identifies the recipient. It does not block on a full Redis.
func (l *Ledger) AcceptMoved(ctx context.Context, moving *record.Record, recipient string, of record.Successor, enqueue func(*store.Writes, record.Record) error) error {
	s, key, err := l.shardOf(moving.MovedTo)
	if err != nil {
		return fmt.Errorf("accept %s: %w", moving.MovedTo, err)
	}
	number, _ := message.Number(moving.MovedTo)
	of.Recipient, of.RecipientHash = message.Pair(number, recipient), moving.RecipientHash
	if hash := l.hashOf(recipient); hash != "" {
		of.Recipient, of.RecipientHash = l.hashOf(number+"\x00"+recipient), hash // as for an accepted message
	}
	made := moving.Successor(of, l.db.Clock(ctx, key))
	err = l.tx.Do(ctx, 0, store.Change{Keys: []string{key}, Slot: key, Durable: true, Decide: func(values []string, w *store.Writes) error {
		before, err := record.Decode(made.ID, values[0])
		if err != nil || before.Exists() {
			return err
		}
		after := made
		after.Replace(before)
		l.write(w, s, record.Record{}, after, []record.Change{{Change: message.Change{To: message.Queued, Reason: message.ReasonMoved}}}, after.AcceptedAt)
		index(w, s, &after)
		return enqueue(w, after)
	}})
	if err != nil {
		return fmt.Errorf("accept %s: %w", made.ID, err)
	}
	return nil
}

// EndMove drops the payload of a message when the one that takes its place is accepted, or its record if its life is over.
func (l *Ledger) EndMove(ctx context.Context, id string) error {
	s, key, err := l.shardOf(id)
	if err == nil {
		err = l.tx.Do(ctx, 0, store.Change{Keys: []string{key}, Slot: key, Decide: func(values []string, w *store.Writes) error {
			before, err := record.Decode(id, values[0])
			if err != nil || !before.Moving() {
				return err
			}
			if now := l.db.Clock(ctx, key); l.over(&before, now) {
				l.end(w, s, &before, now) // Purge has passed the hour in which it would have ended
			} else {
				l.write(w, s, before, before.Moved(), nil, now)
			}
			return nil
		}})
	}
	if err != nil {
		return fmt.Errorf("end the move of %s: %w", id, err)
	}
	return nil
}

// Moving returns the ids of messages that are being moved, up to limit of each shard, the longest waiting first: of one
// number, or of all numbers if number is empty. It needs one round trip for all numbers.
func (l *Ledger) Moving(ctx context.Context, number string, limit int) (ids []string, err error) {
	if number != "" {
		some, err := l.records(ctx, l.o.Shards.Of(number), message.ListMoving, number, "+inf", limit)
		for _, r := range some {
			ids = append(ids, r.ID)
		}
		return ids, err
	}
	var lists []*redis.StringSliceCmd
	err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
		lists = nil
		for _, s := range l.o.Shards.All() {
			lists = append(lists, p.ZRange(ctx, listKey(s, message.ListMoving), 0, int64(limit-1)))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the messages that are being moved: %w", err)
	}
	for _, c := range lists {
		ids = append(ids, c.Val()...)
	}
	return ids, nil
}
