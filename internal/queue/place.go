package queue

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
)

// countMost is how far from its head a queue is counted: looking further would keep others
// from Redis.
const countMost = 20000

// Place tells where the task of a queued message is, its k-th.
func (p *Paces) Place(ctx context.Context, number string, c message.Class, id string, k int) (message.QueueStatus, error) {
	keys, task := asynqKeys(name(p.shards.Of(number), number, c)), taskID(id, k)
	var (
		state, waits     *redis.StringCmd
		hands            *redis.StringSliceCmd
		at, length       *redis.IntCmd
		scheduled, retry *redis.FloatCmd
	)
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		state, waits = t.HGet(ctx, keys.task+task, "state"), t.HGet(ctx, keys.task+task, waitField)
		hands = t.HVals(ctx, handsKey(p.shards.Of(number), number))
		length = t.LLen(ctx, keys.pending)
		at = t.LPos(ctx, keys.pending, task, redis.LPosArgs{Rank: -1, MaxLen: countMost})
		scheduled, retry = t.ZScore(ctx, keys.scheduled, task), t.ZScore(ctx, keys.retry, task)
	})
	if err != nil {
		return message.QueueStatus{}, fmt.Errorf("look for the task of %s: %w", id, err)
	}
	for _, due := range []*redis.FloatCmd{scheduled, retry} {
		if due.Err() == nil {
			return message.QueueStatus{Task: message.TaskDelayed, Until: time.Unix(int64(due.Val()), 0).UTC()}, nil
		}
	}
	switch {
	case errors.Is(state.Err(), redis.Nil):
		return message.QueueStatus{Task: message.TaskMissing}, nil
	case slices.ContainsFunc(hands.Val(), func(value string) bool { return hasInHand(value, task) }):
		return message.QueueStatus{Task: message.TaskFetched}, nil
	}
	if r := waits.Val(); r != "" {
		return p.placeOf(ctx, waitsKey(p.shards.Of(number), number), r, strconv.Itoa(c.Order())+" "+task)
	}
	if at.Err() != nil { // what the worker's walk would make again is gone
		reply, err := p.db.Run(ctx, p.missing, []string{lineKey(p.shards.Of(number), number)}, int(missingAfter/time.Second), c.Order(), task).Int64Slice()
		switch {
		case err != nil:
			return message.QueueStatus{}, fmt.Errorf("look for the task of %s: %w", id, err)
		case len(reply) > 0:
			return message.QueueStatus{Task: message.TaskMissing}, nil
		}
	}
	found := at.Err() == nil // the head is at the right end
	ahead := int(length.Val())
	if found {
		ahead = int(max(0, length.Val()-1-at.Val()))
	}
	pace, err := p.Read(ctx, number)
	if err != nil {
		return message.QueueStatus{}, err
	}
	return message.QueueStatus{Task: message.TaskWaiting, Ahead: ahead, Approximate: !found, In: pace.behind(c, ahead)}, nil
}

// placeOf tells when a task that waits for its recipient may be sent, about: one goes each 6 s.
func (p *Paces) placeOf(ctx context.Context, waits, recipient, member string) (message.QueueStatus, error) {
	var rank *redis.IntCmd
	var due *redis.FloatCmd
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		rank, due = t.ZRank(ctx, waitsOf(waits, recipient), member), t.ZScore(ctx, waits, recipient)
	})
	switch {
	case err != nil:
		return message.QueueStatus{}, fmt.Errorf("look for a task that waits for its recipient: %w", err)
	case rank.Err() != nil || due.Err() != nil:
		return message.QueueStatus{Task: message.TaskMissing}, nil
	}
	until := time.UnixMicro(int64(due.Val())).Add(time.Duration(rank.Val()) * pacing.PairEvery)
	return message.QueueStatus{Task: message.TaskDelayed, Until: until.UTC()}, nil
}

// behind is Drain for a message with so many of its class before it.
func (p Pace) behind(c message.Class, ahead int) time.Duration {
	p.Waiting = slices.Clone(p.Waiting)
	for i, w := range p.Waiting {
		if w.Class == c {
			p.Waiting[i].Pending = ahead
		}
	}
	return p.Drain(c)
}
