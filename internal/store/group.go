package store

import (
	"context"
	"slices"
	"sync"
	"time"
)

// GroupCommit lets callers share round trips: parts that come while one run waits for Redis are collected for the next
// run. Parts of different lanes do not wait for each other. It is safe for concurrent use and needs no closing: a
// goroutine serves a lane while callers wait in it.
type GroupCommit[T any] struct {
	laneOf func(part T) string
	full   int // of a new lane
	serve  func(*Lane[T])

	mu    sync.Mutex
	lanes map[string]*Lane[T]
}

// Lane has the callers that share runs: all of a server, or in a Cluster all of a slot.
type Lane[T any] struct {
	group   *GroupCommit[T]
	name    string
	full    int // from this number of parts on, a run may be full
	waiting []*Share[T]
	due     time.Time     // when the next run begins
	sooner  chan struct{} // due was brought forward, or the run may be full
	running bool
}

// Share is one caller's part of a run. The function that serves the lane must call End.
type Share[T any] struct {
	Part T

	lane string
	done chan struct{}
	err  error
	left bool // its caller no longer waits
}

// NewGroupCommit returns a group commit. LaneOf returns the lane of a part. Serve gets runs by Next and must return
// when Next returns nothing. When a lane has full parts, its next run does not wait for more.
func NewGroupCommit[T any](laneOf func(part T) string, full int, serve func(*Lane[T])) *GroupCommit[T] {
	return &GroupCommit[T]{laneOf: laneOf, full: full, serve: serve, lanes: map[string]*Lane[T]{}}
}

// Do adds parts to their lanes, all at once, and blocks until all have ended. Their runs begin within max delay. Do
// returns the first error with which a part ended. If ctx ends first, Do returns its cause: parts that are in no run yet
// are dropped, and the others may still be written.
func (g *GroupCommit[T]) Do(ctx context.Context, maxDelay time.Duration, parts ...T) error {
	var first error
	for _, s := range g.join(maxDelay, parts) {
		if err := g.wait(ctx, s); first == nil {
			first = err
		}
	}
	return first
}

// Waiting returns how many parts wait for a run.
func (g *GroupCommit[T]) Waiting() (n int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, l := range g.lanes {
		n += len(l.waiting)
	}
	return n
}

// Next blocks until the lane's next run is due and returns its parts, or nothing when no caller waits. Fits returns
// how many of the waiting parts, from the first on, belong to the run, and whether they fill it.
func (l *Lane[T]) Next(fits func(waiting []*Share[T]) (n int, full bool)) []*Share[T] {
	for {
		shares, wait := l.group.next(l, false, fits)
		if wait == 0 {
			return shares
		}
		l.pause(wait)
	}
}

// End returns the result to the caller of a part.
func (s *Share[T]) End(err error) {
	s.err = err
	close(s.done)
}

// join adds parts to their lanes, all at once.
func (g *GroupCommit[T]) join(maxDelay time.Duration, parts []T) []*Share[T] {
	due := time.Now().Add(maxDelay)
	shares, all := make([]Share[T], len(parts)), make([]*Share[T], len(parts))
	for i, p := range parts {
		shares[i] = Share[T]{Part: p, lane: g.laneOf(p), done: make(chan struct{})}
		all[i] = &shares[i]
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range all {
		g.add(s, due)
	}
	return all
}

// add adds one part. The caller holds g.mu.
func (g *GroupCommit[T]) add(s *Share[T], due time.Time) {
	l := g.lanes[s.lane]
	if l == nil {
		l = &Lane[T]{group: g, name: s.lane, full: g.full, sooner: make(chan struct{}, 1)}
		g.lanes[s.lane] = l
	}
	l.waiting = append(l.waiting, s)
	sooner := len(l.waiting) >= l.full
	if len(l.waiting) == 1 || due.Before(l.due) {
		l.due, sooner = due, true
	}
	if sooner {
		select {
		case l.sooner <- struct{}{}:
		default:
		}
	}
	if !l.running {
		l.running = true
		go g.serve(l)
	}
}

// wait returns the result of a part, or the cause if ctx ends first.
func (g *GroupCommit[T]) wait(ctx context.Context, s *Share[T]) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		s.left = true
		return context.Cause(ctx)
	}
}

// next returns the parts of a lane's next run, or how long to pause before it is due. It returns nothing when no
// caller waits: then the lane ends, unless it has an open run.
func (g *GroupCommit[T]) next(l *Lane[T], open bool, fits func(waiting []*Share[T]) (n int, full bool)) ([]*Share[T], time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	// While Redis does not answer, callers join and give up.
	l.waiting = slices.DeleteFunc(l.waiting, func(s *Share[T]) bool { return s.left })
	if len(l.waiting) == 0 {
		l.running = open
		return nil, 0
	}
	n, full := fits(l.waiting)
	if wait := time.Until(l.due); wait > 0 && n == len(l.waiting) && !full {
		return nil, wait
	}
	some := l.waiting[:n:n]
	if l.waiting = l.waiting[n:]; len(l.waiting) > 0 {
		l.waiting = slices.Clone(l.waiting) // they have a run of their own next, with the same due time
	} else {
		l.waiting = nil // an idle lane keeps no part in memory
	}
	return some, 0
}

// pause waits for that time, or until the next run may begin sooner.
func (l *Lane[T]) pause(wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-l.sooner:
	}
}
