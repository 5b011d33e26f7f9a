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
			Help: "Event stream entries that were applied again one by one after a failure.",
		}),
		dead: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_dead_lettered_total",
			Help: "Event stream entries of which events were moved to the dead-letter stream: they cannot be read, or failed five times.",
		}),
		quarantined: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_quarantined_total",
			Help: "Signed webhook bodies and single items that were moved to the quarantine because they cannot be read or stored.",
		}),
		gaps: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_gaps_total",
			Help: "Gap events written: events were dropped before a consumer group had read them.",
		}),
	}
}
