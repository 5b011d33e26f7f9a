package archive

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// Values of metric labels.
const (
	causeDatabase = "database"
	causeStorage  = "storage"

	resultAdded      = "added"
	resultRepeated   = "repeated"
	resultUnreadable = "unreadable"
)

type metrics struct {
	rows, failures map[string]prometheus.Counter // by result, by cause
	up             prometheus.Gauge
	gaps           prometheus.Counter
}

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	m := &metrics{rows: map[string]prometheus.Counter{}, failures: map[string]prometheus.Counter{}}
	rows := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_archive_rows_total",
		Help: "Events for the archive, by result: added, repeated (the archive had the event already), unreadable (an entry has a part that is no event; it is not archived).",
	}, []string{"result"})
	for _, result := range []string{resultAdded, resultRepeated, resultUnreadable} {
		m.rows[result] = rows.WithLabelValues(result)
	}
	failures := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_archive_failures_total",
		Help: "Failed tries to archive events, by cause: database (PostgreSQL), storage (Redis). The events wait in Redis.",
	}, []string{"cause"})
	for _, cause := range []string{causeDatabase, causeStorage} {
		m.failures[cause] = failures.WithLabelValues(cause)
	}
	m.up = factory.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_archive_database_up",
		Help: "1: the database of the archive answered the last time. 0: it did not.",
	})
	m.gaps = factory.NewCounter(prometheus.CounterOpts{
		Name: "sluice_archive_gaps_total",
		Help: "How often Redis dropped events before they were archived, because the archive was too far behind.",
	})
	return m
}
