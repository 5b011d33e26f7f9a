package templates

import (
	"context"
	"sync"
	"time"
)

// cache remembers answers of Meta by their keys. Callers that ask for the same key share one request to Meta. It is safe
// for concurrent use.
type cache[K comparable, V any] struct {
	// ask asks Meta with the access token of a number. again is how long the answer is used before Meta is asked again.
	ask   func(ctx context.Context, number string, k K) (value V, again time.Duration, err error)
	ready func(number string) bool // reports whether there is an access token to ask with

	most    int // entries
	mu      sync.Mutex
	entries map[K]*entry[V]
	failed  map[string]time.Time // by number: until when it is not asked for, because a request failed
	running chan struct{}        // has an element for each request
}

// entry is an answer of Meta, or a request for one.
type entry[V any] struct {
	value  V
	known  bool
	due    time.Time     // when Meta is asked again
	asking chan struct{} // closed when the running request has ended; nil: none is running
}

func newCache[K comparable, V any](ready func(string) bool, ask func(context.Context, string, K) (V, time.Duration, error)) *cache[K, V] {
	return &cache[K, V]{ask: ask, ready: ready, most: maxEntries, entries: map[K]*entry[V]{}, failed: map[string]time.Time{}, running: make(chan struct{}, maxRequests)}
}

// get returns the answer for a key. It does not block. If there is none, or an old one, it starts a request to Meta.
// pending is closed when the first request has ended; nil: there is nothing to wait for, and without an answer value is
// zero.
func (c *cache[K, V]) get(number string, k K) (value V, pending <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, now := c.entries[k], time.Now()
	if e == nil {
		e = &entry[V]{}
	}
	switch {
	case e.asking != nil && !e.known:
		return value, e.asking
	case e.asking != nil, e.known && now.Before(e.due), now.Before(c.failed[number]), !c.ready(number):
		return e.value, nil
	}
	c.add(k, e)
	e.asking = make(chan struct{})
	go c.fill(number, k, e)
	if e.known {
		return e.value, nil
	}
	return value, e.asking
}

// add adds an entry. If there are too many, it removes another one, whichever.
func (c *cache[K, V]) add(k K, e *entry[V]) {
	if c.entries[k] == nil && len(c.entries) >= c.most {
		for other := range c.entries {
			delete(c.entries, other)
			break
		}
	}
	c.entries[k] = e
}

// fill makes a request. After an error a known answer stays in use.
func (c *cache[K, V]) fill(number string, k K, e *entry[V]) {
	var value V
	var again time.Duration
	var err error
	asked := false
	select {
	case c.running <- struct{}{}:
		asked = true
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		value, again, err = c.ask(ctx, number, k)
		cancel()
		<-c.running
	case <-time.After(requestTime): // too many others
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case asked && err == nil:
		e.value, e.known, e.due = value, true, now.Add(again)
	case asked:
		c.failed[number] = now.Add(afterFailure)
	}
	if !e.known && c.entries[k] == e {
		delete(c.entries, k)
	}
	close(e.asking)
	e.asking = nil
}
