package store

import (
	"context"
	"errors"
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
// gathers. In a Cluster what has the same hash tag does: masters do not wait for each other.
// It is safe for concurrent use and needs no closing.
type Batch struct {
	db     *DB
	linger time.Duration

	mu    sync.Mutex
	lanes map[string]*lane
}

// lane is the callers who share runs.
type lane struct {
	waiting []*share
	due     time.Time     // when the next run is to begin
	sooner  chan struct{} // due was brought forward, or nobody else has room
	running bool
}

// share is one caller's part of a run.
type share struct {
	fill        func(redis.Pipeliner)
	durable     bool
	cmds        []redis.Cmder
	unconfirmed bool
	done        chan struct{}
	left        bool // its caller has gone
}

// NewBatch returns a batch that waits linger for company before each run; with zero a lone
// caller loses no time.
func (db *DB) NewBatch(linger time.Duration) *Batch {
	return &Batch{db: db, linger: linger, lanes: map[string]*lane{}}
}

// Shared returns the batch in which all rooms of a program meet. What has a moment to spare,
// 3 ms, goes there, and takes along what has more.
func (db *DB) Shared() *Batch { return db.shared }

// Do runs the commands that fill adds, durably, see Durably, and returns the first error of any
// of them; redis.Nil is none. With ErrUnconfirmed the commands ran. Fill may be called several
// times; it must not fail. When ctx ends first Do returns its cause: the commands may run all
// the same, and must not be read.
func (b *Batch) Do(ctx context.Context, fill func(redis.Pipeliner)) error {
	return b.do(ctx, b.linger, &share{fill: fill, durable: true})
}

// Ride is Do for commands that can wait, and that nobody promised anything about: they go with
// the next run that somebody else needs, or after patience in one of their own.
func (b *Batch) Ride(ctx context.Context, patience time.Duration, fill func(redis.Pipeliner)) error {
	return b.do(ctx, patience, &share{fill: fill})
}

func (b *Batch) do(ctx context.Context, within time.Duration, s *share) error {
	s.done = make(chan struct{})
	due := time.Now().Add(within)
	tag := b.tag(s.fill)
	b.mu.Lock()
	l := b.lanes[tag]
	if l == nil {
		l = &lane{sooner: make(chan struct{}, 1)}
		b.lanes[tag] = l
	}
	l.waiting = append(l.waiting, s)
	sooner := len(l.waiting) == batchMost // nobody else has room
	if len(l.waiting) == 1 || due.Before(l.due) {
		l.due, sooner = due, true
	}
	if sooner {
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
	start := !l.running
	l.running = true
	b.mu.Unlock()
	if start {
		go b.run(l)
	}
	select {
	case <-s.done:
		err := firstError(s.cmds)
		if err == nil && s.unconfirmed {
			err = ErrUnconfirmed
		}
		return err
	case <-ctx.Done():
		b.mu.Lock()
		defer b.mu.Unlock()
		s.left = true
		return context.Cause(ctx)
	}
}

// tag names the lane of a caller's commands: one for all, but in a Cluster.
func (b *Batch) tag(fill func(redis.Pipeliner)) string {
	if b.db.cluster() == nil {
		return ""
	}
	p := b.db.Pipeline()
	fill(p)
	if p.Len() == 0 {
		return ""
	}
	return tagOf(keyOf(p.Cmds()[0]))
}

// Run runs one script as Do does. With ErrUnconfirmed its value is there too.
func (b *Batch) Run(ctx context.Context, s Script, keys []string, args ...any) *redis.Cmd {
	var cmd *redis.Cmd
	if err := b.Do(ctx, func(p redis.Pipeliner) { cmd = s.Add(ctx, p, keys, args...) }); err != nil {
		failed := redis.NewCmd(ctx)
		failed.SetErr(err)
		if errors.Is(err, ErrUnconfirmed) {
			failed.SetVal(cmd.Val())
		}
		return failed
	}
	return cmd
}

// run serves a lane until nobody waits.
func (b *Batch) run(l *lane) {
	for {
		shares, wait := b.next(l)
		switch {
		case wait > 0:
			select {
			case <-time.After(wait):
			case <-l.sooner:
			}
		case len(shares) == 0:
			return
		default:
			b.once(shares)
		}
	}
}

// next returns those whose commands are to run now, or how long to wait for company.
func (b *Batch) next(l *lane) (shares []*share, wait time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	// While Redis is away callers come and go.
	l.waiting = slices.DeleteFunc(l.waiting, func(s *share) bool { return s.left })
	n := min(len(l.waiting), batchMost)
	if l.running = n > 0; !l.running {
		return nil, 0
	}
	if wait := time.Until(l.due); wait > 0 && n < batchMost {
		return nil, wait
	}
	shares = l.waiting[:n:n]
	l.waiting = l.waiting[n:] // what is left over has waited long enough
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
	confirmed := true
	if slices.ContainsFunc(shares, func(s *share) bool { return s.durable }) {
		confirmed, _ = b.db.durably(ctx, fill)
	} else {
		b.db.Pipe(ctx, fill)
	}
	for _, s := range shares {
		s.unconfirmed = s.durable && !confirmed
		close(s.done)
	}
}
