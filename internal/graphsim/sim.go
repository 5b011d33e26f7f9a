// Package graphsim is a simulator of the WhatsApp Cloud API. It implements the part of Meta's Graph API that sending
// needs, makes faults by a seed and rates or by recipient, sends signed webhooks, and lists every message that it
// accepted, so that a test can check what was sent.
//
// Messages to magic numbers always have the same result, whatever the rates of faults. A magic number is +99999 and one
// of these codes:
//
//	131026 131047 131049 131050 131053 130472   accepted, then a failed webhook with that code
//	131009 131042 131056 132001 132015 000190   refused with that code
//	900001   not accepted: 500 with code 131000
//	900002   not accepted: a gateway's 502 in HTML
//	900003   accepted, but answered 500 with code 131000
//	900004   accepted, and the connection closed without an answer
//	900005   not accepted, and the connection reset
//	900006   not accepted, and never answered
//	900007   accepted, and never answered
//	900008   accepted, and no webhook is sent
package graphsim

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Options says how a simulator behaves. The zero value accepts everything at once, with any
// token, and sends no webhooks.
type Options struct {
	Token   string  `json:"token"`   // short for Account.Token.Value
	Rate    int     `json:"rate"`    // messages a number may send in any second; 0: no limit. A Number may have its own
	Seed    uint64  `json:"seed"`    // of all random choices; the same seed and the same sequence of calls give the same run
	Outage  bool    `json:"outage"`  // begin with a total outage; see SetOutage
	Faults  Faults  `json:"faults"`  // the random faults; zero: none
	Webhook Webhook `json:"webhook"` // the webhooks to send; zero: none
	Account Account `json:"account"` // the set-up at Meta; zero: in good standing
	Steps   []Step  `json:"steps"`   // a script; it starts with New

	PairLimit bool `json:"pair_limit"` // one message in 6 s from a number to a recipient, after a burst of 45; more are refused with 131056
	Window    bool `json:"window"`     // only templates reach a recipient that has not written for 24 hours; other messages fail with 131047

	LimitWindow Duration `json:"limit_window"` // the window of Account.Tier; 0: 24 hours

	Registry *prometheus.Registry `json:"-"` // for the metrics, which /metrics shows; nil: a new one
}

// Sim is a simulator. It is safe for concurrent use.
type Sim struct {
	options    Options
	metrics    *metrics
	began      time.Time
	standing   *atomic.Pointer[standing]
	limit      limit
	ledger     *ledger
	hooks      *hooks
	media      *mediaStore
	assets     *assets
	recipients *recipientLimits
	pacing     pacing
	script     atomic.Pointer[script]
	scripted   chan struct{} // holds a token when there is another script

	mu       sync.Mutex
	chance   *rand.Rand
	faults   Faults
	outage   bool
	requests map[string]int
	marks    int
}

// New returns a simulator. The caller serves Handler and calls Run. New panics if o does not Validate.
func New(o Options) *Sim {
	if o.Registry == nil {
		o.Registry = prometheus.NewRegistry()
	}
	now := time.Now()
	if err := o.Validate(); err != nil {
		panic("graphsim: " + err.Error())
	}
	st, _ := newStanding(o.Account, o, now)
	s := &Sim{
		options:    o,
		began:      now,
		standing:   new(atomic.Pointer[standing]),
		limit:      newLimit(),
		ledger:     newLedger(now),
		media:      newMediaStore(),
		assets:     newAssets(),
		recipients: newRecipientLimits(),
		pacing:     pacing{waiting: map[string][]pacedMessage{}},
		scripted:   make(chan struct{}, 1),
		chance:     rand.New(rand.NewPCG(o.Seed, 1)),
		faults:     o.Faults,
		outage:     o.Outage,
		requests:   map[string]int{},
	}
	s.standing.Store(st)
	s.script.Store(newScript(o.Steps, now))
	s.metrics = newMetrics(o.Registry, s)
	// Webhooks have random numbers of their own, so that a change of faults does not change the reports of
	// messages.
	s.hooks = newHooks(o.Webhook, rand.New(rand.NewPCG(o.Seed, 2)), s.metrics, s.standing, s.wrote, s.ledger.reported)
	return s
}

// Validate returns what is wrong with the options, or nil.
func (o Options) Validate() error {
	if _, err := newStanding(o.Account, o, time.Now()); err != nil {
		return fmt.Errorf("account: %w", err)
	}
	if err := checkSteps(o.Steps); err != nil {
		return err
	}
	return o.Faults.Validate()
}

// overview is the answer of GET /.
const overview = `Sluice's simulator of Meta's Cloud API. It sends nothing to anybody. docs/simulator.md describes it.

  POST /{version}/{phone number id}/messages  as Meta has it, and other paths of Meta's
  GET  /_sim/stats                            what it saw
  GET  /_sim/accepted                         each message that it took
  GET  /metrics                               metrics for Prometheus

Sluice's API has a port of its own. It is described at /docs and /openapi.json there.
`

// Handler answers /, Meta's paths, the control API under /_sim/, and /metrics. The control API
// needs no token: do not expose it.
func (s *Sim) Handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, answer := range s.routes() {
		mux.Handle(pattern, s.graph(answer, !judgesTokens[pattern]))
	}
	for pattern, answer := range s.controls() {
		mux.HandleFunc(pattern, answer)
	}
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, overview) })
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.options.Registry, promhttp.HandlerOpts{}))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(w, canonical(r)) })
}

// routes are Meta's paths.
func (s *Sim) routes() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"/":                             s.unsupported,
		"POST /{version}/{id}/messages": s.messages,
		"PUT /{version}/{id}/messages":  s.messages,
		"POST /{version}/{id}/marketing_messages":  s.marketingMessages,
		"POST /{version}/{id}/media":               s.upload,
		"GET " + mediaPath:                         s.download,
		"GET /{version}/{id}":                      s.node,
		"POST /{version}/{id}":                     s.changeNode,
		"DELETE /{version}/{id}":                   s.deleteNode,
		"GET /{version}/{id}/{edge}":               s.analyticsEdge,
		"GET /{version}/{id}/phone_numbers":        s.phoneNumbers,
		"GET /{version}/{id}/subscribed_apps":      s.listSubscribed,
		"POST /{version}/{id}/subscribed_apps":     s.subscribe,
		"DELETE /{version}/{id}/subscribed_apps":   s.unsubscribe,
		"GET /{version}/{id}/message_templates":    s.listTemplates,
		"POST /{version}/{id}/message_templates":   s.createTemplate,
		"DELETE /{version}/{id}/message_templates": s.deleteTemplate,
		"GET /{version}/debug_token":               s.debugToken,
		"GET /{version}/oauth/access_token":        s.exchangeCode,
		"GET /{version}/message_template_library":  s.templateLibrary,
		"GET /{version}/{id}/subscriptions":        s.appSubscriptions,
		"POST /{version}/{id}/subscriptions":       s.subscribeFields,

		"GET /{version}/{id}/whatsapp_business_profile":     s.getProfile,
		"POST /{version}/{id}/whatsapp_business_profile":    s.setProfile,
		"GET /{version}/{id}/block_users":                   s.blockedUsers,
		"POST /{version}/{id}/block_users":                  s.blockUsers,
		"DELETE /{version}/{id}/block_users":                s.unblockUsers,
		"GET /{version}/{id}/message_qrdls":                 s.qrCodes,
		"POST /{version}/{id}/message_qrdls":                s.putQRCode,
		"GET /{version}/{id}/message_qrdls/{code}":          s.qrCodes,
		"POST /{version}/{id}/message_qrdls/{code}":         s.putQRCode,
		"DELETE /{version}/{id}/message_qrdls/{code}":       s.deleteQRCode,
		"GET /{version}/{id}/settings":                      s.getSettings,
		"POST /{version}/{id}/settings":                     s.setSettings,
		"GET /{version}/{id}/whatsapp_commerce_settings":    s.getCommerce,
		"POST /{version}/{id}/whatsapp_commerce_settings":   s.setCommerce,
		"POST /{version}/{id}/conversational_automation":    s.setAutomation,
		"GET /{version}/{id}/whatsapp_business_encryption":  s.getEncryption,
		"POST /{version}/{id}/whatsapp_business_encryption": s.setEncryption,
		"POST /{version}/{id}/calls":                        s.callActions,
		"GET /{version}/{id}/call_permissions":              s.callPermissions,
		"GET /{version}/{id}/message_history":               s.messageHistory,
		"GET /{version}/{id}/events":                        s.historyEvents,
		"POST /{version}/{id}/register":                     s.registration,
		"POST /{version}/{id}/deregister":                   s.registration,
		"POST /{version}/{id}/request_code":                 s.registration,
		"POST /{version}/{id}/verify_code":                  s.registration,
		"GET /{version}/{id}/flows":                         s.listFlows,
		"POST /{version}/{id}/flows":                        s.createFlow,
		"GET /{version}/{id}/assets":                        s.flowAssets,
		"POST /{version}/{id}/assets":                       s.putFlowAsset,
		"POST /{version}/{id}/publish":                      s.publishFlow,
		"POST /{version}/{id}/deprecate":                    s.deprecateFlow,
	}
}

// judgesTokens are the paths that check the token of a call themselves, because it may be the app's.
var judgesTokens = map[string]bool{"GET /{version}/oauth/access_token": true, "GET /{version}/debug_token": true, "GET /{version}/{id}/subscriptions": true, "POST /{version}/{id}/subscriptions": true}

// Run delivers webhooks and runs the script until ctx ends, and returns nil
// then. Undelivered webhooks stay queued for a later Run.
func (s *Sim) Run(ctx context.Context) error {
	var clock sync.WaitGroup
	clock.Go(func() { s.play(ctx) })
	s.hooks.run(ctx)
	clock.Wait()
	return nil
}

// Drained blocks until every planned webhook has been answered with 200,
// or until ctx ends. In that case it returns the error of ctx.
func (s *Sim) Drained(ctx context.Context) error { return s.hooks.queue.drained(ctx) }

// SetFaults replaces the random faults from the next message on.
func (s *Sim) SetFaults(f Faults) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = f
}

// SetOutage begins or ends a total outage: 503 to every call of Meta's paths, and no message is
// accepted. The control API and planned webhooks go on.
func (s *Sim) SetOutage(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outage = on
}

// Accepted returns every accepted message in the order of acceptance, whatever the answer was. With
// a million entries it copies a few hundred megabytes. GET /_sim/accepted does not.
func (s *Sim) Accepted() []Accepted {
	all := make([]Accepted, 0, s.ledger.len())
	for a := range s.ledger.all() {
		all = append(all, a)
	}
	return all
}

// Duplicates returns how many message ids were accepted more than once, by the markers of the
// form sl1.<env>.<id>.<attempt>.<mac> in biz_opaque_callback_data. Messages with another
// marker or without one are not counted.
func (s *Sim) Duplicates() int { return s.ledger.duplicates() }

// Stats are the counters of the simulator.
type Stats struct {
	Requests   map[string]int `json:"requests"`             // calls by result: "ok", a Graph error code, or a way of not answering
	Accepted   int            `json:"accepted"`             // accepted messages, answered or not
	Marks      int            `json:"marks"`                // accepted marks of read, with a typing indicator or without
	Duplicates int            `json:"duplicates"`           // see Sim.Duplicates
	Windows    map[string]int `json:"largest_window"`       // by number: the most messages that arrived in any second, refused ones included
	OverLimit  int            `json:"over_messaging_limit"` // messages above the messaging limit of the portfolio
	Webhooks   WebhookStats   `json:"webhooks"`
	Faults     Faults         `json:"faults"`
	Outage     bool           `json:"outage"`
	Steps      []StepUse      `json:"steps"` // of the script
}

// Stats returns the counters: requests and webhooks since the start, the
// rest since the ledger was last emptied.
func (s *Sim) Stats() Stats {
	st := Stats{
		Accepted:   s.ledger.len(),
		Duplicates: s.ledger.duplicates(),
		Windows:    s.limit.largest(),
		OverLimit:  int(s.recipients.over.Load()),
		Webhooks:   s.hooks.stats(),
		Steps:      s.script.Load().report(),
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.Requests, st.Marks, st.Faults, st.Outage = maps.Clone(s.requests), s.marks, s.faults, s.outage
	return st
}

// forget empties the ledger and the windows.
func (s *Sim) forget() {
	s.ledger.reset()
	s.limit.reset()
	s.metrics.window.Reset()
}

// count records the result of a call.
func (s *Sim) count(code string) {
	s.mu.Lock()
	s.requests[code]++
	s.mu.Unlock()
	s.metrics.requests.WithLabelValues(code).Inc()
}

func (s *Sim) inOutage() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.outage
}
