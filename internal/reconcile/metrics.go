package reconcile

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// statuses are the values of the status label; what is not among them counts as the last.
var statuses = []string{"sent", "delivered", "read", "played", "failed", "other"}

type metrics struct {
	events   *prometheus.CounterVec
	folded   *prometheus.CounterVec
	foreign  prometheus.Counter
	unusable prometheus.Counter
	dropped  prometheus.Counter
}

// newMetrics makes the metrics; lag is the age of the oldest watermark.
func newMetrics(reg prometheus.Registerer, lag func() time.Duration) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_status_events_total",
			Help: "Receipts folded, by status.",
		}, []string{"status"}),
		folded: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_status_folded_total",
			Help: "Receipts by what became of them.",
		}, []string{"result"}),
		foreign: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_status_foreign_total",
			Help: "Receipts without a marker of ours for numbers that are not configured; they stay in the stream, and the log names each number once.",
		}),
		unusable: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_status_unusable_total",
			Help: "Receipts with neither a message id of Meta's nor a marker of ours; they stay in the stream.",
		}),
		dropped: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_status_unmatched_dropped_total",
			Help: "Receipts without our marker that were dropped because no message had their id: after orphans.retention, or because more than orphans.max waited in a shard.",
		}),
	}
	f.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_reconcile_watermark_age_seconds",
		Help: "Age of the oldest time up to which everything that Meta reported is applied, in the shards that this process reads. No doubt is settled without evidence while it stands still.",
	}, func() float64 { return lag().Seconds() })
	for _, s := range statuses {
		m.events.WithLabelValues(s)
	}
	for _, r := range message.AllFolded() {
		m.folded.WithLabelValues(string(r))
	}
	return m
}

func (m *metrics) fold(status string, result message.Folded) {
	if !slices.Contains(statuses, status) {
		status = "other"
	}
	m.events.WithLabelValues(status).Inc()
	m.folded.WithLabelValues(string(result)).Inc()
}
