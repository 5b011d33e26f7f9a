package send

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
)

type metrics struct {
	attempts   *prometheus.CounterVec
	inflight   *prometheus.GaugeVec
	duplicates prometheus.Counter
	tampered   prometheus.Counter
	expired    *prometheus.CounterVec
	rewound    *prometheus.CounterVec
	restored   prometheus.Counter
}

// note counts what the store had lost.
func (m *metrics) note(l message.LostWrites) {
	m.rewound.WithLabelValues("intent").Add(float64(l.Intents))
	m.rewound.WithLabelValues("outcome").Add(float64(l.Outcomes))
	m.rewound.WithLabelValues("record").Add(float64(l.Records))
}

func newMetrics(reg prometheus.Registerer, numbers []string) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_send_attempts_total",
			Help: "Attempts to hand a message to Meta, by what came of them.",
		}, []string{"number", "class", "outcome"}),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_number_inflight",
			Help: "Requests to Meta under way.",
		}, []string{"number"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_send_duplicates_total",
			Help: "Messages that Meta is proven to have accepted more than once, seen when the answer came.",
		}),
		tampered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_payloads_tampered_total",
			Help: "Messages that were not sent because what Redis held as their content was not what was accepted.",
		}),
	}
	m.rewound = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_store_lost_writes_total",
		Help: "Attempts that Redis had lost after a restart or a failover, by what it lacked: their intent, their outcome (both were written down again), or the whole record of their message.",
	}, []string{"lacked"})
	m.restored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_store_restored_total",
		Help: "Shards that were held because Redis lost more than workers remember, or an unknown amount, as after a restore from a copy. An operator must compare with Meta which messages were sent, and release them.",
	})
	reg.MustRegister(m.attempts, m.inflight, m.duplicates, m.tampered, m.rewound, m.restored)
	m.note(message.LostWrites{})
	m.expired = newExpired(reg)
	for _, n := range numbers {
		m.inflight.WithLabelValues(n)
		for _, c := range message.Classes() {
			for _, k := range message.Kinds() {
				m.attempts.WithLabelValues(n, string(c), string(k))
			}
		}
	}
	return m
}

// moves are those that a sweeper makes.
var moves = []struct{ from, to message.State }{
	{message.Attempting, message.InDoubt},
	{message.InDoubt, message.Queued},
	{message.InDoubt, message.Parked},
	{message.InDoubt, message.Failed},
	{message.Parked, message.Failed}, // nobody has decided
	{message.Queued, message.Expired},
	{message.Queued, message.Queued}, // its task was lost
}

// sweeps are a sweeper's metrics.
type sweeps struct {
	moves              *prometheus.CounterVec
	postponed, refused prometheus.Counter
	failures           prometheus.Counter
	expired            *prometheus.CounterVec
}

func newSweeps(reg prometheus.Registerer) *sweeps {
	s := &sweeps{
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_sweep_moves_total",
			Help: "Messages moved on by the sweeper: abandoned attempts, doubts past their window, deadlines, lost tasks.",
		}, []string{"from", "to"}),
		postponed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_doubts_postponed_total",
			Help: "Times a doubt past its window was not settled, because Meta's webhooks seem not to reach us.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_resends_refused_total",
			Help: "Doubts parked though their policy is to resend: there were too many resends in the last minute.",
		}),
	}
	s.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_sweep_failures_total",
		Help: "Passes of the sweeper in which something could not be read or moved on: a shard was away, or a record is unreadable. The log says what; the rest was swept.",
	})
	reg.MustRegister(s.moves, s.postponed, s.refused, s.failures)
	s.expired = newExpired(reg)
	for _, m := range moves {
		s.moves.WithLabelValues(string(m.from), string(m.to))
	}
	return s
}

// stages are where a deadline may find a message, by the reason in its record.
var stages = map[string]string{
	message.ReasonDeadline: "queue", message.ReasonLateRetry: "retry", message.ReasonLateHeld: "hold",
}

// newExpired returns the counter that sender and sweeper share.
func newExpired(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_expired_total",
		Help: "Messages whose deadline passed before Meta took them, by where they were.",
	}, []string{"stage"})
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](reg.Register(c)); ok {
		return there.ExistingCollector.(*prometheus.CounterVec)
	}
	for _, s := range stages {
		c.WithLabelValues(s)
	}
	return c
}
