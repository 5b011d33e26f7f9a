package app

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
)

const (
	// drainFresh is how long the intake goes by what it last read of a number, and the longest
	// that one reading may take.
	drainFresh = time.Second
	// drainTimeout is how long a message waits for such a reading. Without one it is accepted.
	drainTimeout = 500 * time.Millisecond
)

var errDrainSlow = errors.New("no answer within 0.5 s")

// drains tells the intake how long a message would wait. It reads each number at most once in
// drainFresh, however many ask.
type drains struct {
	read func(ctx context.Context, number string) (queue.Pace, error)
	log  *slog.Logger

	mu   sync.Mutex
	last map[string]*reading // by number; the intake asks of configured ones only
}

// reading is one look at a number, under way until done is closed.
type reading struct {
	begun time.Time
	done  chan struct{}
	pace  queue.Pace
	err   error
}

func newDrains(read func(context.Context, string) (queue.Pace, error), log *slog.Logger) *drains {
	return &drains{read: read, log: log, last: map[string]*reading{}}
}

// of estimates how long until a new message would leave.
func (d *drains) of(ctx context.Context, number string, c message.Class) (time.Duration, error) {
	d.mu.Lock()
	r := d.last[number]
	if r == nil || time.Since(r.begun) >= drainFresh {
		r = &reading{begun: time.Now(), done: make(chan struct{})}
		d.last[number] = r
		// Others wait for it too, so it does not end with the request that began it.
		go d.fill(context.WithoutCancel(ctx), number, r)
	}
	d.mu.Unlock()
	select {
	case <-r.done:
	default:
		timeout := time.NewTimer(drainTimeout)
		defer timeout.Stop()
		select {
		case <-r.done:
		case <-timeout.C:
			return 0, errDrainSlow
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	return r.pace.Drain(c), nil
}

func (d *drains) fill(ctx context.Context, number string, r *reading) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, drainFresh)
	defer cancel()
	if r.pace, r.err = d.read(ctx, number); r.err != nil {
		d.log.Warn("cannot read the ETA of a number, deadlines are not checked against the backlog", "phone_number_id", number, "err", r.err)
	}
}
