package store

import (
	"context"
	"slices"
	"sync"
	"time"
)

// lanes let callers share round trips: who comes while a run of a lane is under way gathers for its
// next run. A goroutine serves a lane while callers wait in it.
type lanes[T any] struct {
	full  int            // of a new lane
	serve func(*lane[T]) // serves a lane until next returns nothing

	mu sync.Mutex
	of map[string]*lane[T]
}

// lane is the callers who share runs: all of a server, or in a Cluster all of a slot.
type lane[T any] struct {
	name    string
	full    int // see serve of the owner: at so many callers a run may be full
	waiting []*share[T]
	due     time.Time     // when the next run begins
	sooner  chan struct{} // due was brought forward, or the run may be full
	running bool
}

// share is one caller's part of a run.
type share[T any] struct {
	part T
	lane string
	done chan struct{}
	err  error
	left bool // its caller has gone
}

// end answers the caller.
func (s *share[T]) end(err error) {
	s.err = err
	close(s.done)
}

// join adds parts to their lanes, all at once. Their runs begin within a time.
func (ls *lanes[T]) join(within time.Duration, laneOf func(T) string, parts ...T) []*share[T] {
	due := time.Now().Add(within)
	all := make([]*share[T], len(parts))
	for i, p := range parts {
		all[i] = &share[T]{part: p, lane: laneOf(p), done: make(chan struct{})}
	}
	ls.mu.Lock()
	defer ls.mu.Unlock()
	for _, s := range all {
		ls.add(s, due)
	}
	return all
}

// add adds one part. The caller holds ls.mu.
func (ls *lanes[T]) add(s *share[T], due time.Time) {
	l := ls.of[s.lane]
	if l == nil {
		l = &lane[T]{name: s.lane, full: ls.full, sooner: make(chan struct{}, 1)}
		if ls.of == nil {
			ls.of = map[string]*lane[T]{}
		}
		ls.of[s.lane] = l
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
		go ls.serve(l)
	}
}

// wait returns the answer to a part, or the cause when ctx ends first.
func (ls *lanes[T]) wait(ctx context.Context, s *share[T]) error {
	select {
	case <-s.done:
		return s.err
	case <-ctx.Done():
		ls.mu.Lock()
		defer ls.mu.Unlock()
		s.left = true
		return context.Cause(ctx)
	}
}

// next returns the parts of a lane's next run, or how long to pause before it is due. It returns
// nothing when nobody waits: then the lane ends, unless it has something open. Pick says how many of
// the waiting parts, from the first on, fit into the run, and whether they fill it.
func (ls *lanes[T]) next(l *lane[T], open bool, pick func(waiting []*share[T]) (n int, full bool)) ([]*share[T], time.Duration) {
	ls.mu.Lock()
	defer ls.mu.Unlock()
	// While Redis does not answer, callers join and give up.
	l.waiting = slices.DeleteFunc(l.waiting, func(s *share[T]) bool { return s.left })
	if len(l.waiting) == 0 {
		l.running = open
		return nil, 0
	}
	n, full := pick(l.waiting)
	if wait := time.Until(l.due); wait > 0 && n == len(l.waiting) && !full {
		return nil, wait
	}
	some := l.waiting[:n:n]
	l.waiting = slices.Clone(l.waiting[n:]) // a run of their own follows, by the same due
	return some, 0
}

// pause waits so long, or until the next run may begin sooner.
func (l *lane[T]) pause(wait time.Duration) {
	select {
	case <-time.After(wait):
	case <-l.sooner:
	}
}
