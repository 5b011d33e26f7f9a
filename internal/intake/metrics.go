package intake

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

// The results of a request to send, as values of a metric label.
const (
	resultAccepted    = "accepted"
	resultDuplicate   = "duplicate"            // accepted before, with the same key
	resultInvalid     = "invalid"              // the caller must change the request
	resultDenied      = "denied"               // no API key, an invalid one, or one that does not cover the number
	resultUnreachable = "deadline_unreachable" // the message would expire before it can be sent
	resultUnavailable = "unavailable"          // storage is unavailable or nearly full
)

// The further results of a request to cancel a message.
const (
	resultCancelled = "cancelled"
	resultInFlight  = "in_flight"
	resultSent      = "already_sent"
	resultEnded     = "already_final"
)

type metrics struct {
	messages map[string]prometheus.Counter // by result, because a lookup of the label costs more than the count
	cancels  *prometheus.CounterVec
	quotas   *prometheus.CounterVec
	duration prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	messages := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_api_messages_total",
		Help: "Messages that callers sent to the API or wrote to the outbox, by result: accepted, duplicate, invalid, denied, deadline_unreachable, unavailable.",
	}, []string{"result"})
	m := &metrics{
		messages: map[string]prometheus.Counter{},
		cancels: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_api_cancels_total",
			Help: "Requests to cancel a message, by result: cancelled, in_flight, already_sent, already_final, denied, unavailable.",
		}, []string{"result"}),
		quotas: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_api_quota_refusals_total",
			Help: "Messages that were refused because a quota of their client is used up, by quota: per_second, per_day, per_month, and those of classes, like marketing.per_day.",
		}, []string{"quota"}),
		duration: factory.NewHistogram(prometheus.HistogramOpts{
			Name:                        "sluice_api_request_duration_seconds",
			Help:                        "Time to answer a request to send a message.",
			Buckets:                     []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
			NativeHistogramBucketFactor: 1.1,
		}),
	}
	for _, period := range []string{"per_second", "per_day", "per_month"} {
		m.quotas.WithLabelValues(period)
		for _, class := range message.Classes() {
			m.quotas.WithLabelValues(string(class) + "." + period)
		}
	}
	for _, result := range []string{resultAccepted, resultDuplicate, resultInvalid, resultDenied, resultUnreachable, resultUnavailable} {
		m.messages[result] = messages.WithLabelValues(result)
	}
	for _, result := range []string{resultCancelled, resultInFlight, resultSent, resultEnded, resultDenied, resultUnavailable} {
		m.cancels.WithLabelValues(result)
	}
	return m
}

// count counts a request to send.
func (m *metrics) count(result string) { m.messages[result].Inc() }

// overQuota counts a message with a *message.QuotaError.
func (m *metrics) overQuota(err error) {
	if e, is := errors.AsType[*message.QuotaError](err); is {
		m.quotas.WithLabelValues(e.Quota).Inc()
	}
}

// observe counts a request to send a single message, with its duration.
func (m *metrics) observe(ctx context.Context, result string, start time.Time) {
	m.count(result)
	tracing.Observe(ctx, m.duration, time.Since(start).Seconds())
}

// cancelled counts a request to cancel a message.
func (m *metrics) cancelled(refused refusal) {
	label := resultCancelled
	switch {
	case refused != nil && refused.Status() == http.StatusConflict:
		label = refused[0].Code
	case refused != nil:
		label = result(refused.Status())
	}
	m.cancels.WithLabelValues(label).Inc()
}

// result returns the label of a refusal with a status.
func result(status int) string {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
		return resultDenied
	case http.StatusTooManyRequests:
		return resultUnreachable
	case http.StatusServiceUnavailable:
		return resultUnavailable
	}
	return resultInvalid
}
