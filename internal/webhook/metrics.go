package webhook

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// result is what became of a request. The set is closed: it is the metric label too.
type result string

const (
	accepted         result = "accepted"
	quarantined      result = "quarantined"  // signed, and not JSON
	otherObject      result = "other_object" // signed, and not about WhatsApp
	badSignature     result = "bad_signature"
	tooLarge         result = "too_large"
	unreadable       result = "unreadable"  // the body broke off
	tooSlow          result = "too_slow"    // it did not arrive in time
	crowded          result = "crowded"     // large, while others in hand take the memory
	unavailable      result = "unavailable" // the stream could not take it
	unknownApp       result = "unknown_app"
	handshakeDone    result = "handshake"
	handshakeRefused result = "handshake_refused"
	challengeBad     result = "challenge_bad"
)

var statuses = map[result]int{
	accepted:         http.StatusOK,
	quarantined:      http.StatusOK,
	otherObject:      http.StatusOK,
	badSignature:     http.StatusUnauthorized,
	tooLarge:         http.StatusRequestEntityTooLarge,
	unreadable:       http.StatusBadRequest,
	tooSlow:          http.StatusRequestTimeout,
	crowded:          http.StatusServiceUnavailable,
	unavailable:      http.StatusServiceUnavailable,
	unknownApp:       http.StatusNotFound,
	handshakeDone:    http.StatusOK,
	handshakeRefused: http.StatusForbidden,
	challengeBad:     http.StatusBadRequest,
}

func (r result) status() int { return statuses[r] }

// repeated tells whether Meta's repeat is needed: the delivery may be Meta's, and nothing of it was
// kept. A false signature is none of Meta's while the app secret is right; a body that is too large
// never is.
func (r result) repeated() bool {
	return r == unavailable || r == crowded || r == tooSlow || r == unreadable || r == "" // it panicked
}

type metrics struct {
	requests      map[result]prometheus.Counter
	ack           prometheus.Histogram
	badSignatures prometheus.Counter
	signatures    *prometheus.CounterVec
	events        map[string]prometheus.Counter // by type
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	requests := f.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_webhook_requests_total",
		Help: "Requests by what became of them.",
	}, []string{"result"})
	events := f.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_webhook_events_total",
		Help: "Events written to the stream.",
	}, []string{"type"})
	m := metrics{
		events:   map[string]prometheus.Counter{},
		requests: map[result]prometheus.Counter{},
		ack: f.NewHistogram(prometheus.HistogramOpts{
			Name:                        "sluice_webhook_ack_duration_seconds",
			Help:                        "From a notification's headers to its 200: reading, checking, and making it durable.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			NativeHistogramBucketFactor: 1.1,
		}),
		badSignatures: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_webhook_signature_failures_total",
			Help: "Notifications without exactly one valid signature.",
		}),
		signatures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_webhook_signatures_total",
			Help: "Valid signatures by the secret that made them. A rotation is over when previous stands still.",
		}, []string{"secret"}),
	}
	for r := range statuses {
		m.requests[r] = requests.WithLabelValues(string(r))
	}
	for _, secret := range []string{"current", "previous"} {
		m.signatures.WithLabelValues(secret)
	}
	for _, t := range []string{message.EventStatus, message.EventInbound, message.EventUpdate} {
		m.events[t] = events.WithLabelValues(t)
	}
	return m
}

func (m metrics) signedWith(secret int) {
	label := "current"
	if secret > 0 {
		label = "previous"
	}
	m.signatures.WithLabelValues(label).Inc()
}

// wrote counts events that were written. Most webhooks have one type of them.
func (m metrics) wrote(all []message.Event) {
	for len(all) > 0 {
		n := 1
		for n < len(all) && all[n].Type == all[0].Type {
			n++
		}
		m.events[all[0].Type].Add(float64(n))
		all = all[n:]
	}
}
