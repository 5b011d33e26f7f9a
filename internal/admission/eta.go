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
	// etaFresh is how long one reading of a number is used, and the time limit of a reading.
	etaFresh = time.Second
	// etaTimeout is how long a request waits for a reading. Then the message is accepted without it.
	etaTimeout = 500 * time.Millisecond
)

var errETASlow = errors.New("no answer within 0.5 s")

// ETA estimates how long a new message would wait. All callers share readings: it reads the backlog of each
// number at most once in etaFresh. It is safe for concurrent use.
type ETA struct {
	read func(ctx context.Context, number string) (backlog.Number, error)
	log  *slog.Logger

	mu   sync.Mutex
	last map[string]*reading // by phone number id; callers name only configured ones
}

// reading is one reading of the backlog of a number. It has its result when done is closed.
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

// Of estimates how long a new message of a number, class and flow would wait for its slot. It blocks for
// at most etaTimeout. After an error the wait is unknown, and ETA has logged the cause.
func (e *ETA) Of(ctx context.Context, number string, c message.Class, f message.Flow) (time.Duration, error) {
	n, err := e.Number(ctx, number)
	if err != nil {
		return 0, err
	}
	return n.SlotETA(c, f), nil
}

// LimitWait estimates how long a new message of a number and class would wait for capacity under the messaging limit of its
// portfolio, see backlog.Number. It blocks and fails as Of does.
func (e *ETA) LimitWait(ctx context.Context, number string, c message.Class) (time.Duration, error) {
	n, err := e.Number(ctx, number)
	if err != nil {
		return 0, err
	}
	return n.LimitWait(c), nil
}

// Number returns a reading of the backlog of a number. It blocks and fails as Of does.
func (e *ETA) Number(ctx context.Context, number string) (backlog.Number, error) {
	e.mu.Lock()
	r := e.last[number]
	if r == nil || time.Since(r.begun) >= etaFresh {
		r = &reading{begun: time.Now(), done: make(chan struct{})}
		e.last[number] = r
		// Other requests share the reading, so it does not end with the request that started it.
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
			return backlog.Number{}, errETASlow
		case <-ctx.Done():
			return backlog.Number{}, context.Cause(ctx)
		}
	}
	return r.number, r.err
}

func (e *ETA) fill(ctx context.Context, number string, r *reading) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, etaFresh)
	defer cancel()
	if r.number, r.err = e.read(ctx, number); r.err != nil {
		e.log.Warn("cannot read the backlog of a number, new messages are accepted without a check of their deadlines", "phone_number_id", number, "err", r.err)
	}
}
