package events

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

type metrics struct {
	retried     prometheus.Counter
	dead        prometheus.Counter
	quarantined prometheus.Counter
	gaps        prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) metrics {
	f := promauto.With(reg)
	return metrics{
		retried: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_retried_total",
			Help: "Stream entries applied again on their own, because to apply them had failed.",
		}),
		dead: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_dead_total",
			Help: "Stream entries with something that was moved to the dead-letter stream: unreadable, or failed five times.",
		}),
		quarantined: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_quarantined_total",
			Help: "Signed webhook bodies, and single items of them, kept aside because they could not be read or written down.",
		}),
		gaps: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_gaps_total",
			Help: "Gap events written: a consumer group had not read what was dropped.",
		}),
	}
}
