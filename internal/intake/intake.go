// Package intake is the HTTP API for callers. It checks the message of a request, stores it through an acceptor,
// and answers that the message is accepted only when it is durable. It also reads, lists, explains and cancels
// messages, and serves some of Meta's own paths.
package intake

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/httpapi"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
	"sluice/internal/tracing"
)

// acceptor stores messages for sending. Without an error the message is durable. With message.ErrKeyReused or
// message.ErrFull it is not stored. Any other error means that storage is temporarily unavailable, and the message
// may or may not be stored.
type acceptor interface {
	Accept(ctx context.Context, m message.Message) (message.Acceptance, error)
	// AcceptAll accepts up to some hundred messages, and returns a result for each, in order. Of messages with the
	// same id it accepts the first, and the others are duplicates. It does not keep the slice.
	AcceptAll(ctx context.Context, messages []message.Message) []message.AcceptResult
	// Repeats returns the id of the message that each message repeats because it has the same key; empty: it repeats none. Accept returns
	// a duplicate then, or message.ErrKeyReused.
	Repeats(ctx context.Context, messages []message.Message) ([]string, error)
}

// reader reads records.
type reader interface {
	// Get returns the record of a message, or message.ErrNotFound.
	Get(ctx context.Context, id string) (message.Record, error)
	// Progress returns the record of each message. It is zero if there is none.
	Progress(ctx context.Context, ids []string) ([]message.Record, error)
}

// finder finds messages.
type finder interface {
	// ByRef, ByWAMID and ByRecipient return the latest messages of some numbers, at most one hundred, the latest first: with a
	// reference, with an id of Meta's, and to a recipient. Numbers nil, not for ByRef, means all numbers. ByRecipient may return
	// message.ErrNoIndex.
	ByRef(ctx context.Context, numbers []string, ref string) ([]message.Record, error)
	ByWAMID(ctx context.Context, numbers []string, wamid string) ([]message.Record, error)
	ByRecipient(ctx context.Context, numbers []string, recipient string) ([]message.Record, error)
	// List returns about limit records that a filter selects, from a position, and the position after them; nil:
	// there are no more.
	List(ctx context.Context, f message.ListFilter, from message.ListPosition, limit int) ([]message.Record, *message.ListPosition, error)
}

// waiting finds what messages wait for.
type waiting interface {
	// QueueStatus returns the holds, the task and the place in the queue of a queued message.
	QueueStatus(ctx context.Context, r message.Record) (message.QueueStatus, error)
}

// canceller cancels messages.
type canceller interface {
	// Cancel cancels a message if that is still possible, and returns its state afterwards. It may return
	// message.ErrNotFound.
	Cancel(ctx context.Context, id string) (message.State, error)
}

// eta estimates how long a new message of a number, class and flow would wait. It blocks for at most half a second. After
// an error the wait is unknown, and eta has logged the cause.
type eta func(ctx context.Context, number string, c message.Class, f message.Flow) (time.Duration, error)

// classes finds the class of a message whose request has none. It does not block.
type classes interface {
	Class(number string, c message.Content) message.Class
}

// defaultClasses are the classes of message.DefaultClass.
type defaultClasses struct{}

func (defaultClasses) Class(_ string, c message.Content) message.Class {
	return message.DefaultClass(c)
}

// catalogue knows the templates of accounts.
type catalogue interface {
	// Check compares a template message with Meta's description of its template. It does not block. The paths of the problems are
	// relative to the object. unchecked is true if the description is too old.
	Check(number string, object jsondoc.Value, c message.Content) (problems []message.Problem, unchecked bool)
	// Want lets the workers read the templates of a number's account again.
	Want(ctx context.Context, number string) error
}

// quotas has the quotas of clients.
type quotas interface {
	// Take counts messages of clients, and returns an error for each that is not counted: a *message.QuotaError, or why the
	// quota is not known. It returns nil without a round trip if no client of the messages has a quota.
	// back takes back the messages at some places, which were counted and not accepted, or refused and are accepted or counted anew.
	Take(ctx context.Context, all []message.Message) (refused []error, back func(places []int))
	// Used returns what is used of the quotas of some clients. Clients without quotas are left out.
	Used(ctx context.Context, clients []string) ([]message.QuotaUse, error)
}

// suppressions has the people who opted out.
type suppressions interface {
	// On reports whether there is a secrets key, without which there are no suppression lists.
	On() bool
	// Check returns the entry of the recipient of each message that it suppresses; nil, without a round trip, if none is concerned.
	Check(ctx context.Context, all []*message.Message) ([]*message.Suppression, error)
	// Add adds people to the list of a client, and Remove removes them.
	Add(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error)
	Remove(ctx context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error)
	// Get returns the entry of a person, with the masked recipient; nil: there is none.
	Get(ctx context.Context, client, recipient string) (*message.Suppression, error)
	// Page returns entries after a position, the latest first, and the position after them; empty: there are no more.
	Page(ctx context.Context, client, after string, limit int, whole bool) (all []message.Suppression, next string, err error)
}

// usage returns what Meta took of a client, or of all if it is empty, from a day to another one, both included.
type usage func(ctx context.Context, client string, from, to time.Time) ([]message.Usage, error)

// Options configure an Intake.
type Options struct {
	Acceptor   acceptor                                                                 // required
	Reader     reader                                                                   // required
	Finder     finder                                                                   // required to list messages
	Waiting    waiting                                                                  // required to explain messages
	Canceller  canceller                                                                // required to cancel messages
	Keys       httpapi.Keys                                                             // the API keys; empty: every request is refused
	Numbers    func(number string) bool                                                 // reports whether a phone number id is configured; required
	Accepts    func(number string) bool                                                 // reports whether new messages of a number are accepted; nil: those of Numbers
	Owner      func(number string) string                                               // returns the client of a number; nil: numbers have none
	SharedWith func(number string) []string                                             // returns the other clients that may send from a number; nil: none may
	Quotas     quotas                                                                   // nil: clients have no quotas
	Budgets    func(ctx context.Context, clients []string) ([]message.BudgetUse, error) // returns what is spent of the budgets of some clients; nil: they have none
	Uploads    uploads                                                                  // required to upload media
	Estimate   func(m *message.Message, at time.Time) *message.Cost                     // returns what a message costs that is sent at a time; nil: it is not known. It does not block. Nil: no price is known
	Usage      usage                                                                    // nil: nothing is counted
	Clients    func() []string                                                          // the clients of the directory; nil: there are none
	MovedTo    func(number string) []string                                             // returns the numbers whose messages were moved to a number; nil: there are none
	Cancelled  func(message.Flow) bool                                                  // whether the messages of a campaign are refused; nil: none is
	Campaigns  campaigns                                                                // required to read and cancel campaigns
	Own        func(number string) string                                               // returns the phone number of an id, in E.164; empty, or nil: unknown
	Policy     func(number string, c message.Class) message.Policy                      // nil: message.DefaultPolicy
	Classes    classes                                                                  // nil: message.DefaultClass
	Templates  catalogue                                                                // nil: templates are not checked
	Refuse     func(number string) bool                                                 // reports whether messages of a number with an unknown type are refused; nil: they are accepted
	Offset     func() time.Duration                                                     // returns how far Redis's clock, which decides about deadlines, is ahead of the clock of this machine; nil: not at all
	ETA        eta                                                                      // nil: deadlines are not compared with the backlog
	// Forecast returns a function that estimates when new messages would be sent, behind what waits and the messages of its earlier calls, which
	// come from one goroutine. Nil: it is not known.
	Forecast func() func(ctx context.Context, m *message.Message) (message.Forecast, error)
	// LimitWait estimates how long a new template message would wait for capacity under the messaging limit of the portfolio. Nil: not at all.
	LimitWait func(ctx context.Context, number string, c message.Class) (time.Duration, error)
	// CountedPerson reports whether a message of a number to a recipient needs no such capacity. Nil: it needs capacity.
	CountedPerson func(ctx context.Context, number, recipient string) bool
	// Elsewhere returns until when another app owns the conversations that new service messages are in, by the messages; zero: none
	// does, or their numbers accept such messages. Nil: no conversation has another owner.
	Elsewhere func(ctx context.Context, all []*message.Message) ([]time.Time, error)
	// OutsideWindow reports which new free-form messages have a recipient whose customer service window is closed, by the messages, of
	// numbers that refuse such messages. Nil: none has.
	OutsideWindow func(ctx context.Context, all []*message.Message) ([]bool, error)
	WindowClosed  func(replaced bool)   // counts these messages; required with OutsideWindow
	Media         mediaChecker          // required to check media
	Suppressions  suppressions          // nil: there are none
	Suppressed    func(c message.Class) // counts refused messages; required with Suppressions
	// Account returns the messaging account of messages of a number that name none; empty, or nil: Meta chooses.
	Account    func(number string) string
	Explain    func(code int) (title, advice string) // explains Meta's error codes; nil: records have the code only
	Passes     func(code int) bool                   // reports whether a code is for a temporary fault; nil: no code is
	Graph      graph                                 // forwards calls to Meta; nil: they are refused
	More       []httpapi.Route                       // further routes, of other packages
	All        func() []string                       // the configured phone number ids; nil: none
	Accounts   accounts                              // knows the accounts of numbers; nil: calls of accounts are refused
	Version    string                                // of the Graph API, for paths without one; empty: v25.0
	Tracer     *tracing.Tracer                       // nil: no traces
	Log        *slog.Logger                          // nil: no logs
	Registerer prometheus.Registerer                 // nil: the metrics are not registered
}

// storeTimeout is the time limit of Redis for one request. It is shorter than the 20 s that the server has to read
// a request and to answer it.
const storeTimeout = 5 * time.Second

// Intake serves the API for callers. It is safe for concurrent use. Create it with New.
type Intake struct {
	o       Options
	metrics *metrics
	watch   *watch
	stopped chan struct{}

	media   memory // media: the number that it belongs to
	objects memory // flows and templates: the account that they belong to
}

// now returns the time of Redis's clock.
func (in *Intake) now() time.Time { return time.Now().Add(in.o.Offset()) }

// New returns an Intake.
func New(o Options) *Intake {
	if o.Policy == nil {
		o.Policy = func(_ string, c message.Class) message.Policy { return message.DefaultPolicy(c) }
	}
	if o.Offset == nil {
		o.Offset = func() time.Duration { return 0 }
	}
	if o.Classes == nil {
		o.Classes = defaultClasses{}
	}
	if o.Passes == nil {
		o.Passes = func(int) bool { return false }
	}
	if o.Own == nil {
		o.Own = func(string) string { return "" }
	}
	if o.Account == nil {
		o.Account = func(string) string { return "" }
	}
	if o.Owner == nil {
		o.Owner = func(string) string { return "" }
	}
	if o.Usage == nil {
		o.Usage = func(context.Context, string, time.Time, time.Time) ([]message.Usage, error) { return nil, nil }
	}
	if o.Clients == nil {
		o.Clients = func() []string { return nil }
	}
	if o.SharedWith == nil {
		o.SharedWith = func(string) []string { return nil }
	}
	if o.Accepts == nil {
		o.Accepts = o.Numbers
	}
	if o.MovedTo == nil {
		o.MovedTo = func(string) []string { return nil }
	}
	if o.All == nil {
		o.All = func() []string { return nil }
	}
	if o.Refuse == nil {
		o.Refuse = func(string) bool { return false }
	}
	o.Version = cmp.Or(o.Version, "v25.0")
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	return &Intake{o: o, metrics: newMetrics(o.Registerer), watch: newWatch(o.Reader.Progress), stopped: make(chan struct{})}
}

// Stop ends requests that may take long: batches, and requests that wait for a state. They answer with the results
// so far. Call it once, before the server shuts down.
func (in *Intake) Stop() { close(in.stopped) }

// Handler serves the routes in routes.go and graph_routes.go. The caller must set the timeouts of the server.
func (in *Intake) Handler() http.Handler {
	own := httpapi.Handler(in.routes())
	meta := in.graphHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if theirs := in.graphRequest(r); theirs != nil {
			meta.ServeHTTP(w, theirs)
			return
		}
		own.ServeHTTP(w, r)
	})
}
