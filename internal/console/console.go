// Package console is the API of operators. It lists what is held, in doubt or in the dead-letter list, and carries
// out the orders that change it. Each order names its actor and a reason, and is stored in the audit log.
package console

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// holds stores holds.
type holds interface {
	List(ctx context.Context) ([]message.Hold, error)
	// CountHeld returns how many messages each of some holds keeps from being sent.
	CountHeld(ctx context.Context, holds []message.Hold) (byHold []int, byNumber map[string]int, err error)
	// Set sets a hold that ends at a time by this machine's clock, and returns the one in force, which ends by Redis's clock.
	Set(ctx context.Context, h message.Hold) (message.Hold, error)
	Release(ctx context.Context, h message.Hold) (bool, error)
}

// lists reads the lists of messages that operators decide about.
type lists interface {
	InDoubt(ctx context.Context, number string, limit int) ([]message.Record, error)
	AwaitingStatus(ctx context.Context, number string, before time.Time, limit int) ([]message.Record, error)
	Dead(ctx context.Context, filter message.DeadFilter, f func(message.DeadLetter) bool) error
	Ended(ctx context.Context, filter message.EndedFilter, f func(message.Ended) bool) error
}

// mover changes the state of messages.
type mover interface {
	// ReadOpen returns a message as it is now, or message.ErrNotFound. Move changes its state, and writes a new
	// task if it needs one. If the message changed since ReadOpen, Move does nothing and returns false.
	ReadOpen(ctx context.Context, id string) (message.Open, error)
	Move(ctx context.Context, o message.Open, m message.Move) (bool, error)
	// ReadEnded returns a message with what decides whether it can be sent again, or message.ErrNotFound.
	ReadEnded(ctx context.Context, id string) (message.Ended, error)
}

// auditStore stores the orders of operators.
type auditStore interface {
	Add(ctx context.Context, entry message.AuditEntry) error
	// Latest returns up to limit entries, the latest first.
	Latest(ctx context.Context, limit int) ([]message.AuditEntry, error)
}

// Options are what a Console works with. All but People, Personal, Limits, Traces, Archived, Reports and the last four are required.
type Options struct {
	Holds      holds
	Lists      lists
	Messages   mover
	Audit      auditStore
	Relay      relayTargets
	Campaigns  campaigns
	Schedules  scheduled
	Fleet      numbers
	Directory  entries
	Onboarding onboarder
	Templates  templates
	// SyncTemplates lets workers read the templates of an account from Meta.
	SyncTemplates func(ctx context.Context, account string) error
	Accounts      func(ctx context.Context) (map[string]string, error) // the WhatsApp Business Accounts that are known, by phone number id
	Rates         rates
	People        names                                 // nil: there is no index of recipients
	Personal      personal                              // of the people
	Limits        limits                                // of the people; nil: there are none
	Suppressions  suppressed                            // nil: there are none
	Traces        []Traces                              // what else is stored about people
	Archived      archived                              // of the people; nil: there is no archive
	Reports       reports                               // of the archive; nil: there is no archive
	Keys          httpapi.Keys                          // keys with httpapi.ScopeConsole may read, those with httpapi.ScopeAdmin may act
	Numbers       func(number string) bool              // whether a phone number id is configured
	ClockOffset   func() time.Duration                  // how far Redis's clock, which decides about deadlines, is ahead of the clock of this machine; nil: not at all
	Explain       func(code int) (title, advice string) // explains Meta's error codes; nil: groups have the code only
	Log           *slog.Logger                          // nil: no log
	Registerer    prometheus.Registerer                 // nil: the metrics are not exported
}

// storeTimeout bounds the calls of the store for one request.
const storeTimeout = 8 * time.Second

// Console serves operators. It is safe for concurrent use.
type Console struct {
	o      Options
	orders *prometheus.CounterVec
}

// New makes a Console.
func New(o Options) *Console {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	if o.ClockOffset == nil {
		o.ClockOffset = func() time.Duration { return 0 }
	}
	orders := promauto.With(o.Registerer).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_operator_actions_total",
		Help: "Actions of operators that were carried out, by action: hold, release, resolution of an in-doubt message, replay, resend, note, rate, relay-set, relay-remove, relay-drop, the kind of an entry of the directory with -set or -remove, number-drain, number-cancel, number-move, import, reencrypt, onboard, registration, template-sync, person-export, person-delete, campaign-cancel, campaign-open, campaign-set, schedule-remove.",
	}, []string{"action"})
	for _, verb := range []string{message.VerbHold, message.VerbRelease, message.VerbSent, message.VerbNotSent, message.VerbCancel, message.VerbReplay, message.VerbResend, message.VerbNote, message.VerbRate, message.VerbRelaySet, message.VerbRelayRemove, message.VerbRelayDrop, message.VerbOnboard, message.VerbRegistration, message.VerbTemplates, message.VerbPersonExport, message.VerbPersonDelete, message.VerbCampaignCancel, message.VerbCampaignOpen, message.VerbCampaignSet, message.VerbScheduleRemove} {
		orders.WithLabelValues(verb)
	}
	for _, verb := range directoryVerbs() {
		orders.WithLabelValues(verb)
	}
	if o.Explain == nil {
		o.Explain = func(int) (string, string) { return "", "" }
	}
	return &Console{o: o, orders: orders}
}

// now returns the time of Redis's clock.
func (c *Console) now() time.Time { return time.Now().Add(c.o.ClockOffset()) }

// Handler serves the routes of the table in routes.go. It sets no timeouts.
func (c *Console) Handler() http.Handler { return httpapi.Handler(c.routes()) }

// handle makes a handler from a function that returns an answer or a refusal. GET requests need the scope
// console:read, and the others admin.
func (c *Console) handle(f func(ctx context.Context, w http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		scope := httpapi.ScopeAdmin
		if r.Method == http.MethodGet || r.Method == http.MethodHead {
			scope = httpapi.ScopeConsole
		}
		key, refused := c.o.Keys.Authorize(r, scope)
		if refused != nil {
			refused.Write(w)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), storeTimeout)
		defer cancel()
		answer, refused := f(ctx, w, r, key)
		if refused != nil {
			refused.Write(w)
			return
		}
		httpapi.WriteJSON(w, "application/json", http.StatusOK, answer)
	}
}

// unavailable returns the refusal of a request for which the store failed.
func (c *Console) unavailable(operation string, err error) httpapi.Refusal {
	c.o.Log.Error("cannot complete console request", "operation", operation, "err", err)
	return httpapi.Refuse("store_unavailable")
}

// messageOf returns the id of the message in the path. It refuses a message that the key does not cover.
func messageOf(r *http.Request, key httpapi.Key) (string, httpapi.Refusal) {
	id := r.PathValue("id")
	if number, ok := message.Number(id); !ok || !key.Covers(number) {
		return "", httpapi.Refuse("not_found")
	}
	return id, nil
}

// order is the part that all orders have.
type order struct {
	Actor  string `json:"actor" doc:"The person who gives the order, 1 to 64 characters. Names that begin with sluice are reserved."`
	Reason string `json:"reason" doc:"Why the order is given, 1 to 200 characters. It is stored in the audit log."`
}

// signed refuses orders without an actor or a reason, and those in the name of Sluice.
func (o order) signed() (wrong httpapi.Refusal) {
	switch {
	case !words(o.Actor, 64):
		wrong = append(wrong, httpapi.Problem("actor", "actor_missing"))
	case message.ReservedActor(o.Actor):
		wrong = append(wrong, httpapi.Problem("actor", "actor_reserved"))
	}
	if !words(o.Reason, 200) {
		wrong = append(wrong, httpapi.Problem("reason", "reason_missing"))
	}
	return wrong
}

// words reports whether a text is not blank and has at most so many characters.
func words(s string, most int) bool {
	return strings.TrimSpace(s) != "" && utf8.ValidString(s) && utf8.RuneCountInString(s) <= most && !strings.ContainsFunc(s, unicode.IsControl)
}

// trial is the part of orders that can be tried.
type trial struct {
	DryRun bool `json:"dry_run,omitempty" doc:"true: change nothing, and answer what would be done. Then actor and reason may be missing."`
}

// signed refuses orders without an actor or a reason, except on a dry run.
func (t trial) signed(o order) httpapi.Refusal {
	if t.DryRun {
		return nil
	}
	return o.signed()
}

func (o order) entry(verb, on string, key httpapi.Key) message.AuditEntry {
	return message.AuditEntry{Verb: verb, On: on, Actor: o.Actor, Key: key.Name, Reason: o.Reason}
}
