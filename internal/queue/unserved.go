package queue

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed gone.lua
var goneLua string

const (
	// unservedEvery is how often a number that is not configured is tidied, and unservedTold how
	// often the log names it.
	unservedEvery = 10 * time.Second
	unservedTold  = 10 * time.Minute
	// goneMost is how many entries of a list one call looks at, and goneCalls how many calls are made for a
	// list at a time.
	goneMost  = 500
	goneCalls = 20
)

// unserved is a number that has tasks and is not configured here.
type unserved struct {
	since        time.Time // when it was first seen so
	tidied, told time.Time
	offsets      map[string]int64 // by list: how far it was gone through
}

// tidyUnserved sees to the numbers that have tasks and that this worker does not know. Their messages
// wait for their deadlines, or for the number to be configured again; what belongs to messages that have
// ended goes, and at last the number itself. One worker does so: the one that would serve the number.
// It does no harm where others serve it.
func (g *gate) tidyUnserved(ctx context.Context, numbers []string) {
	seen := map[string]bool{}
	for _, id := range numbers {
		if _, known := g.o.Rate(id); known || !message.IsNumberID(id) || !g.joined(g.o.Shards.Of(id)) || !g.first(id) {
			continue
		}
		seen[id] = true
		u := g.unserved[id]
		if u == nil {
			u = &unserved{since: time.Now(), offsets: map[string]int64{}}
			g.unserved[id] = u
		}
		if time.Since(u.tidied) < unservedEvery {
			continue
		}
		u.tidied = time.Now()
		waiting, err := g.tidyGone(ctx, id, u)
		if err != nil && ctx.Err() == nil {
			g.o.Log.Warn("cannot clean up the queues of a number that is not configured", "phone_number_id", id, "err", err)
		}
		if err == nil && waiting > 0 && time.Since(u.told) >= unservedTold {
			u.told = time.Now()
			g.o.Log.Warn("messages wait for a number that is not configured and are not sent", "phone_number_id", id, "messages", waiting)
		}
	}
	for id, u := range g.unserved {
		// Not at once: in a rolling restart another worker may know it.
		if _, known := g.o.Rate(id); !seen[id] && !known && time.Since(u.since) > unservedTold {
			g.forgetQueues(ctx, id)
		}
		if !seen[id] {
			delete(g.unserved, id)
		}
	}
}

// tidyGone takes tasks that are gone out of a number's lists, and the number out of the index of work when
// nothing is left. It returns how many tasks wait, of those that it looked at.
func (g *gate) tidyGone(ctx context.Context, id string, u *unserved) (waiting int64, err error) {
	s := g.o.Shards.Of(id)
	holds, err := g.db.SMembers(ctx, store.Key(s, "held:"+id)).Result()
	if err != nil {
		return 0, err
	}
	lists := holds
	for c := range message.Classes() {
		lists = append(lists, strconv.Itoa(c))
	}
	for _, list := range lists {
		length := int64(0)
		for range goneCalls {
			reply, err := g.db.Run(ctx, g.gone, []string{lineKey(s, id)}, list, u.offsets[list], goneMost).Int64Slice()
			if err != nil || len(reply) < 2 {
				return 0, fmt.Errorf("look for tasks that are gone: %w", err)
			}
			length = reply[1]
			if u.offsets[list] += reply[0]; u.offsets[list] >= length {
				u.offsets[list] = 0
				break
			}
		}
		waiting += length
	}
	return waiting, g.db.Run(ctx, g.tidy, []string{lineKey(s, id)}, tidyMost).Err()
}

// forgetQueues takes the queues of a number out of asynq's list of queues, if it has no work any more.
func (g *gate) forgetQueues(ctx context.Context, id string) {
	s := g.o.Shards.Of(id)
	if has, err := g.db.SIsMember(ctx, workKey(s), id).Result(); err != nil || has {
		return
	}
	for _, c := range message.Classes() {
		if err := g.db.SRem(ctx, asynqQueues, name(s, id, c)).Err(); err != nil {
			g.o.Log.Warn("cannot remove a queue from asynq", "phone_number_id", id, "err", err)
			return
		}
	}
	g.o.Log.Info("no messages wait any more for a number that is not configured", "phone_number_id", id)
}

// Unserved returns the numbers that have tasks and are not known, with what waits for them.
func (p *Paces) Unserved(ctx context.Context, known func(number string) bool) ([]Pace, error) {
	var all []*redis.StringSliceCmd
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		all = all[:0]
		for _, s := range p.shards.All() {
			all = append(all, t.SMembers(ctx, workKey(s)))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read which numbers have work: %w", err)
	}
	var numbers []string
	for _, c := range all {
		for _, id := range c.Val() {
			if message.IsNumberID(id) && !known(id) {
				numbers = append(numbers, id)
			}
		}
	}
	return p.ReadAll(ctx, numbers)
}
