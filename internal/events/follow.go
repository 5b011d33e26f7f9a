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

// followEntries is how many entries of a stream Follow reads in one call.
const followEntries = 200

// Follow calls f with every event of the given types, or of all types if none is given. It merges all streams by
// time, and blocks until ctx ends or f returns an error, which it returns. It uses no consumer group. from is
// where to begin: "$" for new events only, "0" for the oldest event, a time (RFC 3339 or Unix milliseconds), or
// the id of an entry, to begin after it. Follow skips lines that are not events.
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

// followed is a stream, and the id of the last entry that was read.
type followed struct{ key, at string }

// next reads further entries of all streams, in the order of their ids, and updates the positions. full means
// that more entries are available.
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
	// A stream with a full page may have further entries that are older than those of other streams. So entries
	// after the first end of a full page wait for the next call.
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

// followed returns the streams that may have events of the types, with their start positions. Gap events are in
// both streams of a shard.
func (s *Stream) followed(ctx context.Context, from string, types []string) (all []followed, err error) {
	own := func(t string) bool { return t == message.EventMessage || t == message.EventFinal }
	ours := len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return own(t) || t == message.EventGap })
	metas := len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return !own(t) })
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
		return nil, fmt.Errorf("read the last entries of the streams: %w", err)
	}
	for i, r := range replies {
		all[i].at = "0-0"
		if last := r.Val(); len(last) > 0 {
			all[i].at = last[0].ID
		}
	}
	return all, nil
}

var errPosition = errors.New(`from: the value is not a position. Use "$", "0", a time such as 2026-11-22T10:00:00Z, Unix milliseconds or an entry id`)

// position returns the id after which to read.

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
	return fmt.Sprintf("%d-%d", m-1, uint64(1<<63-1)), nil // before the first entry of this millisecond
}

// compareIDs compares two entry ids, like cmp.Compare.
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
