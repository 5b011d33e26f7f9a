// Package route decides how a message goes to Meta: with Meta's Marketing Messages API or without, and with which version of the Graph
// API. The settings of its number decide. What Meta refuses because of the route goes once by the other one.
package route

import (
	"cmp"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/config"
	"sluice/internal/content"
	"sluice/internal/message"
)

const (
	// lessonLife is how long the route that Meta demands for a template is remembered.
	lessonLife = time.Hour
	// maxLessons limits what is remembered. Then all is forgotten: the next refusals teach it again.
	maxLessons = 10_000
	// canaryPause is how long a canary is not used after Meta did not know its version.
	canaryPause = 10 * time.Minute
)

// Options are what a Router works with. All fields are required.
type Options struct {
	Number     func(id string) (config.Number, bool)
	Version    string                                            // of the Graph API, for numbers without their own
	Category   func(number, name, language string) message.Class // the category that a template has at Meta; empty: unknown. It must not block
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Router decides how messages go to Meta. It is safe for concurrent use.
type Router struct {
	o        Options
	rerouted *prometheus.CounterVec

	mu      sync.Mutex
	lessons map[string]lesson    // by number and template
	unknown map[string]time.Time // versions that Meta did not know, and until when they are not used as a canary
}

// lesson is the route that Meta demanded for a template of a number.
type lesson struct {
	marketing bool
	category  message.Class // of the template then: after a change the lesson does not hold
	until     time.Time
}

// New returns a Router.
func New(o Options) *Router {
	r := &Router{o: o, lessons: map[string]lesson{}, unknown: map[string]time.Time{}, rerouted: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_rerouted_attempts_total",
		Help: "Attempts that Meta refused because of their route, and after which the worker uses another one. marketing_messages: Meta's Marketing Messages API (codes 131061 and 131063). messages: the Cloud API (131055 and 134100). version: the version of the number in place of that of its canary, which Meta does not know (2500).",
	}, []string{"to"})}
	for _, to := range []message.Route{message.RouteMarketing, message.RouteMessages, message.OtherVersion} {
		r.rerouted.WithLabelValues(string(to))
	}
	o.Registerer.MustRegister(r.rerouted)
	return r
}

// Request returns the request for a message with this object (see content.AppendPayload), which becomes its body. For the Marketing
// Messages API the body has a product_policy.
func (r *Router) Request(m message.Context, object []byte) message.Request {
	n, _ := r.o.Number(m.From)
	q := message.Request{ID: m.ID, Number: m.From, Template: m.Template, Version: r.version(n, m.ID), Body: object}
	if content.ForMarketing(object) {
		q.Marketing, q.Fixed = true, true
		return q
	}
	if policy := policyOf(n); policy != "" && m.Template != "" {
		if q.Marketing, q.Fixed = r.marketing(m); q.Marketing {
			q.Body = content.WithPolicy(object, policy, n.Sharing)
		}
	}
	return q
}

// policyOf returns Meta's product_policy of a number's marketing messages; empty: they go to the Cloud API.
func policyOf(n config.Number) string {
	switch n.Marketing {
	case config.MarketingFallback:
		return content.DefaultPolicy
	case config.MarketingStrict:
		return content.StrictPolicy
	}
	return ""
}

// marketing reports whether a template message is one for the Marketing Messages API, and whether Meta said so.
func (r *Router) marketing(m message.Context) (is, learned bool) {
	category := r.category(m.From, m.Template)
	r.mu.Lock()
	l, known := r.lessons[m.From+"/"+m.Template]
	r.mu.Unlock()
	if known && l.category == category && time.Now().Before(l.until) {
		return l.marketing, true
	}
	return cmp.Or(category, m.Class) == message.Marketing, false
}

func (r *Router) category(number, template string) message.Class {
	name, language, _ := strings.Cut(template, "/")
	return r.o.Category(number, name, language)
}

// version returns the version of the Graph API for a message.
func (r *Router) version(n config.Number, id string) string {
	v := n.Versions.Of(id, r.o.Version)
	if v != n.Versions.Canary {
		return v
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Now().Before(r.unknown[v]) {
		return n.Versions.Usual(r.o.Version)
	}
	return v
}

// Answered returns the outcome of a request as it concerns the message. If Meta refused the route and not the message, and the number
// allows the other route, the message goes by that one: the outcome is then Transient. It happens once, because later requests with the
// template are Fixed.
func (r *Router) Answered(q message.Request, out message.Outcome) message.Outcome {
	if out.Kind == message.Accepted {
		return out
	}
	n, _ := r.o.Number(q.Number)
	other := false
	switch out.Needs {
	case message.RouteMarketing:
		other = !q.Marketing && !q.Fixed && policyOf(n) != ""
	case message.RouteMessages:
		other = q.Marketing && !q.Fixed
	case message.OtherVersion:
		other = q.Version == n.Versions.Canary && q.Version != n.Versions.Usual(r.o.Version)
	}
	if !other {
		return out
	}
	r.rerouted.WithLabelValues(string(out.Needs)).Inc()
	if out.Needs == message.OtherVersion {
		r.pauseCanary(q)
	} else {
		r.learn(q, out.Needs == message.RouteMarketing)
	}
	return message.Outcome{Kind: message.Transient, Code: out.Code, Reason: out.Reason, Detail: out.Detail, Err: out.Err}
}

func (r *Router) learn(q message.Request, marketing bool) {
	category := r.category(q.Number, q.Template)
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.lessons) >= maxLessons {
		clear(r.lessons)
	}
	r.lessons[q.Number+"/"+q.Template] = lesson{marketing, category, time.Now().Add(lessonLife)}
}

func (r *Router) pauseCanary(q message.Request) {
	r.mu.Lock()
	paused := time.Now().Before(r.unknown[q.Version])
	r.unknown[q.Version] = time.Now().Add(canaryPause)
	r.mu.Unlock()
	if !paused {
		r.o.Log.Error("Meta does not know the version of a canary, its messages have the version of their number", "phone_number_id", q.Number, "graph_version", q.Version)
	}
}
