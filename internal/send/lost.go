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
// in each pass, and one living worker does so for all: the first by name.
func (s *Sweeper) lost(ctx context.Context, alive map[string]bool, now time.Time) error {
	if !s.firstByName(alive) {
		return nil
	}
	var errs []error
	looked := 0
	for range s.Shards.All() {
		if looked >= sweepMost || errors.Join(errs...) != nil {
			break
		}
		shard := s.walk.shard % message.Shard(s.Shards)
		some, err := s.Records.Waiting(ctx, shard, s.walk.offset, sweepMost)
		if err != nil {
			return err
		}
		looked += len(some)
		if s.walk.offset += len(some); len(some) < sweepMost {
			s.walk = walk{shard: shard + 1}
		}
		for _, o := range some {
			errs = append(errs, s.doubtIfAbandoned(ctx, o, alive, now))
		}
		errs = append(errs, s.again(ctx, some, now)...)
	}
	return errors.Join(errs...)
}

// walk is where a sweeper is on its way through what waits.
type walk struct {
	shard  message.Shard
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
