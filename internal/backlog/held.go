package backlog

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/queue"
)

// CountHeld counts the messages that holds keep from being sent: by hold, in the order of holds, and by phone
// number id, where a message counts once. It does not count scheduled messages and retries whose time has not come. It needs
// no round trip without holds, and three with them.
func (r *Reader) CountHeld(ctx context.Context, all []message.Hold) (byHold []int, byNumber map[string]int, err error) {
	byHold, byNumber = make([]int, len(all)), map[string]int{}
	if len(all) == 0 {
		return byHold, byNumber, nil
	}
	numbers, err := r.kept(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("count held messages: %w", err)
	}
	for _, b := range numbers {
		for i, h := range all {
			n := b.aside[holds.Name(h)]
			byNumber[b.number] += n
			if holds.KeepAll(all[i:i+1], b.number) {
				n += b.pending
			}
			byHold[i] += n
		}
		if holds.KeepAll(all, b.number) {
			byNumber[b.number] += b.pending
		}
	}
	return byHold, byNumber, nil
}

// keptTasks is what waits for a number: tasks in its queues, and those that workers have set aside for a
// hold, by the name of the hold.
type keptTasks struct {
	number  string
	pending int
	aside   map[string]int
}

// kept reads what waits for each number that has tasks.
func (r *Reader) kept(ctx context.Context) ([]keptTasks, error) {
	shards := r.shards.All()
	work := make([]*redis.StringSliceCmd, len(shards))
	err := r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			work[i] = p.SMembers(ctx, queue.WorkKey(s))
		}
	})
	if err != nil {
		return nil, err
	}
	var all []keptTasks
	for _, c := range work {
		for _, number := range c.Val() {
			all = append(all, keptTasks{number: number, aside: map[string]int{}})
		}
	}
	names, lengths := make([]*redis.StringSliceCmd, len(all)), make([][]*redis.IntCmd, len(all))
	err = r.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, b := range all {
			s := r.shards.Of(b.number)
			names[i], lengths[i] = p.SMembers(ctx, queue.HeldKey(s, b.number)), nil
			for _, c := range message.Classes() {
				lengths[i] = append(lengths[i], p.LLen(ctx, queue.KeysOf(s, b.number, c).Pending))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	type list struct {
		of     keptTasks
		hold   string
		length *redis.IntCmd
	}
	var lists []list
	err = r.db.Pipe(ctx, func(p redis.Pipeliner) {
		lists = nil
		for i, b := range all {
			s := r.shards.Of(b.number)
			for _, hold := range names[i].Val() {
				lists = append(lists,
					list{b, hold, p.LLen(ctx, queue.HeldKey(s, b.number)+":"+hold)},
					list{b, hold, p.ZCard(ctx, queue.RefusedKey(s, b.number, hold))})
			}
		}
	})
	if err != nil {
		return nil, err
	}
	for i := range all {
		for _, n := range lengths[i] {
			all[i].pending += int(n.Val())
		}
	}
	for _, l := range lists {
		l.of.aside[l.hold] += int(l.length.Val())
	}
	return all, nil
}
