package reconcile

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// statuses are the values of the label status. The last one counts all other statuses.
var statuses = []string{"sent", "delivered", "read", "played", "failed", "other"}

type metrics struct {
	events   *prometheus.CounterVec
	applied  *prometheus.CounterVec
	foreign  prometheus.Counter
	unusable prometheus.Counter
	dropped  prometheus.Counter
	latency  prometheus.Histogram
}

// newMetrics returns the metrics. lag returns the age of the oldest watermark.
func newMetrics(reg prometheus.Registerer, lag func() time.Duration) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_status_events_total",
			Help: "Statuses from Meta, by status. sluice_status_applied_total has the result of applying them.",
		}, []string{"status"}),
		applied: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_status_applied_total",
			Help: "Statuses from Meta by the result of applying them. unmatched: no message has its id yet. outdated: the record already had a later state. duplicate: Meta accepted the message twice.",
		}, []string{"result"}),
		foreign: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_status_unconfigured_number_total",
			Help: "Statuses without our marker for phone number ids that are not configured. They stay in the event stream. The log names each phone number id once.",
		}),
		unusable: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_status_unusable_total",
			Help: "Statuses that have neither Meta's message id nor our marker. They stay in the event stream.",
		}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_status_unmatched_dropped_total",
			Help: "Statuses without our marker that were dropped because no message had their id: after unmatched_statuses.retention, or because more than unmatched_statuses.max waited in a shard.",
		}),
	}
	m.latency = f.NewHistogram(prometheus.HistogramOpts{
		Name:    "sluice_status_applied_latency_seconds",
		Help:    "Time from when the webhook program received a status to when it was applied to the record of its message. Only statuses that changed a record, without those that waited for their message.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 900},

		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	})
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_reconcile_watermark_age_seconds",
		Help: "Age of the watermark, the time up to which all statuses from Meta are applied, in the oldest of the shards that this process reads. While it grows, messages in doubt are neither sent again nor parked. Take the maximum over the workers.",
	}, func() float64 { return lag().Seconds() })
	for _, s := range statuses {
		m.events.WithLabelValues(s)
	}
	for _, r := range message.ApplyResults() {
		m.applied.WithLabelValues(string(r))
	}
	return m
}

// count counts a status and the result of applying it.
func (m *metrics) count(status string, result message.ApplyResult) {
	if !slices.Contains(statuses, status) {
		status = "other"
	}
	m.events.WithLabelValues(status).Inc()
	m.applied.WithLabelValues(string(result)).Inc()
}
