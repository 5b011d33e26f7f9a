package admission

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
)

const (
	// etaFresh is how long one reading of a number is used, and the longest time that a reading may
	// take.
	etaFresh = time.Second
	// etaTimeout is how long a message waits for a reading. Without one it is accepted.
	etaTimeout = 500 * time.Millisecond
)

var errETASlow = errors.New("no answer within 0.5 s")

// ETA estimates how long a new message would wait. It reads the backlog of each number at most once
// in etaFresh, however many callers ask. It is safe for concurrent use.
type ETA struct {
	read func(ctx context.Context, number string) (backlog.Number, error)
	log  *slog.Logger

	mu   sync.Mutex
	last map[string]*reading // by number; callers ask only for configured ones
}

// reading is one reading of the backlog of a number. It runs until done is closed.
type reading struct {
	begun  time.Time
	done   chan struct{}
	number backlog.Number
	err    error
}

// NewETA returns an ETA that reads the backlog of a number with read.
func NewETA(read func(context.Context, string) (backlog.Number, error), log *slog.Logger) *ETA {
	return &ETA{read: read, log: log, last: map[string]*reading{}}
}

// Of estimates how long a new message of a number and class would wait until it is sent. It blocks
// for half a second at most. An error means that nothing is known; ETA has logged why.
func (e *ETA) Of(ctx context.Context, number string, c message.Class) (time.Duration, error) {
	e.mu.Lock()
	r := e.last[number]
	if r == nil || time.Since(r.begun) >= etaFresh {
		r = &reading{begun: time.Now(), done: make(chan struct{})}
		e.last[number] = r
		// Other requests wait for it too, so it does not end with the request that started it.
		go e.fill(context.WithoutCancel(ctx), number, r)
	}
	e.mu.Unlock()
	select {
	case <-r.done:
	default:
		timeout := time.NewTimer(etaTimeout)
		defer timeout.Stop()
		select {
		case <-r.done:
		case <-timeout.C:
			return 0, errETASlow
		case <-ctx.Done():
			return 0, context.Cause(ctx)
		}
	}
	if r.err != nil {
		return 0, r.err
	}
	return r.number.ETA(c), nil
}

func (e *ETA) fill(ctx context.Context, number string, r *reading) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, etaFresh)
	defer cancel()
	if r.number, r.err = e.read(ctx, number); r.err != nil {
		e.log.Warn("cannot read the ETA of a number, deadlines are not checked against the backlog", "phone_number_id", number, "err", r.err)
	}
}
