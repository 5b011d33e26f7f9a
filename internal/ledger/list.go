package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
)

// There is no separate index for lists of messages, except of the undelivered messages of a campaign. Messages of each state are read from
// one part of a shard: for an open state its list, for sent the index of Meta's ids, and for the final states the lists that Purge reads. The
// parts are read in the order of a message's life, so a message that changes its state while a caller reads page
// after page is not missed.

const (
	// sentPart and endedPart are the parts that are not lists of record.ListEntry.
	sentPart  message.List = "wamids"
	endedPart message.List = "ended"

	listChunk  = 200  // entries that are read together
	listBudget = 5000 // entries that one page reads at most, so a rare tag needs several short requests
)

// listParts are the parts of a shard in the order in which they are read.
var listParts = []message.List{message.ListWaiting, message.ListInDoubt, message.ListParked, message.ListAwaiting, sentPart, endedPart}

// partOf returns the part from which messages of a state are read.
func partOf(s message.State) message.List {
	switch {
	case s.Final():
		return endedPart
	case s.List() != message.NoList:
		return s.List()
	}
	return sentPart
}

// List returns records that a filter selects, from a position on, and the position after them; nil: no more
// follow. It returns about limit records: fewer, even none, after it has read 5,000 entries, and somewhat more among
// sent messages. Each record is as it was when it was read, so a message that changes its state between two calls may
// be returned twice.
func (l *Ledger) List(ctx context.Context, f message.ListFilter, from message.ListPosition, limit int) ([]message.Record, *message.ListPosition, error) {
	w := walk{l: l, f: f, limit: limit, pos: from, budget: listBudget, seen: map[string]bool{}}
	shards := l.listShards(f.Numbers)
	for ; w.pos.Shard < len(shards); w.pos = (message.ListPosition{Shard: w.pos.Shard + 1}) {
		for ; w.pos.Part < len(listParts); w.pos = (message.ListPosition{Shard: w.pos.Shard, Part: w.pos.Part + 1}) {
			if err := w.part(ctx, shards[w.pos.Shard], listParts[w.pos.Part]); err != nil {
				return nil, nil, err
			}
			if w.full() {
				return w.found, &w.pos, nil
			}
		}
	}
	return w.found, nil, nil
}

// listShards returns the shards of some numbers, or all shards, in their order.
func (l *Ledger) listShards(numbers []string) []message.Shard {
	if numbers == nil {
		return l.o.Shards.All()
	}
	var some []message.Shard
	for _, number := range numbers {
		some = append(some, l.o.Shards.Of(number))
	}
	slices.Sort(some)
	return slices.Compact(some)
}

// walk reads one page of a list.
type walk struct {
	l      *Ledger
	f      message.ListFilter
	limit  int
	pos    message.ListPosition
	budget int
	seen   map[string]bool
	found  []message.Record
}

func (w *walk) full() bool { return len(w.found) >= w.limit || w.budget <= 0 }

// part reads a part of a shard from the position on, until the part ends or the page is full.
func (w *walk) part(ctx context.Context, s message.Shard, part message.List) error {
	if !slices.ContainsFunc(message.States(), func(st message.State) bool { return partOf(st) == part && w.f.Wants(st) }) {
		return nil
	}
	switch part {
	case sentPart:
		return w.sent(ctx, s)
	case endedPart:
		if w.f.Flow != nil && !slices.ContainsFunc(message.States(), func(st message.State) bool { return st.Final() && !st.Undelivered() && w.f.Wants(st) }) {
			return w.listed(ctx, s, undeliveredKey(s, *w.f.Flow), endedPart)
		}
		return w.ended(ctx, s)
	}
	return w.listed(ctx, s, listKey(s, part), part)
}

// take reads the records of some ids and adds those to the page that belong to a part and that the filter
// selects. It returns how many ids it used: all of them, or fewer if the page became full.
func (w *walk) take(ctx context.Context, s message.Shard, ids []string, belongs func(*record.Record) bool) (int, error) {
	w.budget -= len(ids)
	var own []string
	var at []int
	for i, id := range ids {
		if number, ok := message.Number(id); ok && !w.seen[id] && (w.f.Numbers == nil || slices.Contains(w.f.Numbers, number)) {
			own, at = append(own, id), append(at, i)
		}
	}
	records, _, err := w.l.ReadReadable(ctx, s, own)
	if err != nil {
		return 0, err
	}
	for i := range records {
		r := &records[i]
		if !r.Exists() || r.Tombstone() || w.seen[r.ID] || !belongs(r) || !w.f.Selects(r.Record, r.Since()) {
			continue
		}
		w.seen[r.ID] = true
		if w.found = append(w.found, r.Record); len(w.found) == w.limit {
			return at[i] + 1, nil
		}
	}
	return len(ids), nil
}

// listed reads the messages of a part from a sorted set: a list of open messages, or the undelivered messages of a campaign.
func (w *walk) listed(ctx context.Context, s message.Shard, key string, part message.List) error {
	for !w.full() {
		entries, rank, err := w.after(ctx, key)
		if err != nil || len(entries) == 0 {
			return err
		}
		ids := make([]string, len(entries))
		for i, e := range entries {
			ids[i], _ = e.Member.(string)
		}
		n, err := w.take(ctx, s, ids, func(r *record.Record) bool { return partOf(r.State) == part })
		if err != nil {
			return err
		}
		w.pos.Score, w.pos.Member, w.pos.Offset = int64(entries[n-1].Score), ids[n-1], rank+uint64(n-1)
	}
	return nil
}

// after returns the next entries of a list after the position, and the rank of the first of them. Entries are
// added and removed at the same time, so the rank in the position is only where the search begins. The entries of one
// read are adjacent: if the first of them is not after the position, no entry between is missed.
func (w *walk) after(ctx context.Context, key string) ([]redis.Z, uint64, error) {
	start, back := w.pos.Offset, uint64(listChunk)
	for {
		entries, err := w.l.db.ZRangeWithScores(ctx, key, int64(start), int64(start)+listChunk-1).Result()
		if err != nil {
			return nil, 0, fmt.Errorf("read list: %w", err)
		}
		if start > 0 && (len(entries) == 0 || w.beyond(entries[0])) {
			start, back = start-min(start, back), 2*back
			continue
		}
		next := slices.IndexFunc(entries, w.beyond)
		switch {
		case next >= 0:
			return entries[next:], start + uint64(next), nil
		case len(entries) < listChunk:
			return nil, 0, nil
		}
		start += listChunk - 1
	}
}

// beyond reports whether an entry of a list comes after the position.
func (w *walk) beyond(e redis.Z) bool {
	member, _ := e.Member.(string)
	return w.pos.Member == "" || cmp.Or(cmp.Compare(int64(e.Score), w.pos.Score), strings.Compare(member, w.pos.Member)) > 0
}

// ended reads the messages in final states from the lists of the hours in which their records end.
func (w *walk) ended(ctx context.Context, s message.Shard) error {
	now, err := w.l.db.Now(ctx, RecordPrefix(s))
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	hours := slices.DeleteFunc(w.hours(now), func(hour int64) bool { return hour < w.pos.Bucket })
	hours, err = w.l.notEmpty(ctx, hours, func(p redis.Pipeliner, hour int64) *redis.IntCmd { return p.LLen(ctx, hourKey(s, hour)) })
	if err != nil {
		return err
	}
	for _, hour := range hours {
		w.into(hour)
		for !w.full() {
			ids, err := w.l.db.LRange(ctx, hourKey(s, hour), int64(w.pos.Offset), int64(w.pos.Offset)+listChunk-1).Result()
			if err != nil {
				return fmt.Errorf("read messages that ended: %w", err)
			}
			// A message that was sent again and ended again is in the list of each end: only the last one counts.
			n, err := w.take(ctx, s, ids, func(r *record.Record) bool { return r.State.Final() && hourOf(w.l.endsAt(r)) == hour })
			if err != nil {
				return err
			}
			w.pos.Offset += uint64(n)
			if n == len(ids) && n < listChunk {
				break
			}
		}
		if w.full() {
			return nil
		}
	}
	return nil
}

// into moves the position to the start of an hour or a day, unless it is within it already.
func (w *walk) into(bucket int64) {
	if w.pos.Bucket != bucket {
		w.pos.Bucket, w.pos.Offset = bucket, 0
	}
}

// hours returns the hours whose lists may have messages that the filter selects, in their order.
func (w *walk) hours(now time.Time) (all []int64) {
	for _, st := range message.States() {
		if !st.Final() || !w.f.Wants(st) {
			continue
		}
		life := w.l.lifeOf(st)
		since, until := now.Add(-life), now
		if w.f.Since.After(since) {
			since = w.f.Since
		}
		if !w.f.Until.IsZero() && w.f.Until.Before(until) {
			until = w.f.Until
		}
		for hour := hourOf(since.Add(life)); hour <= hourOf(until.Add(life)); hour++ {
			all = append(all, hour)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// sent reads the sent messages from the index of Meta's ids, which has a hash for each day on which messages were
// accepted. A hash has no order: the position is the cursor of HSCAN, so each reply is used as a whole.
func (w *walk) sent(ctx context.Context, s message.Shard) error {
	now, err := w.l.db.Now(ctx, RecordPrefix(s))
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	first, last := dayOf(now.Add(-w.l.o.OpenLife-purgeBack)), dayOf(now)
	if !w.f.Until.IsZero() {
		last = min(last, dayOf(w.f.Until))
	}
	var days []int64
	for day := max(first, w.pos.Bucket); day <= last; day++ {
		days = append(days, day)
	}
	keyOf := func(day int64) string { return wamidsKey(s, time.Unix(day*24*3600, 0)) }
	days, err = w.l.notEmpty(ctx, days, func(p redis.Pipeliner, day int64) *redis.IntCmd { return p.HLen(ctx, keyOf(day)) })
	if err != nil {
		return err
	}
	limit := w.limit
	defer func() { w.limit = limit }()
	for _, day := range days {
		w.into(day)
		for !w.full() {
			pairs, next, err := w.l.db.HScan(ctx, keyOf(day), w.pos.Offset, "", listChunk).Result()
			if err != nil {
				return fmt.Errorf("read the index of Meta's ids: %w", err)
			}
			var ids []string
			for i := 1; i < len(pairs); i += 2 {
				ids = append(ids, pairs[i])
			}
			w.limit = limit + len(ids) // use all of them
			_, err = w.take(ctx, s, ids, func(r *record.Record) bool { return partOf(r.State) == sentPart })
			w.limit = limit
			if err != nil {
				return err
			}
			if w.pos.Offset = next; next == 0 {
				w.into(day + 1)
				break
			}
		}
		if w.full() {
			return nil
		}
	}
	return nil
}

func dayOf(at time.Time) int64 { return at.Unix() / (24 * 3600) }

// hourKey is the list of the messages whose records end in an hour.
func hourKey(s message.Shard, hour int64) string { return endedKey(s, time.Unix(hour*3600, 0)) }

// notEmpty returns the buckets that are not empty, in one round trip.
func (l *Ledger) notEmpty(ctx context.Context, buckets []int64, size func(redis.Pipeliner, int64) *redis.IntCmd) ([]int64, error) {
	if len(buckets) == 0 {
		return nil, nil
	}
	sizes := make([]*redis.IntCmd, len(buckets))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, b := range buckets {
			sizes[i] = size(p, b)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the sizes of lists: %w", err)
	}
	var some []int64
	for i, b := range buckets {
		if sizes[i].Val() > 0 {
			some = append(some, b)
		}
	}
	return some, nil
}
