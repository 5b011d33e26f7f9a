// Package intake is the front door: it turns an HTTP request into a checked message, hands
// it to whoever keeps messages, and says that it was accepted only when it is durable.
package intake

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// acceptor stores messages for sending. A message is durable when there is no error with it. An
// error is message.ErrKeyReused, message.ErrFull, or something else: storage is temporarily
// unavailable, and the message may or may not have been stored.
type acceptor interface {
	Accept(ctx context.Context, m message.Message) (message.Acceptance, error)
	// AcceptAll accepts several messages as a group, up to some hundreds, and returns a result for
	// each, in their order. Of messages with the same id the first is accepted, and the others
	// repeat it. It does not keep the slice.
	AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult
}

// reader finds a message again, or returns message.ErrNotFound.
type reader interface {
	Get(ctx context.Context, id string) (message.Record, error)
	// Progress returns the record of each message, zero where there is none.
	Progress(ctx context.Context, ids []string) ([]message.Record, error)
}

// finder finds messages.
type finder interface {
	// ByRef returns a number's messages with a reference, the latest first.
	ByRef(ctx context.Context, number, ref string) ([]message.Record, error)
	// List returns about limit records that a filter selects, from a position on, and the position after
	// them; nil: none follow.
	List(ctx context.Context, f message.ListFilter, from message.ListPosition, limit int) ([]message.Record, *message.ListPosition, error)
}

// waiting says what messages wait for.
type waiting interface {
	// Standing returns what a queued message waits for, beside its record.
	QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error)
}

// canceller cancels messages.
type canceller interface {
	// Cancel cancels a message that may still be cancelled, and returns its state then; or
	// message.ErrNotFound.
	Cancel(ctx context.Context, id string) (message.State, error)
}

// drain estimates how long until a new message of a number and class would leave. It may block
// for half a second at most; with an error nothing is known, and the drain has logged why.
type drain func(ctx context.Context, number string, c message.Class) (time.Duration, error)

// Options says what an Intake works with.
type Options struct {
	Acceptor   acceptor                                             // required
	Reader     reader                                               // required
	Finder     finder                                               // required to find messages
	Waiting    waiting                                              // required to explain what a message waits for
	Canceller  canceller                                            // required to cancel
	Keys       httpapi.Keys                                         // who may call; nobody without
	Numbers    func(number string) bool                             // whether a phone number id is configured; required
	Own        func(number string) string                           // the phone number of an id, in E.164; empty, or nil: not known
	Policy     func(number string, c message.Class) message.Policy  // nil: message.DefaultPolicy
	Class      func(number string, c message.Content) message.Class // of a message whose caller names none; nil: message.DefaultClass
	Refuse     func(number string) bool                             // whether messages of a number with a type that is not known here are refused; nil: they pass
	Offset     func() time.Duration                                 // how far the store's clock, which decides on deadlines, is ahead of this machine's; nil: not at all
	Drain      drain                                                // nil: nothing is refused for the backlog before it
	Explain    func(code int) (title, advice string)                // tells people of Meta's error codes; nil: records show the bare code
	Passes     func(code int) bool                                  // whether a code is for a fault that passes by itself; nil: none is
	Graph      graph                                                // passes calls on to Meta; nil: none are
	Log        *slog.Logger                                         // nil: no log
	Registerer prometheus.Registerer                                // nil: the metrics are not exported
}

// storeTimeout bounds the calls of the store for one request, so that a caller gets an answer before the
// server's own time to write one (20 s, in which the body comes too) is over.
const storeTimeout = 5 * time.Second

// Intake is the front door. It is safe for concurrent use; the zero value is not usable.
type Intake struct {
	o       Options
	metrics *metrics
	watch   *watch
	stopped chan struct{}
}

// now is the time by the store's clock.
func (in *Intake) now() time.Time { return time.Now().Add(in.o.Offset()) }

// New makes an Intake.
func New(o Options) *Intake {
	if o.Policy == nil {
		o.Policy = func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) }
	}
	if o.Offset == nil {
		o.Offset = func() time.Duration { return 0 }
	}
	if o.Class == nil {
		o.Class = func(_ string, c message.Content) message.Class { return message.DefaultClass(c) }
	}
	if o.Passes == nil {
		o.Passes = func(int) bool { return false }
	}
	if o.Own == nil {
		o.Own = func(string) string { return "" }
	}
	if o.Refuse == nil {
		o.Refuse = func(string) bool { return false }
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Intake{o: o, metrics: newMetrics(o.Registerer), watch: newWatch(o.Reader.Progress), stopped: make(chan struct{})}
}

// Stop tells requests that may take long, batches and callers who wait, to come to their end:
// they answer with what they have. It is called once, before the server waits for them.
func (in *Intake) Stop() { close(in.stopped) }

// Handler serves the API: the routes of the tables in routes.go and graph.go and nothing else.
// It sets no timeouts: the server it is given to does.
func (in *Intake) Handler() http.Handler {
	own := httpapi.Handler(in.routes())
	meta := httpapi.Frame(httpapi.Mux(in.graphRoutes(), func(w http.ResponseWriter, code string) { in.graphRefuse(w, refuse(code)) }))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if graphPath(r.URL.Path) {
			meta.ServeHTTP(w, decoded(r))
			return
		}
		own.ServeHTTP(w, r)
	})
}
