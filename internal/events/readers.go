package events

import (
	"context"
	"fmt"
	"strconv"
)

// Readers returns how many programs apply what Meta reports: the readers of the event streams whose last sign of
// life is at most 4 s old.
func (s *Stream) Readers(ctx context.Context) (int, error) {
	now, err := s.db.Now(ctx, readersKey())
	if err != nil {
		return 0, fmt.Errorf("count the readers of the event streams: %w", err)
	}
	n, err := s.db.ZCount(ctx, readersKey(), strconv.FormatInt(now.UnixMilli(), 10), "+inf").Result()
	if err != nil {
		return 0, fmt.Errorf("count the readers of the event streams: %w", err)
	}
	return int(n), nil
}
