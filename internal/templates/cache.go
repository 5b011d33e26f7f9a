package templates

import (
	"context"
	"sync"
	"time"
)

// cache remembers the accounts of numbers. Callers that ask for the same number share one request to Meta. It is safe for
// concurrent use.
type cache struct {
	ask   func(ctx context.Context, number string) (account string, err error) // asks Meta
	ready func(number string) bool                                             // reports whether there is an access token to ask with

	mu      sync.Mutex
	entries map[string]*entry
	failed  map[string]time.Time // by number: until when it is not asked for, because a request failed
	running chan struct{}        // has an element for each request
}

// entry is an answer of Meta, or a request for one.
type entry struct {
	account string
	known   bool
	due     time.Time     // when Meta is asked again
	asking  chan struct{} // closed when the running request has ended; nil: none is running
}

func newCache(ready func(string) bool, ask func(context.Context, string) (string, error)) *cache {
	return &cache{ask: ask, ready: ready, entries: map[string]*entry{}, failed: map[string]time.Time{}, running: make(chan struct{}, maxRequests)}
}

// get returns the account of a number. It does not block. If there is no answer, or an old one, it starts a request to Meta.
// pending is closed when the first request has ended; nil: there is nothing to wait for, and without an answer account is
// empty.
func (c *cache) get(number string) (account string, pending <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e, now := c.entries[number], time.Now()
	if e == nil {
		e = &entry{}
	}
	switch {
	case e.asking != nil && !e.known:
		return "", e.asking
	case e.asking != nil, e.known && now.Before(e.due), now.Before(c.failed[number]), !c.ready(number):
		return e.account, nil
	}
	c.entries[number] = e
	e.asking = make(chan struct{})
	go c.fill(number, e)
	if e.known {
		return e.account, nil
	}
	return "", e.asking
}

// fill makes a request. After an error a known answer stays in use.
func (c *cache) fill(number string, e *entry) {
	var account string
	var err error
	asked := false
	select {
	case c.running <- struct{}{}:
		asked = true
		ctx, cancel := context.WithTimeout(context.Background(), requestTime)
		account, err = c.ask(ctx, number)
		cancel()
		<-c.running
	case <-time.After(requestTime): // too many others
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	switch {
	case asked && err == nil:
		e.account, e.known, e.due = account, true, now.Add(fresh)
	case asked:
		c.failed[number] = now.Add(afterFailure)
	}
	if !e.known {
		delete(c.entries, number)
	}
	close(e.asking)
	e.asking = nil
}
