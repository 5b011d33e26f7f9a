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
	// missingAfter is how long a task must have waited before it is searched in its queue: what
	// moves it from list to list takes a moment.
	missingAfter = time.Minute
	// missingOnce is how many tasks one call searches.
	missingOnce = 100
	// missingMost is how long a list may be that is searched. In a longer one only the order is compared.
	missingMost = 1000
)

var missingScript = NamesLua + FlowsLua + fmt.Sprintf("local MOST = %d\n", missingMost) + missingLua

// Missing returns the places of those tasks that would never be sent: that do not
// exist, that have lost their message in asynq's form, that are active without a lease,
// or that are in no list. It adds the numbers of the others to the index of work, if they are
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
				args = append(args, tasks[i].Class.Order(), TaskID{tasks[i].ID, tasks[i].K}.String())
			}
			part.reply = c.missing.Add(ctx, p, []string{LeasesKey(c.shards.Of(number), number)}, args...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("find missing tasks: %w", err)
	}
	var missing []int
	for _, part := range parts {
		lost, err := part.reply.Int64Slice()
		if err != nil {
			return nil, fmt.Errorf("find missing tasks: %w", err)
		}
		for _, i := range lost {
			missing = append(missing, part.places[i])
		}
	}
	slices.Sort(missing)
	return missing, nil
}

// Drop adds to a transaction that a task is deleted, because its message needs it no more. Its id stays
// in its queue until it is fetched there; of a number that is not served, until a worker tidies up.
func Drop(w *store.Writes, s message.Shard, t Task) {
	k := KeysOf(s, t.Number, t.Class)
	id := TaskID{t.ID, t.K}.String()
	w.Delete(k.Task + id)
	w.ZRem(k.Scheduled, id)
	w.ZRem(k.Retry, id)
}
