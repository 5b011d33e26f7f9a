package send

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
)

// lostTasks adds the missing tasks of queued messages: the record is the source of truth, and a task can be deleted by
// mistake. It also decides about messages that wait for others which have ended. It reads the waiting messages, some in each pass. One live worker does this for all: the first by name. After
// an error it continues.
func (p *part) lostTasks(ctx context.Context, seen map[message.Shard]view) error {
	var errs []error
	looked := 0
	for range p.shards {
		if looked >= sweepMost {
			break
		}
		shard := p.shards[p.cursor.shard%len(p.shards)]
		v, ok := seen[shard]
		if !ok || !p.firstByName(v) {
			p.cursor = cursor{shard: p.cursor.shard + 1}
			continue
		}
		some, err := p.Open.Waiting(ctx, shard, p.cursor.offset, sweepMost)
		errs = append(errs, err)
		looked += len(some)
		if p.cursor.offset += len(some); len(some) < sweepMost {
			p.cursor = cursor{shard: p.cursor.shard + 1}
		}
		for _, o := range some {
			errs = append(errs, p.reclaim(ctx, o, v))
		}
		waiting := slices.DeleteFunc(slices.Clone(some), func(o message.Open) bool { return o.After.ID == "" })
		errs = append(errs, p.Changes.Follow(ctx, shard, waiting))
		errs = append(errs, p.requeueLost(ctx, some, v.Now)...)
	}
	return errors.Join(errs...)
}

// cursor is the position of a sweeper in the lists of waiting messages.
type cursor struct {
	shard  int // index of the shard, counted without end
	offset int
}

func (s *Sweeper) requeueLost(ctx context.Context, some []message.Open, now time.Time) (errs []error) {
	gone, err := s.LostTasks(ctx, some)
	if err != nil {
		return []error{fmt.Errorf("find lost tasks: %w", err)}
	}
	for _, o := range gone {
		if !now.Before(o.ExpiresAt) {
			continue // it is overdue, and will expire
		}
		m := message.Move{To: message.Queued, Reason: message.ReasonTaskLost, In: max(0, o.NextAt.Sub(now))}
		if err := s.Requeue(ctx, o, m); err != nil {
			errs = append(errs, fmt.Errorf("requeue %s: %w", o.ID, err))
			continue
		}
		s.note(o, m)
	}
	return errs
}
