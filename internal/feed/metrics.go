package feed

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/events"
)

type metrics struct {
	clients *prometheus.GaugeVec
	events  prometheus.Counter
	tooOld  prometheus.Counter
	lag     prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) metrics {
	factory := promauto.With(reg)
	m := metrics{
		clients: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_feed_clients",
			Help: "Callers of GET /v1/events that have no answer yet, by mode: poll (a page, or a long poll), stream (server-sent events).",
		}, []string{"mode"}),
		events: factory.NewCounter(prometheus.CounterOpts{
			Name: "sluice_feed_events_total",
			Help: "Events that GET /v1/events has delivered, repeated ones included.",
		}),
		tooOld: factory.NewCounter(prometheus.CounterOpts{
			Name: "sluice_feed_cursors_too_old_total",
			Help: "Answers of GET /v1/events to cursors that were too old: events after them were dropped before the consumer had read them.",
		}),
		lag: factory.NewHistogram(prometheus.HistogramOpts{
			Name:    "sluice_feed_lag_seconds",
			Help:    "Age of the oldest event in each page, or each write of a stream, of GET /v1/events: how far its consumer is behind.",
			Buckets: []float64{.025, .05, .1, .25, .5, 1, 5, 30, 300, 3600, 21600, 86400},
		}),
	}
	for _, mode := range []string{"poll", "stream"} {
		m.clients.WithLabelValues(mode)
	}
	return m
}

// enter counts a caller until the returned function is called.
func (m metrics) enter(mode string) (leave func()) {
	g := m.clients.WithLabelValues(mode)
	g.Inc()
	return g.Dec
}

// sent counts delivered lines.
func (m metrics) sent(lines []events.Line, now time.Time) {
	if len(lines) == 0 {
		return
	}
	m.events.Add(float64(len(lines)))
	m.lag.Observe(max(0, now.Sub(timeOf(lines[0].Place.Entry)).Seconds()))
}
