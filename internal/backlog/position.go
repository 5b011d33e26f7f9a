package backlog

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// countMost is how far from its head a queue is counted: a longer search would keep others
// from Redis.
const countMost = 20000

// Position returns where the task of a queued message of a flow is, its k-th.
func (r *Reader) Position(ctx context.Context, number string, c message.Class, f message.Flow, id string, k int) (message.QueueStatus, error) {
	s := r.shards.Of(number)
	keys, task := queue.KeysOf(s, number, c), queue.TaskID{Message: id, K: k}.String()
	list := keys.Pending
	if f != (message.Flow{}) {
		list = queue.FlowKey(s, number, c.Order(), f)
	}
	var (
		waits            *redis.StringCmd
		hasMessage       *redis.BoolCmd
		leases           *redis.StringSliceCmd
		at, length       *redis.IntCmd
		due              *redis.StringCmd
		scheduled, retry *redis.FloatCmd
	)
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		hasMessage, waits = p.HExists(ctx, keys.Task+task, "msg"), p.HGet(ctx, keys.Task+task, queue.WaitField)
		leases = p.HVals(ctx, queue.LeasesKey(s, number))
		length = p.LLen(ctx, list)
		due = p.Get(ctx, queue.FlowRateKey(s, number, f))
		at = p.LPos(ctx, list, task, redis.LPosArgs{Rank: -1, MaxLen: countMost})
		scheduled, retry = p.ZScore(ctx, keys.Scheduled, task), p.ZScore(ctx, keys.Retry, task)
	})
	if err != nil {
		return message.QueueStatus{}, fmt.Errorf("find the task of %s: %w", id, err)
	}
	if !hasMessage.Val() { // whatever list it is in, no worker can send it
		return message.QueueStatus{Task: message.TaskMissing}, nil
	}
	for _, due := range []*redis.FloatCmd{scheduled, retry} {
		if due.Err() == nil {
			return message.QueueStatus{Task: message.TaskDelayed, Until: time.Unix(int64(due.Val()), 0).UTC()}, nil
		}
	}
	if slices.ContainsFunc(leases.Val(), func(value string) bool { return queue.HasTask(value, task) }) {
		return message.QueueStatus{Task: message.TaskFetched}, nil
	}
	if waits.Val() == queue.LimitWait {
		return r.limited(ctx, number, c, task)
	}
	if person, ok := queue.ConversationWith(waits.Val()); ok {
		_, err := r.db.ZRank(ctx, queue.WaitsOf(queue.WaitsKey(s, number), waits.Val()), strconv.Itoa(c.Order())+" "+task).Result()
		if err == redis.Nil {
			return message.QueueStatus{Task: message.TaskMissing}, nil
		}
		return message.QueueStatus{Task: message.TaskDelayed, Elsewhere: true, Person: person}, err
	}
	if recipient := waits.Val(); recipient != "" {
		return r.waiting(ctx, queue.WaitsKey(s, number), recipient, strconv.Itoa(c.Order())+" "+task)
	}
	found := at.Err() == nil
	if !found { // what a worker would create again is gone
		missing, err := r.tasks.Missing(ctx, []queue.Task{{ID: id, K: k, Number: number, Class: c}})
		switch {
		case err != nil:
			return message.QueueStatus{}, err
		case len(missing) > 0:
			return message.QueueStatus{Task: message.TaskMissing}, nil
		}
	}
	ahead := int(length.Val())
	if found { // the head is at the right end
		ahead = int(max(0, length.Val()-1-at.Val()))
	}
	n, err := r.Read(ctx, number)
	if err != nil {
		return message.QueueStatus{}, err
	}
	status := message.QueueStatus{Task: message.TaskWaiting, Ahead: ahead, Approximate: !found, In: n.behind(c, f, ahead)}
	if n.rate(f) > 0 {
		us, _ := due.Int64() // 0: none was sent lately
		in := max(0, time.Until(time.UnixMicro(us))) + n.rateWait(f, ahead)
		status.Rated, status.In = in > 0 && in >= status.In, max(in, status.In)
	}
	return status, nil
}

// waiting returns when a task that waits for its recipient may be sent, about: one is sent each 6 s.
func (r *Reader) waiting(ctx context.Context, waits, recipient, member string) (message.QueueStatus, error) {
	var rank *redis.IntCmd
	var due *redis.FloatCmd
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		rank, due = p.ZRank(ctx, queue.WaitsOf(waits, recipient), member), p.ZScore(ctx, waits, recipient)
	})
	switch {
	case err != nil:
		return message.QueueStatus{}, fmt.Errorf("find a task that waits for its recipient: %w", err)
	case rank.Err() != nil || due.Err() != nil:
		return message.QueueStatus{Task: message.TaskMissing}, nil
	}
	until := time.UnixMicro(int64(due.Val())).Add(time.Duration(rank.Val()) * ratelimit.PairEvery)
	return message.QueueStatus{Task: message.TaskDelayed, Until: until.UTC()}, nil
}
