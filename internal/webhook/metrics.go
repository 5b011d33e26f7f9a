package webhook

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// result is the result of a request. The set is closed, because it is a metric label.
type result string

const (
	accepted         result = "accepted"
	quarantined      result = "quarantined"  // signed, and not JSON
	otherObject      result = "other_object" // signed, and about something other than WhatsApp
	badSignature     result = "bad_signature"
	tooLarge         result = "too_large"
	unreadable       result = "unreadable"  // the body is incomplete
	tooSlow          result = "too_slow"    // the body did not arrive in time
	overloaded       result = "overloaded"  // the body is large, and other requests use the memory
	unavailable      result = "unavailable" // Redis did not store it
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
	overloaded:       http.StatusServiceUnavailable,
	unavailable:      http.StatusServiceUnavailable,
	unknownApp:       http.StatusNotFound,
	handshakeDone:    http.StatusOK,
	handshakeRefused: http.StatusForbidden,
	challengeBad:     http.StatusBadRequest,
}

func (r result) status() int { return statuses[r] }

// refused reports whether Meta must retry the delivery: it may be Meta's, and nothing of it was stored. A
// delivery with a wrong signature is not Meta's, if the app secret is right. Meta sends no body that is too large.
func (r result) refused() bool {
	return r == unavailable || r == overloaded || r == tooSlow || r == unreadable || r == "" // the handler panicked
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
		Help: "Webhook requests by result.",
	}, []string{"result"})
	events := f.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_webhook_events_total",
		Help: "Events written to the event stream, by type.",
	}, []string{"type"})
	m := metrics{
		events:   map[string]prometheus.Counter{},
		requests: map[result]prometheus.Counter{},
		ack: f.NewHistogram(prometheus.HistogramOpts{
			Name:                        "sluice_webhook_ack_duration_seconds",
			Help:                        "Time from the headers of a webhook to its answer 200: reading, signature check, and the durable write.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
			NativeHistogramBucketFactor: 1.1,
		}),
		badSignatures: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_webhook_signature_failures_total",
			Help: "Webhook requests without exactly one valid signature.",
		}),
		signatures: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_webhook_signatures_total",
			Help: "Webhook requests with a valid signature, by app secret. A change of the secret is complete when the count with secret=\"previous\" no longer grows.",
		}, []string{"secret"}),
	}
	for r := range statuses {
		m.requests[r] = requests.WithLabelValues(string(r))
	}
	for _, secret := range []string{"current", "previous"} {
		m.signatures.WithLabelValues(secret)
	}
	for _, t := range message.EventTypesOfMeta() {
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

// wrote counts written events. Most webhooks have events of one type only.
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
