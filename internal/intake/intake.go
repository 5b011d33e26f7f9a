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

// acceptor takes a message for sending. It returns when the message is durable, or an
// error: message.ErrKeyReused, or else the store cannot be relied upon just now.
type acceptor interface {
	Accept(ctx context.Context, m message.Message) (message.Acceptance, error)
}

// reader finds a message again, or returns message.ErrNotFound.
type reader interface {
	Get(ctx context.Context, id string) (message.Record, error)
}

// drain estimates how long until a new message of a number and class would leave. It may
// block for a moment; with an error nothing is known, and its maker has told so.
type drain func(ctx context.Context, number string, c message.Class) (time.Duration, error)

// Options says what an Intake works with.
type Options struct {
	Acceptor   acceptor                                            // required
	Reader     reader                                              // required
	Keys       httpapi.Keys                                        // who may call; nobody without
	Numbers    func(number string) bool                            // whether a phone number id is configured; required
	Policy     func(number string, c message.Class) message.Policy // nil: message.DefaultPolicy
	Drain      drain                                               // nil: nothing is refused for the backlog before it
	Explain    func(code int) (title, advice string)               // tells people of Meta's error codes; nil: records show the bare code
	Log        *slog.Logger                                        // nil: no log
	Registerer prometheus.Registerer                               // nil: the metrics are not exported
}

// storeTimeout bounds the calls of the store for one request, so that a caller gets an answer before the
// server's own time to write one (10 s) is over.
const storeTimeout = 5 * time.Second

// drainTimeout bounds the question how long a message would wait: nobody waits long for it.
const drainTimeout = 500 * time.Millisecond

// Intake is the front door. It is safe for concurrent use; the zero value is not usable.
type Intake struct {
	o       Options
	metrics *metrics
}

// New makes an Intake.
func New(o Options) *Intake {
	if o.Policy == nil {
		o.Policy = func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) }
	}
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Intake{o: o, metrics: newMetrics(o.Registerer)}
}

// Handler serves the API: the routes of the table in routes.go and nothing else. It sets no
// timeouts: the server it is given to does.
func (in *Intake) Handler() http.Handler { return httpapi.Handler(in.routes()) }
