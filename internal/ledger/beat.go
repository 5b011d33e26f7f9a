package ledger

import (
	"context"
	"fmt"
	"time"
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
	r, err := l.db.Run(ctx, l.alive, []string{workersKey}, d.Milliseconds()).StringSlice()
	if err != nil {
		return nil, fmt.Errorf("read beats: %w", err)
	}
	alive := make(map[string]bool, len(r))
	for _, name := range r {
		alive[name] = true
	}
	return alive, nil
}
