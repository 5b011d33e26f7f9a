package queue

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// soonOnce is how many tasks one command of Soon moves.
const soonOnce = 1000

// Soon ends the delay of all delayed tasks of a number, because the reason of some has changed. A worker fetches them, and puts those off
// again whose time has not come.
func (c *Client) Soon(ctx context.Context, number string) error {
	for _, class := range message.Classes() {
		key := KeysOf(c.shards.Of(number), number, class).Scheduled
		for {
			now := time.Now().Unix()
			later, err := c.db.ZRangeByScore(ctx, key, &redis.ZRangeBy{Min: "(" + strconv.FormatInt(now, 10), Max: "+inf", Count: soonOnce}).Result()
			if err == nil && len(later) > 0 {
				all := make([]redis.Z, len(later))
				for i, id := range later {
					all[i] = redis.Z{Score: float64(now), Member: id}
				}
				err = c.db.ZAddXX(ctx, key, all...).Err() // one that was fetched or cancelled since does not come back
			}
			if err != nil {
				return fmt.Errorf("end the delay of the tasks of a number: %w", err)
			}
			if len(later) == 0 {
				break
			}
		}
	}
	return nil
}
