package relay

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// sentIDs leads from Meta's ids of messages that Sluice sent to ours, for at least a day after the last status of a
// message. Only targets that get our ids use it. The ledger's index cannot serve them: to save memory it forgets a message
// when it is read, and a person who replies has mostly read the message.
type sentIDs struct{ db *store.DB }

// idsFor is how long the ids of a day are kept after the last one was added.
const idsFor = 48 * time.Hour

// idsKey is the Redis key of the ids of messages of a shard whose statuses came on a day: a hash from Meta's ids, hashed, to
// ours.
func idsKey(s message.Shard, day time.Time) string {
	return store.Key(s, "relay:ids:"+day.UTC().Format(time.DateOnly))
}

// nameOf returns the hash of one of Meta's ids.
func nameOf(wamid string) string {
	sum := sha256.Sum256([]byte(wamid))
	return hex.EncodeToString(sum[:8])
}

// exchange stores our ids of messages by Meta's, and returns our ids of the wanted ones that are known. On a full Redis it
// stores nothing.
func (x sentIDs) exchange(ctx context.Context, shard message.Shard, seen map[string]string, wanted []string) (map[string]string, error) {
	if len(seen)+len(wanted) == 0 {
		return nil, nil
	}
	now := time.Now()
	today, names := idsKey(shard, now), make([]string, len(wanted))
	for i, wamid := range wanted {
		names[i] = nameOf(wamid)
	}
	pairs := make([]any, 0, 2*len(seen))
	for wamid, id := range seen {
		pairs = append(pairs, nameOf(wamid), id)
	}
	var found []*redis.SliceCmd
	p := x.db.Pipeline()
	if len(pairs) > 0 {
		p.HSet(ctx, today, pairs...)
		p.PExpire(ctx, today, idsFor)
	}
	if len(names) > 0 {
		found = []*redis.SliceCmd{p.HMGet(ctx, idsKey(shard, now.Add(-24*time.Hour)), names...), p.HMGet(ctx, today, names...)}
	}
	p.Exec(ctx) // each command has its own error
	ours := map[string]string{}
	for _, day := range found {
		values, err := day.Result()
		if err != nil {
			return nil, err
		}
		for i, value := range values {
			if id, _ := value.(string); id != "" {
				ours[wanted[i]] = id
			}
		}
	}
	return ours, nil
}
