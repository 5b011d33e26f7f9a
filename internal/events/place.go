package events

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// Place is a position in one stream: after line N of an entry, where N from the number of its lines on means the
// whole entry. The zero value is before the oldest entry, whichever that is when it is read. Store all members, for
// example as String: without Count, a place whose entry was dropped always counts as too old.
type Place struct {
	Entry string // the id of the entry; "": before the oldest entry
	N     int    // how many lines of the entry were delivered
	Count int64  // the number of the entry among all that were ever added to the stream, from 1; 0: unknown
}

// beginning is the id before all entries. With it, Count is how many entries were dropped before the place.
const beginning = "0-0"

// String returns the place in a form that ParsePlace reads.
func (p Place) String() string {
	if p.Entry == "" {
		return ""
	}
	return fmt.Sprintf("%s/%d/%d", p.Entry, p.N, p.Count)
}

// ParsePlace reads a place that String returned.
func ParsePlace(s string) (p Place, err error) {
	if s == "" {
		return p, nil
	}
	words := strings.Split(s, "/")
	if len(words) != 3 {
		return p, fmt.Errorf("%q is not a place in a stream", s)
	}
	n, err1 := strconv.Atoi(words[1])
	count, err2 := strconv.ParseInt(words[2], 10, 64)
	if !isID(words[0]) || err1 != nil || err2 != nil {
		return p, fmt.Errorf("%q is not a place in a stream", s)
	}
	return Place{words[0], n, count}, nil
}

// TooOld is the error of Tail.Read when entries after the place were dropped before they were read.
type TooOld struct {
	Key   string // the stream
	First string // the id of the oldest entry that is available; "": there is none
}

// Error returns a text with the stream.
func (e *TooOld) Error() string {
	return fmt.Sprintf("events of %s were dropped before they were read", e.Key)
}

// Last returns the place of the newest entry of each stream, by key: to begin with the next event.
func (t *Tail) Last(ctx context.Context) (map[string]Place, error) {
	return t.places(ctx, func(s *summary) (Place, error) { return s.last(), nil })
}

// Oldest returns the place before the oldest available entry of each stream, by key.
func (t *Tail) Oldest(ctx context.Context) (map[string]Place, error) {
	return t.places(ctx, func(s *summary) (Place, error) { return s.oldest(), nil })
}

// At returns the place before the first entry of each stream that was written at a time or later, by key. Where
// entries of that time are no longer available, it is before the oldest entry.
func (t *Tail) At(ctx context.Context, at time.Time) (map[string]Place, error) {
	before := map[string]*redis.XMessageSliceCmd{}
	end := fmt.Sprintf("(%d-0", max(at.UnixMilli(), 1))
	return t.places(ctx, func(s *summary) (Place, error) {
		found, err := before[s.key].Result()
		if err != nil || len(found) == 0 {
			return s.oldest(), err
		}
		if found[0].ID == s.LastEntry.ID {
			return s.last(), nil
		}
		return Place{Entry: found[0].ID, N: lineCount(found[0])}, nil
	}, func(p redis.Pipeliner, key string) {
		before[key] = p.XRevRangeN(ctx, key, end, "-", 1)
	})
}

// places returns a place of each stream, made from its summary. more adds further commands for each stream.
func (t *Tail) places(ctx context.Context, of func(*summary) (Place, error), more ...func(redis.Pipeliner, string)) (map[string]Place, error) {
	all, err := t.summaries(ctx, t.all, more...)
	if err != nil {
		return nil, err
	}
	places := make(map[string]Place, len(all))
	for _, s := range all {
		if places[s.key], err = of(s); err != nil {
			return nil, fmt.Errorf("read positions of %s: %w", s.key, err)
		}
	}
	return places, nil
}

// summary describes a stream.
type summary struct {
	key string
	*redis.XInfoStream
}

// dropped returns how many entries were ever dropped from the stream.
func (s *summary) dropped() int64 { return s.EntriesAdded - s.Length }

func (s *summary) oldest() Place { return Place{Entry: beginning, Count: s.dropped()} }

func (s *summary) last() Place {
	p := Place{Entry: cmp.Or(s.LastGeneratedID, beginning), Count: s.EntriesAdded}
	if s.LastEntry.ID == p.Entry {
		p.N = lineCount(s.LastEntry)
	}
	return p
}

// summaries reads the summaries of streams in one round trip.
func (t *Tail) summaries(ctx context.Context, streams []*window, more ...func(redis.Pipeliner, string)) ([]*summary, error) {
	cmds := make([]*redis.XInfoStreamCmd, len(streams))
	p := t.stream.db.Pipeline()
	for i, w := range streams {
		cmds[i] = p.XInfoStream(ctx, w.key)
		for _, f := range more {
			f(p, w.key)
		}
	}
	p.Exec(ctx) // each command has its own error
	all := make([]*summary, len(streams))
	for i, w := range streams {
		var err error
		if all[i], err = summaryOf(w.key, cmds[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// summaryOf returns the summary that a command read. A stream that does not exist is an empty one.
func summaryOf(key string, cmd *redis.XInfoStreamCmd) (*summary, error) {
	info, err := cmd.Result()
	if err != nil && strings.Contains(err.Error(), "no such key") {
		return &summary{key, &redis.XInfoStream{}}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the summary of %s: %w", key, err)
	}
	return &summary{key, info}, nil
}

// lineCount returns the number of lines of an entry.
func lineCount(x redis.XMessage) int {
	text, _ := x.Values[Field].(string)
	if text == "" {
		return 0
	}
	return 1 + strings.Count(text, "\n")
}

// isID reports whether a text is the id of an entry.
func isID(s string) bool {
	ms, seq, _ := strings.Cut(s, "-")
	_, err1 := strconv.ParseUint(ms, 10, 63)
	_, err2 := strconv.ParseUint(seq, 10, 63)
	return err1 == nil && err2 == nil
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
