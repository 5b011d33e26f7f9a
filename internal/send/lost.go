package send

import (
	"context"
	"errors"
	"fmt"
	"time"

	"sluice/internal/message"
)

// lost makes the tasks again of queued messages whose task is gone: the record is the truth,
// and its task a hint that somebody may have deleted. It walks through what waits, some of it
// in each pass, and one living worker does so for all: the first by name. After an error it goes on.
func (p *part) lost(ctx context.Context, seen map[message.Shard]view) error {
	var errs []error
	looked := 0
	for range p.shards {
		if looked >= sweepMost {
			break
		}
		shard := p.shards[p.walk.shard%len(p.shards)]
		v, ok := seen[shard]
		if !ok || !p.firstByName(v) {
			p.walk = walk{shard: p.walk.shard + 1}
			continue
		}
		some, err := p.Open.Waiting(ctx, shard, p.walk.offset, sweepMost)
		errs = append(errs, err)
		looked += len(some)
		if p.walk.offset += len(some); len(some) < sweepMost {
			p.walk = walk{shard: p.walk.shard + 1}
		}
		for _, o := range some {
			errs = append(errs, p.doubtIfAbandoned(ctx, o, v))
		}
		errs = append(errs, p.again(ctx, some, v.Now)...)
	}
	return errors.Join(errs...)
}

// walk is where a sweeper is on its way through what waits.
type walk struct {
	shard  int // index of the shard, counted on round and round
	offset int
}

func (s *Sweeper) again(ctx context.Context, some []message.Open, now time.Time) (errs []error) {
	gone, err := s.Lost(ctx, some)
	if err != nil {
		return []error{fmt.Errorf("look for lost tasks: %w", err)}
	}
	for _, o := range gone {
		if !now.Before(o.ExpiresAt) {
			continue // it is overdue, and expires
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
