package conversations

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// OfPerson returns of which conversations of a person the owner is known, and forgets that if forget is true: then Meta decides whether a
// service message may be sent.
func (o *Owners) OfPerson(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
	if err := o.Load(ctx); err != nil {
		return nil, err
	}
	numbers := slices.Sorted(maps.Keys(*o.shared.Load()))
	scores := make([][]*redis.FloatCmd, len(numbers))
	err := o.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, number := range numbers {
			scores[i] = nil
			for _, hash := range who.Hashes {
				key := ownersKey(o.shards.Of(number), number, Person([]byte(hash)))
				scores[i] = append(scores[i], p.ZScore(ctx, key, hash))
				if forget {
					p.ZRem(ctx, key, hash)
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find the owners of the conversations of a person: %w", err)
	}
	var all []message.PersonEntry
	for i, some := range scores {
		one := message.PersonEntry{What: "conversation", Number: numbers[i]}
		for _, score := range some {
			if at := time.Unix(int64(score.Val())/4+epoch, 0).UTC(); score.Err() == nil && at.After(one.At) {
				one.At = at
			}
		}
		if !one.At.IsZero() {
			all = append(all, one)
		}
	}
	return all, nil
}
