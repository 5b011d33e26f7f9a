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
			Help: "Entries of the event stream that were moved to the stream events:dead: they cannot be read, or failed five times. They are not in the dead-letter list of messages.",
		}),
		quarantined: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_quarantined_total",
			Help: "Signed webhook bodies and single items that were moved to the quarantine because they cannot be read or stored.",
		}),
		gaps: f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_events_gaps_total",
			Help: "Events of the type gap: a consumer group was too slow, and events were dropped before it had read them.",
		}),
	}
}
