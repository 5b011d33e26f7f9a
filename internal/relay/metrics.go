package relay

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// metrics are the metrics of all targets.
type metrics struct {
	events *prometheus.CounterVec
	lag    *prometheus.GaugeVec
	state  *prometheus.GaugeVec

	mu  sync.Mutex
	all map[string]*targetMetrics
}

// targetMetrics are the metrics of a target.
type targetMetrics struct {
	delivered, failed, dead, dropped, missed prometheus.Counter

	lag    prometheus.Gauge
	states map[string]prometheus.Gauge
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	return &metrics{
		all: map[string]*targetMetrics{},
		events: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_relay_events_total",
			Help: "Events for a relay target, by result. delivered: the target took it. failed: a request with it failed, and it is tried again. dead_letter: it was given up; sluice relay dead-letters lists it. dead_letter_dropped: a dead letter was removed, because there were more than 1,000 in a shard. missed: how often events were dropped from the stream before they were relayed.",
		}, []string{"target", "result"}),
		lag: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_relay_lag_seconds",
			Help: "Age of the oldest event that waits for a relay target, in the shards that this worker relays, without events that were set aside. 0: none waits. Take the maximum over the workers.",
		}, []string{"target"}),
		state: f.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_relay_target_state",
			Help: "1 for the state of a relay target, 0 for the other states. active: it takes events. failing: it took nothing for 5 minutes or more, and the worker tries one request at a time. held: an operator holds it. Take the maximum over the workers.",
		}, []string{"target", "state"}),
	}
}

// of returns the metrics of a target.
func (m *metrics) of(target string) *targetMetrics {
	m.mu.Lock()
	defer m.mu.Unlock()
	if t := m.all[target]; t != nil {
		return t
	}
	t := &targetMetrics{
		delivered: m.events.WithLabelValues(target, "delivered"),
		failed:    m.events.WithLabelValues(target, "failed"),
		dead:      m.events.WithLabelValues(target, "dead_letter"),
		dropped:   m.events.WithLabelValues(target, "dead_letter_dropped"),
		missed:    m.events.WithLabelValues(target, "missed"),
		lag:       m.lag.WithLabelValues(target),
		states:    map[string]prometheus.Gauge{},
	}
	for _, state := range []string{message.RelayActive, message.RelayFailing, message.RelayHeld} {
		t.states[state] = m.state.WithLabelValues(target, state)
	}
	m.all[target] = t
	return t
}

// forget removes the series of a target.
func (m *metrics) forget(target string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.all, target)
	labels := prometheus.Labels{"target": target}
	m.events.DeletePartialMatch(labels)
	m.lag.DeletePartialMatch(labels)
	m.state.DeletePartialMatch(labels)
}

// set sets the state of a target.
func (t *targetMetrics) set(state string) {
	for name, gauge := range t.states {
		gauge.Set(map[bool]float64{true: 1}[name == state])
	}
}
