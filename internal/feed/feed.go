// Package feed serves the events over HTTP: pages with a cursor, long polls, and streams of server-sent events. It
// keeps the cursors of callers that have no place to keep one.
package feed

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/events"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// tail reads the event streams.
type tail interface {
	Shards() message.Shards
	Read(ctx context.Context, key string, after events.Place, most int) ([]events.Line, error)
	Changed() <-chan struct{}
	Last(ctx context.Context) (map[string]events.Place, error)
	Oldest(ctx context.Context) (map[string]events.Place, error)
	At(ctx context.Context, at time.Time) (map[string]events.Place, error)
}

// Options configure a Feed.
type Options struct {
	Tail       tail                                  // required
	Names      *Names                                // keeps the named cursors; required
	MessagesOf events.MessagesOf                     // required
	Accounts   *events.Accounts                      // nil: only events that name their account match waba_id
	Keys       httpapi.Keys                          // the API keys; empty: every request is refused
	Offset     func() time.Duration                  // returns how far Redis's clock is ahead of the clock of this machine; nil: not at all
	Clients    int                                   // how many callers may read events at a time, and half as many with one API key; 0: 250
	Left       func(context.Context) <-chan struct{} // returns a channel that is closed when the caller of a request has left; required
	Log        *slog.Logger                          // nil: no logs
	Registerer prometheus.Registerer
}

// Limits of the feed.
const (
	defaultLimit   = 100  // events on a page
	maxLimit       = 1000 // events on a page
	batchLines     = 500  // events in one write of a stream
	streamChunk    = 100  // events of each stream of Redis that a stream has in memory, about 250 KB
	maxWait        = 30 * time.Second
	usualKeepAlive = 15 * time.Second // a stream without events gets a comment after this time
	storeTimeout   = 5 * time.Second  // of Redis for one read
	scanTime       = 2 * time.Second  // how long one read looks for events that the filter selects
	writeTimeout   = 30 * time.Second // a caller must take a page, or a part of a stream, within this time
)

// Feed serves the events. It is safe for concurrent use. Create it with New.
type Feed struct {
	o       Options
	metrics metrics
	stopped chan struct{}

	mu      sync.Mutex
	clients int
	ofKey   map[string]int // clients by the hash of their API key

	keepAlive time.Duration
}

// New returns a Feed. It does not access Redis.
func New(o Options) *Feed {
	if o.Offset == nil {
		o.Offset = func() time.Duration { return 0 }
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	o.Clients = cmp.Or(o.Clients, 250)
	return &Feed{o: o, metrics: newMetrics(o.Registerer), stopped: make(chan struct{}), ofKey: map[string]int{}, keepAlive: usualKeepAlive}
}

// Stop ends long polls and streams. Call it once, before the server shuts down.
func (f *Feed) Stop() { close(f.stopped) }

// now returns the time of Redis's clock.
func (f *Feed) now() time.Time { return time.Now().Add(f.o.Offset()) }

// events serves GET /v1/events.
func (f *Feed) events(w http.ResponseWriter, r *http.Request) {
	q, refused := f.query(r)
	if refused == nil {
		refused = f.enter(string(q.key.Hash))
	}
	if refused != nil {
		refused.Write(w)
		return
	}
	defer f.leave(string(q.key.Hash))
	at, refused := f.start(r.Context(), q)
	if refused != nil {
		refused.Write(w)
		return
	}
	if q.stream {
		f.stream(w, r, q, at)
		return
	}
	f.page(w, r, q, at)
}

// enter counts a caller with an API key. It refuses one too many, so that the feed never uses all connections of the API, and one
// key never the whole feed.
func (f *Feed) enter(key string) httpapi.Refusal {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.clients >= f.o.Clients || f.ofKey[key] >= max(1, f.o.Clients/2) {
		return httpapi.Refuse("feed_busy")
	}
	f.clients++
	f.ofKey[key]++
	return nil
}

// leave ends what enter began.
func (f *Feed) leave(key string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.clients--
	f.ofKey[key]--
}

// unavailable logs an error of Redis and returns the refusal.
func (f *Feed) unavailable(err error) httpapi.Refusal {
	f.o.Log.Error("cannot read events", slog.Any("err", err))
	return httpapi.Refuse("events_unavailable")
}
