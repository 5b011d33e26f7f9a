package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// followPause is how long Follow waits when there is nothing new.
const followPause = 250 * time.Millisecond

// Follow calls f with every event from a point on, all shards merged by time, until ctx ends
// or f returns an error, which it returns. It takes nothing from any consumer group. from is
// "$" for what comes from now on, "0" for all there is, a time as RFC 3339 or Unix
// milliseconds, or an entry's id, which is itself left out. Entries that are no events are
// skipped.
func (s *Stream) Follow(ctx context.Context, from string, f func(message.Event) error) error {
	at, err := s.positions(ctx, from)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		found, full, err := s.next(ctx, at)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("read events: %w", err)
		}
		for _, x := range found {
			if e, err := decode(x.Values); err == nil {
				if err := f(e); err != nil {
					return err
				}
			}
		}
		if full {
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(followPause):
		}
	}
	return nil
}

// next reads on from the positions in all shards, in the order of the entries' ids, and
// moves the positions. full: there is more to read at once.
func (s *Stream) next(ctx context.Context, at []string) (found []redis.XMessage, full bool, err error) {
	replies := make([]*redis.XMessageSliceCmd, len(at))
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range at {
			replies[i] = p.XRangeN(ctx, message.Shard(i).StreamKey(), "("+id, "+", batch)
		}
	})
	if err != nil {
		return nil, false, err
	}
	// Beyond the end of a full page the shard may have older entries than the others: they
	// wait for the next round.
	end := ""
	for _, r := range replies {
		if page := r.Val(); len(page) == batch {
			if last := page[batch-1].ID; end == "" || compareIDs(last, end) < 0 {
				end = last
			}
		}
	}
	for i, r := range replies {
		for _, x := range r.Val() {
			if end == "" || compareIDs(x.ID, end) <= 0 {
				found, at[i] = append(found, x), x.ID
			}
		}
	}
	slices.SortStableFunc(found, func(a, b redis.XMessage) int { return compareIDs(a.ID, b.ID) })
	return found, end != "", nil
}

// positions returns for every shard the id after which to read.
func (s *Stream) positions(ctx context.Context, from string) ([]string, error) {
	at := make([]string, s.shards)
	if from != "$" {
		id, err := position(from)
		for i := range at {
			at[i] = id
		}
		return at, err
	}
	replies := make([]*redis.XMessageSliceCmd, len(at))
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i := range at {
			replies[i] = p.XRevRangeN(ctx, message.Shard(i).StreamKey(), "+", "-", 1)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find the streams' ends: %w", err)
	}
	for i, r := range replies {
		at[i] = "0-0"
		if last := r.Val(); len(last) > 0 {
			at[i] = last[0].ID
		}
	}
	return at, nil
}

var errPosition = errors.New(`from: want "$", "0", a time such as 2026-11-22T10:00:00Z, Unix milliseconds or an entry id`)

func position(from string) (string, error) {
	if t, err := time.Parse(time.RFC3339, from); err == nil {
		from = strconv.FormatInt(t.UnixMilli(), 10)
	}
	ms, seq, isID := strings.Cut(from, "-")
	m, err := strconv.ParseUint(ms, 10, 63)
	if err != nil {
		return "", errPosition
	}
	if isID {
		n, err := strconv.ParseUint(seq, 10, 63)
		if err != nil {
			return "", errPosition
		}
		return fmt.Sprintf("%d-%d", m, n), nil
	}
	if m == 0 {
		return "0-0", nil
	}
	return fmt.Sprintf("%d-%d", m-1, uint64(1<<63-1)), nil // all that has this very millisecond is still to come
}

// compareIDs orders the ids of entries.
func compareIDs(a, b string) int {
	am, as := splitID(a)
	bm, bs := splitID(b)
	return cmp.Or(cmp.Compare(am, bm), cmp.Compare(as, bs))
}

func splitID(id string) (ms, seq uint64) {
	m, n, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(m, 10, 64)
	seq, _ = strconv.ParseUint(n, 10, 64)
	return ms, seq
}
