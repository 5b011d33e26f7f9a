package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// findMost is how many messages a search returns at most: the latest.
const findMost = 100

// refKey is the index of a number's reference, with the hash of the reference in its name: the ids of its messages,
// ordered by when they were accepted.
func refKey(s message.Shard, number, ref string) string {
	sum := sha256.Sum256([]byte(number + "\x00" + ref))
	return store.Key(s, "r:"+hex.EncodeToString(sum[:8]))
}

// ByRef returns the messages of some numbers with a reference whose records still exist, the latest first: at most one
// hundred.
func (l *Ledger) ByRef(ctx context.Context, numbers []string, ref string) ([]message.Record, error) {
	found := make([]*redis.StringSliceCmd, len(numbers))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, number := range numbers {
			found[i] = p.ZRevRange(ctx, refKey(l.o.Shards.Of(number), number, ref), 0, refsMost-1)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find messages by reference: %w", err)
	}
	ids := map[message.Shard][]string{}
	for i, number := range numbers {
		s := l.o.Shards.Of(number)
		ids[s] = append(ids[s], found[i].Val()...)
	}
	return l.latest(ctx, ids, func(r *record.Record) bool { return r.Ref == ref })
}

// ByWAMID returns the message of some numbers that has an id of Meta's; numbers nil: of all numbers. It finds a message
// as long as Meta may report a status for it: not after read or played.
func (l *Ledger) ByWAMID(ctx context.Context, numbers []string, wamid string) ([]message.Record, error) {
	name, now := nameOf(wamid), time.Now()
	shards := l.listShards(numbers)
	found := make([][]*redis.SliceCmd, len(shards))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			found[i] = nil
			for ago := -24 * time.Hour; ago <= l.longestLife(); ago += 24 * time.Hour { // Redis's clock may be ahead
				found[i] = append(found[i], p.HMGet(ctx, wamidsKey(s, now.Add(-ago)), name))
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find messages by Meta's id: %w", err)
	}
	ids := map[message.Shard][]string{}
	for i, s := range shards {
		for _, c := range found[i] {
			for _, id := range c.Val() {
				if id := text(id); id != "" {
					ids[s] = append(ids[s], id)
				}
			}
		}
	}
	return l.latest(ctx, ids, func(r *record.Record) bool {
		return (numbers == nil || slices.Contains(numbers, r.From)) && slices.Contains(r.WAMIDs(), wamid)
	})
}

// The index of recipients has a fixed number of lists for each shard. A list has the ids of all messages whose keyed
// hashes begin with the same bits. An entry of a list costs a third of a key or of an entry of a sorted set. The search
// reads the records of a list, and each record has the complete hash.
const recipientLists = 1024

// recipientKey is the list of the index of recipients for a keyed hash.
func recipientKey(s message.Shard, hash string) string {
	return store.Key(s, "to:"+strconv.Itoa((int(hash[0])<<8|int(hash[1]))%recipientLists))
}

// hashOf returns the keyed hash of a message's recipient; empty: there is no index of recipients.
func (l *Ledger) hashOf(recipient string) string {
	if l.o.RecipientHash == nil || recipient == "" {
		return ""
	}
	return l.o.RecipientHash(strings.TrimPrefix(recipient, "+")) // on Meta's own path the plus may be missing
}

// ByRecipient returns the messages of some numbers to a recipient, the latest first: at most one hundred. Numbers nil
// means all numbers. It finds messages that were accepted while there was an index, or returns message.ErrNoIndex.
func (l *Ledger) ByRecipient(ctx context.Context, numbers []string, recipient string) ([]message.Record, error) {
	hash := l.hashOf(recipient)
	if hash == "" {
		return nil, message.ErrNoIndex
	}
	shards := l.listShards(numbers)
	found := make([]*redis.StringSliceCmd, len(shards))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			found[i] = p.LRange(ctx, recipientKey(s, hash), 0, -1)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find messages by recipient: %w", err)
	}
	ids := map[message.Shard][]string{}
	for i, s := range shards {
		ids[s] = found[i].Val()
		slices.Sort(ids[s]) // a message whose record Redis lost, and that was accepted again, is in the list twice
		ids[s] = slices.Compact(ids[s])
	}
	return l.latest(ctx, ids, func(r *record.Record) bool {
		return r.RecipientHash == hash && (numbers == nil || slices.Contains(numbers, r.From))
	})
}

// latest reads the records of ids, and returns the latest of those that are wanted.
func (l *Ledger) latest(ctx context.Context, ids map[message.Shard][]string, wanted func(*record.Record) bool) ([]message.Record, error) {
	var found []message.Record
	for s, all := range ids {
		for some := range slices.Chunk(all, 500) {
			records, _, err := l.ReadReadable(ctx, s, some)
			if err != nil {
				return nil, err
			}
			for i := range records {
				if r := &records[i]; r.Exists() && wanted(r) {
					found = append(found, r.Record)
				}
			}
		}
	}
	slices.SortFunc(found, func(a, b message.Record) int { return b.AcceptedAt.Compare(a.AcceptedAt) })
	found = slices.CompactFunc(found, func(a, b message.Record) bool { return a.ID == b.ID })
	return found[:min(len(found), findMost)], nil
}
