package ledger

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// workersKey holds the last beat of each worker, by the clock of the node it lies on.
const workersKey = "sluice:workers"

// forgetAfter is when a dead worker's beat is dropped: long after its attempts were taken up.
const forgetAfter = 24 * time.Hour

// Beat says that a worker lives.
func (l *Ledger) Beat(ctx context.Context, worker string) error {
	if err := l.db.Run(ctx, l.beat, []string{workersKey}, worker, forgetAfter.Milliseconds()).Err(); err != nil {
		return fmt.Errorf("beat: %w", err)
	}
	return nil
}

// Now is the time by the clock that beats are written with.
func (l *Ledger) Now(ctx context.Context) (time.Time, error) { return l.db.Now(ctx, workersKey) }

// Leave takes back a worker's beat at its orderly end.
func (l *Ledger) Leave(ctx context.Context, worker string) error {
	return l.db.ZRem(ctx, workersKey, worker).Err()
}

// Alive returns the workers whose last beat is younger than d.
func (l *Ledger) Alive(ctx context.Context, d time.Duration) (map[string]bool, error) {
	now, err := l.Now(ctx)
	if err != nil {
		return nil, fmt.Errorf("read beats: %w", err)
	}
	names, err := l.db.ZRangeByScore(ctx, workersKey, &redis.ZRangeBy{
		Min: fmt.Sprint(now.Add(-d).UnixMilli()), Max: "+inf",
	}).Result()
	if err != nil {
		return nil, fmt.Errorf("read beats: %w", err)
	}
	alive := make(map[string]bool, len(names))
	for _, n := range names {
		alive[n] = true
	}
	return alive, nil
}
