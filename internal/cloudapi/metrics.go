package cloudapi

import (
	"context"
	"regexp"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

type metrics struct {
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
	requests *prometheus.CounterVec
	others   *prometheus.CounterVec

	report   func(asked, served string) // may be nil
	versions bounded
	pairs    bounded
}

func newMetrics(reg prometheus.Registerer, version string, report func(asked, served string)) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		report: report,
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "sluice_graph_request_duration_seconds",
			Help:                            "Time of one POST to the Graph API, connecting included, by outcome.",
			Buckets:                         []float64{.025, .05, .1, .2, .3, .5, .75, 1, 2, 3, 5, 10, 20, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"outcome"}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_send_errors_total",
			Help: "Attempts that Meta did not accept, by Meta's error code. other: no code, or one that docs/errors.md does not list.",
		}, []string{"code"}),
		requests: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_graph_requests_total",
			Help: "Attempts to send a message, by the version of the Graph API that the worker asked for, by route (messages, or marketing_messages for Meta's Marketing Messages API) and by outcome. graph_version other: one that is not among the first 10. The series of a version begin with its first attempt.",
		}, []string{"graph_version", "route", "outcome"}),
		others: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_graph_version_mismatches_total",
			Help: "Answers of Meta to attempts with another version of the Graph API than the worker asked for: Meta serves an expired version by another one.",
		}, []string{"graph_version", "served"}),
	}
	for _, k := range message.Kinds() {
		m.duration.WithLabelValues(string(k))
	}
	m.errors.WithLabelValues("other")
	for _, e := range codes {
		m.errors.WithLabelValues(e.Name())
	}
	m.begin(version, message.RouteMessages)
	return m
}

// begin makes the counters of a version and a route.
func (m *metrics) begin(version string, route message.Route) {
	for _, k := range message.Kinds() {
		m.requests.WithLabelValues(version, string(route), string(k))
	}
}

func (m *metrics) observe(ctx context.Context, r message.Request, k message.Kind, d time.Duration) {
	tracing.Observe(ctx, m.duration.WithLabelValues(string(k)), d.Seconds())
	version := r.Version
	known, first := m.versions.admit(version, string(r.Route()))
	if !known {
		version = "other"
	} else if first {
		m.begin(version, r.Route())
	}
	m.requests.WithLabelValues(version, string(r.Route()), string(k)).Inc()
}

func (m *metrics) failed(code string) { m.errors.WithLabelValues(code).Inc() }

// versionForm is the form of Meta's versions.
var versionForm = regexp.MustCompile(`^v[0-9]{1,3}\.[0-9]{1,2}$`)

// served compares the version of a request with that of its answer; empty: the answer names none.
func (m *metrics) served(asked, served string) {
	if served == asked || !versionForm.MatchString(served) {
		return
	}
	known, first := m.pairs.admit(asked, served)
	if !known {
		return
	}
	m.others.WithLabelValues(asked, served).Inc()
	if first && m.report != nil {
		m.report(asked, served)
	}
}

// maxLabels is how many different values of labels are counted: each version has two routes.
const maxLabels = 20

// bounded is a set of at most maxLabels pairs of labels. It is safe for concurrent use. The zero value is empty.
type bounded struct {
	mu  sync.RWMutex
	all map[[2]string]bool
}

// admit reports whether a pair is in the set, and whether it has just come into it.
func (b *bounded) admit(label, other string) (known, first bool) {
	value := [2]string{label, other}
	b.mu.RLock()
	known = b.all[value]
	b.mu.RUnlock()
	if known {
		return true, false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.all[value] || len(b.all) >= maxLabels {
		return b.all[value], false
	}
	if b.all == nil {
		b.all = map[[2]string]bool{}
	}
	b.all[value] = true
	return true, true
}
