package frequency

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
)

// OfPerson returns of which clients the messages to a person are counted, and deletes the counts if forget is true.
func (c *Caps) OfPerson(ctx context.Context, clients []string, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
	latest := make([][]*redis.ZSliceCmd, len(clients))
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, client := range clients {
			latest[i] = nil
			for _, hash := range who.Hashes {
				set := key(client, people.ID([]byte(hash)))
				latest[i] = append(latest[i], p.ZRevRangeWithScores(ctx, set, 0, 0))
				if forget {
					p.Del(ctx, set)
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find the counted messages to a person: %w", err)
	}
	var all []message.PersonEntry
	for i, some := range latest {
		one := message.PersonEntry{What: "frequency_cap", Client: clients[i]}
		for _, found := range some {
			for _, z := range found.Val() {
				if at := time.UnixMilli(int64(z.Score)).UTC(); at.After(one.At) {
					one.At = at
				}
			}
		}
		if !one.At.IsZero() {
			all = append(all, one)
		}
	}
	return all, nil
}
