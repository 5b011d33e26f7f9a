package servicewindow

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/people"
)

// OfPerson returns the windows of a person, and deletes them if forget is true: then only templates go to the person until the person
// writes again.
func (w *Windows) OfPerson(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
	numbers := w.o.Numbers()
	scores := make([][]*redis.FloatCmd, len(numbers))
	err := w.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, number := range numbers {
			scores[i] = nil
			for _, hash := range who.Hashes {
				set := key(w.o.Shards.Of(number), number, people.ID([]byte(hash)))
				scores[i] = append(scores[i], p.ZScore(ctx, set, hash))
				if forget {
					p.ZRem(ctx, set, hash)
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find customer service windows of a person: %w", err)
	}
	var all []message.PersonEntry
	for i, some := range scores {
		one := message.PersonEntry{What: "customer_service_window", Number: numbers[i]}
		for _, score := range some {
			if at := time.Unix(int64(score.Val())+epoch, 0).UTC(); score.Err() == nil && at.After(one.At) {
				one.At = at
			}
		}
		if !one.At.IsZero() {
			all = append(all, one)
		}
	}
	return all, nil
}
