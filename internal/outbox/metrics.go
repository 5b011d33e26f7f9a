package outbox

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The causes of failures, as values of a metric label.
const (
	causeDatabase = "database"
	causeStorage  = "storage"
)

type metrics struct {
	rows, failures map[string]prometheus.Counter // by result, by cause
	up             prometheus.Gauge
	oldest         atomic.Int64 // when the first pending row was written, in Unix nanoseconds; 0: none is pending
}

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	m := &metrics{rows: map[string]prometheus.Counter{}, failures: map[string]prometheus.Counter{}}
	rows := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_outbox_rows_total",
		Help: "Rows of the outbox that are done, by result: accepted, duplicate (a message with its key was accepted before), refused (the column problem says why).",
	}, []string{"result"})
	for _, result := range []string{stateAccepted, "duplicate", stateRefused} {
		m.rows[result] = rows.WithLabelValues(result)
	}
	failures := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_outbox_failures_total",
		Help: "Failed reads of the outbox, by cause: database (PostgreSQL), storage (Redis is unavailable or nearly full, or the API key may not send). Rows stay pending.",
	}, []string{"cause"})
	for _, cause := range []string{causeDatabase, causeStorage} {
		m.failures[cause] = failures.WithLabelValues(cause)
	}
	m.up = factory.NewGauge(prometheus.GaugeOpts{
		Name: "sluice_outbox_database_up",
		Help: "1: the last read of the outbox worked. 0: it failed.",
	})
	factory.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_outbox_oldest_pending_age_seconds",
		Help: "Age of the first pending row of the outbox; 0: none is pending. While PostgreSQL cannot be read, the age of the row that was the first then. All producers report the same value: take the maximum.",
	}, func() float64 {
		at := m.oldest.Load()
		if at == 0 {
			return 0
		}
		return time.Since(time.Unix(0, at)).Seconds()
	})
	return m
}

// peeked records whether a row is pending, and the age of the first one.
func (m *metrics) peeked(pending bool, age time.Duration) {
	m.up.Set(1)
	if pending {
		m.oldest.Store(time.Now().Add(-max(age, 0)).UnixNano())
	} else {
		m.oldest.Store(0)
	}
}

// done counts rows that are done.
func (m *metrics) done(all marks) {
	m.rows[stateAccepted].Add(float64(all.accepted - all.duplicates))
	m.rows["duplicate"].Add(float64(all.duplicates))
	m.rows[stateRefused].Add(float64(len(all.ids) - all.accepted))
}
