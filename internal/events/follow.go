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

// followEntries is how many entries of a stream Follow reads at once.
const followEntries = 200

// Follow calls f with every event of some types, of all where none is named, from a point on, all
// streams merged by time, until ctx ends or f returns an error, which it returns. It takes nothing
// from any consumer group, and reads only the streams that hold these types. from is "$" for what
// comes from now on, "0" for all there is, a time as RFC 3339 or Unix milliseconds, or an entry's id,
// which is itself left out. What is no event is skipped.
func (s *Stream) Follow(ctx context.Context, from string, types []string, f func(message.Event) error) error {
	all, err := s.followed(ctx, from, types)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		found, full, err := s.next(ctx, all)
		if err != nil && ctx.Err() == nil {
			return fmt.Errorf("read events: %w", err)
		}
		for _, x := range found {
			for _, e := range parse(x).events {
				if len(types) > 0 && !slices.Contains(types, e.Type) {
					continue
				}
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

// followed is a stream that is followed, and the entry after which to read on.
type followed struct{ key, at string }

// next reads on in all streams, in the order of the entries' ids, and moves the positions.
// full: there is more to read at once.
func (s *Stream) next(ctx context.Context, all []followed) (found []redis.XMessage, full bool, err error) {
	replies := make([]*redis.XMessageSliceCmd, len(all))
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, f := range all {
			replies[i] = p.XRangeN(ctx, f.key, "("+f.at, "+", followEntries)
		}
	})
	if err != nil {
		return nil, false, err
	}
	// Beyond the end of a full page the stream may have older entries than the others: they
	// wait for the next round.
	end := ""
	for _, r := range replies {
		if page := r.Val(); len(page) == followEntries {
			if last := page[followEntries-1].ID; end == "" || compareIDs(last, end) < 0 {
				end = last
			}
		}
	}
	for i, r := range replies {
		for _, x := range r.Val() {
			if end == "" || compareIDs(x.ID, end) <= 0 {
				found, all[i].at = append(found, x), x.ID
			}
		}
	}
	slices.SortStableFunc(found, func(a, b redis.XMessage) int { return compareIDs(a.ID, b.ID) })
	return found, end != "", nil
}

// followed returns the streams that may hold events of the types, each with the entry after which
// to read. Gap events are in both streams of a shard.
func (s *Stream) followed(ctx context.Context, from string, types []string) (all []followed, err error) {
	ours := len(types) == 0 || slices.Contains(types, message.EventMessage) || slices.Contains(types, message.EventGap)
	metas := len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return t != message.EventMessage })
	for _, shard := range s.shards.All() {
		if metas {
			all = append(all, followed{key: MetaKey(shard)})
		}
		if ours {
			all = append(all, followed{key: MessageKey(shard)})
		}
	}
	if from != "$" {
		id, err := position(from)
		for i := range all {
			all[i].at = id
		}
		return all, err
	}
	replies := make([]*redis.XMessageSliceCmd, len(all))
	err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, f := range all {
			replies[i] = p.XRevRangeN(ctx, f.key, "+", "-", 1)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find the streams' ends: %w", err)
	}
	for i, r := range replies {
		all[i].at = "0-0"
		if last := r.Val(); len(last) > 0 {
			all[i].at = last[0].ID
		}
	}
	return all, nil
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
