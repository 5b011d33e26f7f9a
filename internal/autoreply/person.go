package autoreply

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// OfPerson returns the numbers that remember that a person wrote or was answered, and lets them forget it if forget is true. The next message
// of the person then counts as the first one.
func (r *Replier) OfPerson(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
	numbers := r.o.Numbers()
	found := make([][]*redis.IntCmd, len(numbers))
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, number := range numbers {
			found[i] = nil
			for _, hash := range who.Hashes {
				for _, what := range []string{"sent", "met", "away"} {
					key := personKey(r.o.Shards.Of(number), what, number, hash)
					if forget {
						found[i] = append(found[i], p.Del(ctx, key))
					} else {
						found[i] = append(found[i], p.Exists(ctx, key))
					}
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find the automatic replies to a person: %w", err)
	}
	var all []message.PersonEntry
	for i, some := range found {
		n := int64(0)
		for _, one := range some {
			n += one.Val()
		}
		if n > 0 {
			all = append(all, message.PersonEntry{What: "automatic_reply", Number: numbers[i]})
		}
	}
	return all, nil
}
