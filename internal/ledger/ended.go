package ledger

import (
	"context"
	"fmt"
	"strings"

	"sluice/internal/message"
)

// Ended calls f for each message of the filter's number that the filter selects, about in the order in which they
// ended, until f returns false. It reads the lists for Purge: it costs one read of Redis for each 500 messages, of
// all numbers of the shard, that ended in the time of the filter.
func (l *Ledger) Ended(ctx context.Context, filter message.EndedFilter, f func(message.Ended) bool) error {
	s := l.o.Shards.Of(filter.Number)
	now, err := l.db.Now(ctx, RecordPrefix(s))
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	life := l.lifeOf(message.Failed) // the same for all states of a filter
	since, until := now.Add(-life), now
	if filter.Since.After(since) {
		since = filter.Since
	}
	if !filter.Until.IsZero() && filter.Until.Before(until) {
		until = filter.Until
	}
	for hour := hourOf(since.Add(life)); hour <= hourOf(until.Add(life)); hour++ {
		const page = 500
		key, seen := hourKey(s, hour), map[string]bool{}
		for from := int64(0); ; from += page {
			ids, err := l.db.LRange(ctx, key, from, from+page-1).Result()
			if err != nil {
				return fmt.Errorf("read messages that ended: %w", err)
			}
			more, err := l.someEnded(ctx, s, ids, hour, filter, seen, f)
			if err != nil || !more {
				return err
			}
			if len(ids) < page {
				break
			}
		}
	}
	return nil
}

// someEnded is Ended for a part of the list of an hour. Seen has the messages of that hour for which f was
// called. It returns whether f wants more.
func (l *Ledger) someEnded(ctx context.Context, s message.Shard, ids []string, hour int64, filter message.EndedFilter, seen map[string]bool, f func(message.Ended) bool) (bool, error) {
	var own []string
	for _, id := range ids {
		if strings.HasPrefix(id, filter.Number+"-") {
			own = append(own, id)
		}
	}
	all, err := l.ReadAll(ctx, s, own)
	if err != nil {
		return false, err
	}
	for i := range all {
		r := &all[i]
		// A message that was sent again and ended again is in the list of each end: only the last one counts.
		if !r.Exists() || r.Tombstone() || seen[r.ID] || hourOf(l.endsAt(r)) != hour || !filter.Selects(r.Record, r.Since()) {
			continue
		}
		seen[r.ID] = true
		if !f(ended(r)) {
			return false, nil
		}
	}
	return true, nil
}
