package events

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

// entriesAtOnce is how many entries of a stream are read together: in the quarantine they have up to 64 KiB each.
const entriesAtOnce = 100

// OfPerson returns the dead letters of events and the unreadable webhooks that name a person, and deletes them if forget is true. It reads
// all of them. The streams of events are not among them: they end by themselves.
func (s *Stream) OfPerson(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
	all, err := EntriesOfPerson(ctx, s.db, QuarantineKey(), message.PersonEntry{What: "unreadable_webhook"}, who, forget)
	for _, shard := range s.shards.All() {
		var some []message.PersonEntry
		if err == nil {
			some, err = EntriesOfPerson(ctx, s.db, DeadKey(shard), message.PersonEntry{What: "event_dead_letter"}, who, forget)
		}
		all = append(all, some...)
	}
	return all, err
}

// EntriesOfPerson returns as what, with their times, the entries of a stream that name a person, and deletes them if forget is true.
func EntriesOfPerson(ctx context.Context, db *store.DB, key string, what message.PersonEntry, who message.PersonNames, forget bool) (all []message.PersonEntry, err error) {
	for from := "-"; ; {
		entries, err := db.XRangeN(ctx, key, from, "+", entriesAtOnce).Result()
		if err != nil {
			return all, fmt.Errorf("find events that name a person: %w", err)
		}
		var named []string
		for _, e := range entries {
			from = "(" + e.ID
			for _, value := range e.Values {
				if text, _ := value.(string); who.In(text) {
					ms, _, _ := strings.Cut(e.ID, "-")
					at, _ := strconv.ParseInt(ms, 10, 64)
					what.At = time.UnixMilli(at).UTC()
					all, named = append(all, what), append(named, e.ID)
					break
				}
			}
		}
		if forget && len(named) > 0 {
			if err := db.XDel(ctx, key, named...).Err(); err != nil {
				return all, fmt.Errorf("delete events that name a person: %w", err)
			}
		}
		if len(entries) < entriesAtOnce {
			return all, nil
		}
	}
}
