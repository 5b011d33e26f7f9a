package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
)

// ReadOpen returns the present state of a message, for a later Sweep or Move; or message.ErrNotFound.
func (l *Ledger) ReadOpen(ctx context.Context, id string) (message.Open, error) {
	r, err := l.Read(ctx, id)
	return r.Open(), err
}

// ReadEnded returns a message with what decides whether it can be sent again, or message.ErrNotFound.
func (l *Ledger) ReadEnded(ctx context.Context, id string) (message.Ended, error) {
	r, err := l.Read(ctx, id)
	if err == nil && r.Tombstone() {
		err = message.ErrNotFound
	}
	return ended(&r), err
}

// ended returns a record for the decision whether to send its message again.
func ended(r *record.Record) message.Ended {
	return message.Ended{Open: r.Open(), Code: r.Code, At: r.Since().UTC(), Kept: r.Payload != ""}
}

// Cancel cancels a message that is queued or parked, and returns its state after that: cancelled, or another state
// that it reached first. If a message of another number has taken its place, that one is cancelled. It may be repeated. It returns
// message.ErrNotFound if there is no such message.
func (l *Ledger) Cancel(ctx context.Context, id string) (message.State, error) {
	for asked := id; ; {
		o, err := l.ReadOpen(ctx, id)
		switch {
		case id != asked && errors.Is(err, message.ErrNotFound):
			return "", fmt.Errorf("cancel %s: it is being moved to another number", asked)
		case err != nil:
			return "", err
		case o.MovedTo != "":
			id = o.MovedTo
			continue
		case o.State != message.Queued && o.State != message.Parked:
			return o.State, nil
		}
		done, err := l.Sweep(ctx, o, message.Move{To: message.Cancelled, Reason: message.ReasonCaller})
		if err != nil {
			return "", err
		}
		if done {
			return message.Cancelled, nil
		}
		// Its state has changed since. Each round has seen it change, so the loop ends.
	}
}

// InDoubt returns up to limit messages that are parked or in doubt, the longest waiting first: of one number, or of
// all numbers if number is empty.
func (l *Ledger) InDoubt(ctx context.Context, number string, limit int) ([]message.Record, error) {
	var found []message.Record
	for _, s := range l.shards(number) {
		for _, list := range []message.List{message.ListParked, message.ListInDoubt} {
			some, err := l.records(ctx, s, list, number, "+inf", limit)
			if err != nil {
				return nil, err
			}
			found = append(found, some...)
		}
	}
	return oldest(found, limit, message.ListParked, message.ListInDoubt), nil
}

// shards returns the shard of a number, or all shards if number is empty.
func (l *Ledger) shards(number string) []message.Shard {
	if number == "" {
		return l.o.Shards.All()
	}
	return []message.Shard{l.o.Shards.Of(number)}
}

// oldest returns the records that still belong to one of the lists (the list may be older), up to limit of them, in
// the order in which they came into their states.
func oldest(found []message.Record, limit int, lists ...message.List) []message.Record {
	found = slices.DeleteFunc(found, func(r message.Record) bool { return !slices.Contains(lists, r.State.List()) })
	slices.SortStableFunc(found, func(a, b message.Record) int { return since(a).Compare(since(b)) })
	return found[:min(limit, len(found))]
}

// since returns when a record came into its state.
func since(r message.Record) time.Time {
	if len(r.Timeline) == 0 {
		return r.AcceptedAt
	}
	return r.Timeline[len(r.Timeline)-1].At
}

// records returns up to limit records of a list up to a score, in its order: of one number, or of all.
func (l *Ledger) records(ctx context.Context, s message.Shard, list message.List, number, until string, limit int) ([]message.Record, error) {
	const page = 500
	var found []message.Record
	for from := int64(0); len(found) < limit; from += page {
		ids, err := l.db.ZRangeByScore(ctx, listKey(s, list), &redis.ZRangeBy{Min: "-inf", Max: until, Offset: from, Count: page}).Result()
		if err != nil {
			return nil, fmt.Errorf("read list: %w", err)
		}
		n := len(ids)
		if number != "" {
			ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, number+"-") })
		}
		for len(ids) > 0 && len(found) < limit {
			k := min(len(ids), limit-len(found))
			some, _, err := l.ReadReadable(ctx, s, ids[:k])
			if err != nil {
				return nil, err
			}
			for _, r := range some {
				if r.Exists() {
					found = append(found, r.Record)
				}
			}
			ids = ids[k:]
		}
		if n < page {
			break
		}
	}
	return found, nil
}
