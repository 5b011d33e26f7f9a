package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"
)

// Missing returns the places of those tasks that are not there. All of them must belong to
// one shard.
func (c *Client) Missing(ctx context.Context, tasks []Task) ([]int, error) {
	if len(tasks) == 0 {
		return nil, nil
	}
	keys := make([]string, len(tasks))
	for i, t := range tasks {
		keys[i] = asynqKeys(name(c.shards.Of(t.Number), t.Number, t.Class)).task + taskID(t.ID, t.K)
	}
	if n, err := c.db.Exists(ctx, keys...).Result(); err != nil || n == int64(len(keys)) {
		return nil, wrapMissing(err)
	}
	there := make([]*redis.IntCmd, len(keys)) // go-redis refuses EXISTS in a pipeline for a Cluster
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, k := range keys {
			there[i] = p.HLen(ctx, k)
		}
	})
	if err != nil {
		return nil, wrapMissing(err)
	}
	var missing []int
	for i, c := range there {
		if c.Val() == 0 {
			missing = append(missing, i)
		}
	}
	return missing, nil
}

func wrapMissing(err error) error {
	if err != nil {
		return fmt.Errorf("look for tasks: %w", err)
	}
	return nil
}
