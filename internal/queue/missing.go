package queue

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed missing.lua
var missingLua string

const (
	// missingAfter is how long a task must have waited before it is looked for in its queue: what
	// moves it from list to list takes moments.
	missingAfter = time.Minute
	// missingOnce is how many tasks one call looks for.
	missingOnce = 100
	// missingMost is how long a list may be that is searched. In a longer one the order tells.
	missingMost = 1000
)

var missingScript = namesLua + fmt.Sprintf("local MOST = %d\n", missingMost) + missingLua

// Missing returns the places of those tasks that nothing would bring to their turn: that are not
// there, that have lost their message in asynq's form, that are active though no worker has them,
// or that are in no list. It brings back the numbers of the others into the index of work, if they are
// missing from it. All tasks must belong to one shard and to messages that are queued.
func (c *Client) Missing(ctx context.Context, tasks []Task) ([]int, error) {
	type part struct {
		places []int
		reply  *redis.Cmd
	}
	byNumber := map[string][]int{}
	for i, t := range tasks {
		byNumber[t.Number] = append(byNumber[t.Number], i)
	}
	var parts []*part
	for _, places := range byNumber {
		for some := range slices.Chunk(places, missingOnce) {
			parts = append(parts, &part{places: some})
		}
	}
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, part := range parts {
			number := tasks[part.places[0]].Number
			args := []any{int(missingAfter / time.Second)}
			for _, i := range part.places {
				args = append(args, tasks[i].Class.Order(), taskID(tasks[i].ID, tasks[i].K))
			}
			part.reply = c.missing.Add(ctx, p, []string{lineKey(c.shards.Of(number), number)}, args...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("look for tasks: %w", err)
	}
	var missing []int
	for _, part := range parts {
		lost, err := part.reply.Int64Slice()
		if err != nil {
			return nil, fmt.Errorf("look for tasks: %w", err)
		}
		for _, i := range lost {
			missing = append(missing, part.places[i])
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// Drop adds to a transaction that a task goes, because its message needs it no more. In its queue its id
// stays until it comes up there; of a number that is not served, until a worker tidies up.
func Drop(w *store.Writes, s message.Shard, t Task) {
	k := asynqKeys(name(s, t.Number, t.Class))
	id := taskID(t.ID, t.K)
	w.Delete(k.task + id)
	w.ZRem(k.scheduled, id)
	w.ZRem(k.retry, id)
}
