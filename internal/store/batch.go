package store

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// Limits of one run of a batch.
const (
	batchMost    = 500
	batchTimeout = 30 * time.Second
	sharedLinger = 3 * time.Millisecond
)

// Batch lets commands of many callers share round trips: while one run is under way the next
// gathers. It is safe for concurrent use and needs no closing.
type Batch struct {
	db     *DB
	linger time.Duration
	tx     bool

	mu      sync.Mutex
	waiting []*share
	due     time.Time     // when the next run is to begin
	sooner  chan struct{} // due was brought forward
	running bool
}

// share is one caller's part of a run.
type share struct {
	fill func(redis.Pipeliner)
	cmds []redis.Cmder
	done chan struct{}
	left bool // its caller has gone
}

// NewBatch returns a batch that waits linger for company before each run; with zero a lone
// caller loses no time. With tx each run is one transaction in each Cluster slot.
func (db *DB) NewBatch(linger time.Duration, tx bool) *Batch {
	return &Batch{db: db, linger: linger, tx: tx, sooner: make(chan struct{}, 1)}
}

// Shared returns the batch in which all rooms of a program meet. What has a moment to spare,
// 3 ms, goes there, and takes along what has more.
func (db *DB) Shared() *Batch { return db.shared }

// Do runs the commands that fill adds and returns the first error of any of them; redis.Nil
// is none. Fill may be called twice, see Tx; it must not fail. When ctx ends first Do returns
// its cause: the commands may run all the same, and must not be read.
func (b *Batch) Do(ctx context.Context, fill func(redis.Pipeliner)) error {
	return b.do(ctx, b.linger, fill)
}

// Ride is Do for commands that can wait: they go with the next run that somebody else needs,
// or after patience in one of their own.
func (b *Batch) Ride(ctx context.Context, patience time.Duration, fill func(redis.Pipeliner)) error {
	return b.do(ctx, patience, fill)
}

func (b *Batch) do(ctx context.Context, within time.Duration, fill func(redis.Pipeliner)) error {
	s := &share{fill: fill, done: make(chan struct{})}
	due := time.Now().Add(within)
	b.mu.Lock()
	b.waiting = append(b.waiting, s)
	if len(b.waiting) == 1 || due.Before(b.due) {
		b.due = due
		select {
		case b.sooner <- struct{}{}:
		default:
		}
	}
	start := !b.running
	b.running = true
	b.mu.Unlock()
	if start {
		go b.run()
	}
	select {
	case <-s.done:
		return firstError(s.cmds)
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		s.left = true
		return context.Cause(ctx)
	}
}

// Run runs one script as part of a batch.
func (b *Batch) Run(ctx context.Context, s Script, keys []string, args ...any) *redis.Cmd {
	var cmd *redis.Cmd
	if err := b.Do(ctx, func(p redis.Pipeliner) { cmd = s.Add(ctx, p, keys, args...) }); err != nil {
		failed := redis.NewCmd(ctx)
		failed.SetErr(err)
		return failed
	}
	return cmd
}

// run serves until nobody waits.
func (b *Batch) run() {
	for {
		shares, wait := b.next()
		switch {
		case wait > 0:
			select {
			case <-time.After(wait):
			case <-b.sooner:
			}
		case len(shares) == 0:
			return
		default:
			b.once(shares)
		}
	}
}

// next returns those whose commands are to run now, or how long to wait for company.
func (b *Batch) next() (shares []*share, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// While Redis is away callers come and go.
	b.waiting = slices.DeleteFunc(b.waiting, func(s *share) bool { return s.left })
	n := min(len(b.waiting), batchMost)
	if b.running = n > 0; !b.running {
		return nil, 0
	}
	if wait := time.Until(b.due); wait > 0 && n < batchMost {
		return nil, wait
	}
	shares = b.waiting[:n:n]
	b.waiting = b.waiting[n:] // what is left over has waited long enough
	return shares, 0
}

func (b *Batch) once(shares []*share) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	fill := func(p redis.Pipeliner) {
		for _, s := range shares {
			before := p.Len()
			s.fill(p)
			s.cmds = p.Cmds()[before:]
		}
	}
	// Each command carries its own error.
	if b.tx {
		b.db.Tx(ctx, func(p redis.Pipeliner) error { fill(p); return nil })
	} else {
		b.db.Pipe(ctx, fill)
	}
	for _, s := range shares {
		close(s.done)
	}
}
