package queue

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/store"
)

// CountHeld counts the messages that holds keep from being sent: by hold, in the order of holds, and by phone
// number id, where a message counts once. It does not count scheduled messages and retries whose time has not come. It needs
// no round trip without holds, and three with them.
func (p *Paces) CountHeld(ctx context.Context, all []message.Hold) (byHold []int, byNumber map[string]int, err error) {
	byHold, byNumber = make([]int, len(all)), map[string]int{}
	if len(all) == 0 {
		return byHold, byNumber, nil
	}
	backlogs, err := p.backlogs(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("count held messages: %w", err)
	}
	for _, b := range backlogs {
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

// backlog is what waits for a number: tasks in its queues, and those that workers have set aside for a
// hold, by the name of the hold.
type backlog struct {
	number  string
	pending int
	aside   map[string]int
}

// backlogs reads the backlogs of all numbers that have tasks.
func (p *Paces) backlogs(ctx context.Context) ([]backlog, error) {
	shards := p.shards.All()
	work := make([]*redis.StringSliceCmd, len(shards))
	err := p.db.Pipe(ctx, func(t redis.Pipeliner) {
		for i, s := range shards {
			work[i] = t.SMembers(ctx, workKey(s))
		}
	})
	if err != nil {
		return nil, err
	}
	var all []backlog
	for _, c := range work {
		for _, number := range c.Val() {
			all = append(all, backlog{number: number, aside: map[string]int{}})
		}
	}
	names, lengths := make([]*redis.StringSliceCmd, len(all)), make([][]*redis.IntCmd, len(all))
	err = p.db.Pipe(ctx, func(t redis.Pipeliner) {
		for i, b := range all {
			s := p.shards.Of(b.number)
			names[i], lengths[i] = t.SMembers(ctx, store.Key(s, "held:"+b.number)), nil
			for _, c := range message.Classes() {
				lengths[i] = append(lengths[i], t.LLen(ctx, asynqKeys(name(s, b.number, c)).pending))
			}
		}
	})
	if err != nil {
		return nil, err
	}
	type list struct {
		of     backlog
		hold   string
		length *redis.IntCmd
	}
	var lists []list
	err = p.db.Pipe(ctx, func(t redis.Pipeliner) {
		lists = nil
		for i, b := range all {
			s := p.shards.Of(b.number)
			for _, hold := range names[i].Val() {
				lists = append(lists,
					list{b, hold, t.LLen(ctx, store.Key(s, "held:"+b.number+":"+hold))},
					list{b, hold, t.ZCard(ctx, store.Key(s, "refused:"+b.number+":"+hold))})
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
