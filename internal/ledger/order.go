package ledger

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// ordered returns the deed behind a move as the trail keeps it, and the reason as the timeline
// tells it: with who and why.
func ordered(m message.Move) (deed, note string, err error) {
	if m.Deed == nil {
		return "", m.Reason, nil
	}
	note = m.Reason + " by " + m.Deed.Actor + ": " + m.Deed.Reason
	note = strings.ReplaceAll(note, "|", "/") // which ends a step of the timeline
	if m.Deed.Verb == message.VerbReplay {
		return "", note, nil // one of thousands: the trail has them as a whole, see Note
	}
	about, err := json.Marshal(m.Deed)
	if err != nil {
		return "", "", fmt.Errorf("deed: %w", err)
	}
	return string(about), note, nil
}

// Note enters a deed into the trail that is about no single message.
func (l *Ledger) Note(ctx context.Context, d message.Deed) error {
	about, err := json.Marshal(d)
	if err == nil {
		err = l.db.XAdd(ctx, &redis.XAddArgs{
			Stream: message.Shard(0).AuditKey(), MaxLen: 1000, Approx: true, Values: []any{"deed", about},
		}).Err()
	}
	if err != nil {
		return fmt.Errorf("note a deed: %w", err)
	}
	return nil
}

// Deeds returns the latest limit deeds of the trail, the latest first.
func (l *Ledger) Deeds(ctx context.Context, limit int) ([]message.Deed, error) {
	all := l.o.Shards.All()
	cmds := make([]*redis.XMessageSliceCmd, len(all))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range all {
			cmds[i] = p.XRevRangeN(ctx, s.AuditKey(), "+", "-", int64(limit))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read deeds: %w", err)
	}
	var deeds []message.Deed
	for _, c := range cmds {
		for _, entry := range c.Val() {
			var d message.Deed
			if err := json.Unmarshal([]byte(text(entry.Values["deed"])), &d); err != nil {
				return nil, fmt.Errorf("deed %s: %w", entry.ID, err)
			}
			ms, _, _ := strings.Cut(entry.ID, "-")
			d.At = at(ms)
			deeds = append(deeds, d)
		}
	}
	slices.SortStableFunc(deeds, func(a, b message.Deed) int { return b.At.Compare(a.At) })
	return deeds[:min(limit, len(deeds))], nil
}

// Look returns a message as it is now, for a Sweep or a Move of what was seen; or
// message.ErrNotFound.
func (l *Ledger) Look(ctx context.Context, id string) (message.Open, error) {
	number, ok := message.Number(id)
	if !ok {
		return message.Open{}, message.ErrNotFound
	}
	some, err := l.opens(ctx, l.o.Shards.Of(number), []string{id})
	if err != nil {
		return message.Open{}, err
	}
	if some[0].ID == "" {
		return message.Open{}, message.ErrNotFound
	}
	return some[0], nil
}

// Cancel takes a message back that waits or is parked, and returns the state it is in then:
// cancelled, or whatever came before. It may be repeated. It is message.ErrNotFound when there
// is no such message.
func (l *Ledger) Cancel(ctx context.Context, id string) (message.State, error) {
	for {
		o, err := l.Look(ctx, id)
		if err != nil || o.State != message.Queued && o.State != message.Parked {
			return o.State, err
		}
		done, err := l.Sweep(ctx, o, message.Move{To: message.Cancelled, Reason: message.ReasonCaller})
		if err != nil {
			return "", err
		}
		if done {
			return message.Cancelled, nil
		}
		// Something happened to it since. Each round has seen it move on.
	}
}

// Moving is a move of a message that goes together with something else, see store.DB.Join.
type Moving struct{ store.Part }

// Move prepares the move of a message, provided that nothing happens to it after it was read.
// A move back to queued needs its task beside it: number o.K+1.
func (l *Ledger) Move(o message.Open, m message.Move) (Moving, error) {
	keys, args, err := l.moveArgs(o.ID, openGuard(o), m)
	if err != nil {
		return Moving{}, fmt.Errorf("move %s: %w", o.ID, err)
	}
	return Moving{store.Part{Script: l.move, Keys: keys, Args: args}}, nil
}

// Done tells, by the answer of the join that it was the last part of, whether it moved.
func (m Moving) Done(cmd *redis.Cmd) (bool, error) {
	f, _, _, err := moved(cmd)
	return f == message.Applied, err
}

// parkedKey is a shard's parked messages by when they were parked.
func parkedKey(s message.Shard) string { return s.Key("parked") }

// InDoubt returns up to limit messages that are parked or in doubt, those that wait longest
// first: of one number, or of all for an empty one.
func (l *Ledger) InDoubt(ctx context.Context, number string, limit int) ([]message.Record, error) {
	var found []message.Record
	for _, s := range l.shards(number) {
		for _, index := range []string{parkedKey(s), doubtsKey(s)} {
			some, err := l.records(ctx, s, index, number, "+inf", limit)
			if err != nil {
				return nil, err
			}
			found = append(found, some...)
		}
	}
	return oldest(found, limit, message.Parked, message.InDoubt), nil
}

// shards returns the shard of a number; all where it is empty.
func (l *Ledger) shards(number string) []message.Shard {
	if number == "" {
		return l.o.Shards.All()
	}
	return []message.Shard{l.o.Shards.Of(number)}
}

// oldest returns those of the records that are still in one of the states, which the index said
// when it was read, up to limit of them and those that came into it first.
func oldest(found []message.Record, limit int, in ...message.State) []message.Record {
	found = slices.DeleteFunc(found, func(r message.Record) bool { return !slices.Contains(in, r.State) })
	slices.SortStableFunc(found, func(a, b message.Record) int { return since(a).Compare(since(b)) })
	return found[:min(limit, len(found))]
}

// since is when a record came into its state.
func since(r message.Record) time.Time {
	if len(r.Timeline) == 0 {
		return r.AcceptedAt
	}
	return r.Timeline[len(r.Timeline)-1].At
}

// records returns up to limit records of an index up to a score, of one number or of all, in
// its order.
func (l *Ledger) records(ctx context.Context, s message.Shard, index, number, until string, limit int) ([]message.Record, error) {
	const page = 500
	var found []message.Record
	for from := int64(0); len(found) < limit; from += page {
		ids, err := l.db.ZRangeByScore(ctx, index, &redis.ZRangeBy{Min: "-inf", Max: until, Offset: from, Count: page}).Result()
		if err != nil {
			return nil, fmt.Errorf("read index: %w", err)
		}
		n := len(ids)
		if number != "" {
			ids = slices.DeleteFunc(ids, func(id string) bool { return !strings.HasPrefix(id, number+"-") })
		}
		some, err := l.getAll(ctx, s, ids[:min(len(ids), limit-len(found))])
		if err != nil {
			return nil, err
		}
		if found = append(found, some...); n < page {
			break
		}
	}
	return found, nil
}

// getAll returns those of the records of a shard that are there.
func (l *Ledger) getAll(ctx context.Context, s message.Shard, ids []string) ([]message.Record, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	cmds := make([]*redis.MapStringStringCmd, len(ids))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			cmds[i] = p.HGetAll(ctx, RecordPrefix(s)+id)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read records: %w", err)
	}
	var found []message.Record
	for i, c := range cmds {
		if len(c.Val()) == 0 {
			continue
		}
		r, err := record(ids[i], c.Val())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ids[i], err)
		}
		found = append(found, r)
	}
	return found, nil
}
