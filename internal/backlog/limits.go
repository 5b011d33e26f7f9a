package backlog

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
)

// siblingsMost is how many other numbers of a portfolio are read for an estimate.
const siblingsMost = 200

// readLimits reads how much of the messaging limits is used, and what waits for the other numbers of the same portfolios. It needs
// no round trip where no portfolio of the numbers is limited.
func (r *Reader) readLimits(ctx context.Context, all []Number) error {
	if r.limits == nil {
		return nil
	}
	states, waiting := map[string]*portfolio.State{}, map[string]int{} // by portfolio, by number
	for _, n := range all {
		if of, _ := r.limits.Limit(n.Number); of != "" {
			waiting[n.Number] = n.needCapacity()
			states[of] = nil
		}
	}
	if len(states) == 0 {
		return nil
	}
	var others []string
	for i := range all {
		of, _ := r.limits.Limit(all[i].Number)
		if of == "" {
			continue
		}
		if states[of] == nil {
			s, err := r.limits.State(ctx, all[i].Number)
			if err != nil {
				return err
			}
			states[of] = s
			for _, number := range r.limits.Siblings(all[i].Number) {
				if _, read := waiting[number]; !read && len(others) < siblingsMost {
					others = append(others, number)
				}
			}
		}
		all[i].Portfolio = states[of]
	}
	if err := r.readWaiting(ctx, others, waiting); err != nil {
		return err
	}
	for i := range all {
		for _, number := range r.limits.Siblings(all[i].Number) {
			if number != all[i].Number {
				all[i].Others += waiting[number]
			}
		}
	}
	return nil
}

// needCapacity returns how many waiting messages need capacity under a messaging limit, at most.
func (n Number) needCapacity() (count int) {
	for _, w := range n.Waiting {
		if w.Class != message.Service {
			count += w.Pending + w.Limited
		}
	}
	return count
}

// readWaiting reads how many messages of numbers wait that may need capacity.
func (r *Reader) readWaiting(ctx context.Context, numbers []string, into map[string]int) error {
	counts := map[string][]*redis.IntCmd{}
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		clear(counts)
		for _, number := range numbers {
			s := r.shards.Of(number)
			counts[number] = []*redis.IntCmd{p.ZCard(ctx, queue.LimitedKey(s, number))}
			for _, c := range message.Classes() {
				if c != message.Service {
					counts[number] = append(counts[number], p.LLen(ctx, queue.KeysOf(s, number, c).Pending))
				}
			}
		}
	})
	for number, cmds := range counts {
		for _, c := range cmds {
			into[number] += int(c.Val())
		}
	}
	return err
}

// limited returns when a task that waits for the messaging limit may be sent, about.
func (r *Reader) limited(ctx context.Context, number string, c message.Class, task string) (message.QueueStatus, error) {
	rank, err := r.db.ZRank(ctx, queue.LimitedKey(r.shards.Of(number), number), strconv.Itoa(c.Order())+" "+task).Result()
	if err != nil {
		if err == redis.Nil {
			return message.QueueStatus{Task: message.TaskMissing}, nil
		}
		return message.QueueStatus{}, fmt.Errorf("find a task that waits for the messaging limit: %w", err)
	}
	status := message.QueueStatus{Task: message.TaskDelayed, Limited: true, Until: time.Now().UTC()}
	n, err := r.Read(ctx, number)
	if err != nil || n.Portfolio == nil {
		return status, err
	}
	ahead := int(rank) + n.Others
	if c.Order() == 0 {
		ahead = int(rank)
	}
	status.Until = status.Until.Add(n.Portfolio.Wait(ahead+1, max(n.Goal(), 1), c.Order() == 0))
	return status, nil
}
