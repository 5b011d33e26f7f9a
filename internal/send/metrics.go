package send

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
)

type metrics struct {
	attempts   *prometheus.CounterVec
	seen       sync.Map // of [2]string: the number and the class of attempts that have their counters
	inflight   *prometheus.GaugeVec
	duplicates prometheus.Counter
	tampered   prometheus.Counter
	expired    *prometheus.CounterVec
	rewound    *prometheus.CounterVec
	restored   prometheus.Counter
	latency    *prometheus.HistogramVec
}

// note counts what Redis had lost.
func (m *metrics) note(l message.LostWrites) {
	m.rewound.WithLabelValues("intent").Add(float64(l.Intents))
	m.rewound.WithLabelValues("outcome").Add(float64(l.Outcomes))
	m.rewound.WithLabelValues("record").Add(float64(l.Records))
}

func newMetrics(reg prometheus.Registerer) *metrics {
	m := &metrics{
		attempts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_send_attempts_total",
			Help: "Attempts to send a message to Meta, by outcome. docs/message-life.md lists the outcomes. The series of a number and a class begin with its first attempt: a rate counts from the second scrape of them on.",
		}, []string{"phone_number_id", "class", "outcome"}),
		inflight: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_number_inflight_requests",
			Help: "Requests to Meta that have no answer yet.",
		}, []string{"phone_number_id"}),
		duplicates: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_send_duplicates_total",
			Help: "Messages that Meta accepted more than once, as its answer proved. Duplicates that a status proved are in sluice_status_applied_total.",
		}),
		tampered: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_payload_signature_failures_total",
			Help: "Messages that were not sent because the signature check of their payload failed. They are in the dead-letter list.",
		}),
	}
	m.rewound = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_redis_lost_writes_total",
		Help: "Attempts that Redis lost in a restart or a failover, by what it lost. intent: the entry that is written before a request to Meta; the worker wrote it again, and the message may be in doubt. outcome: the result of an attempt; the worker wrote it again, and no message is affected. record: the whole record of the message is lost.",
	}, []string{"lost"})
	m.restored = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_redis_restored_shards_total",
		Help: "Shards whose numbers are held because Redis lost more writes than the workers remember, for example after a restore from a backup. An operator must check in the data of the callers which messages were sent, and then release the holds.",
	})
	m.latency = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "sluice_accepted_latency_seconds",
		Help:    "Time from when a message could be sent to Meta's answer that accepted it, with retries and time in doubt. A message can be sent when it is accepted by the API, at its send_at, when the message that it waits for has reached the state, when an operator sends it again, or when the last hold on it ends, whichever comes last. The end of a hold is known to within 2 s, and the later time counts. A message counts once, when Meta's answer accepts it: not when it ends otherwise, and not when only a status proves that Meta accepted it.",
		Buckets: []float64{.05, .1, .25, .5, 1, 2, 5, 10, 30, 60, 300, 900, 3600},

		NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
	}, []string{"class"})
	for _, c := range message.Classes() {
		m.latency.WithLabelValues(string(c))
	}
	reg.MustRegister(m.attempts, m.inflight, m.duplicates, m.tampered, m.rewound, m.restored, m.latency)
	m.note(message.LostWrites{})
	m.expired = newExpired(reg)
	return m
}

// attempt counts an attempt. The counters of a number and a class begin with their first attempt, all outcomes at once: with
// thousands of numbers, those of classes that a number never sends would be most of a scrape.
func (m *metrics) attempt(number string, class message.Class, kind message.Kind) {
	if _, seen := m.seen.LoadOrStore([2]string{number, string(class)}, nil); !seen {
		for _, k := range message.Kinds() {
			m.attempts.WithLabelValues(number, string(class), string(k))
		}
	}
	m.attempts.WithLabelValues(number, string(class), string(kind)).Inc()
}

// moves has the state changes that a sweeper makes.
var moves = []struct{ from, to message.State }{
	{message.Attempting, message.InDoubt},
	{message.InDoubt, message.Queued},
	{message.InDoubt, message.Parked},
	{message.InDoubt, message.Failed},
	{message.Parked, message.Failed}, // no operator has decided
	{message.Queued, message.Expired},
	{message.Queued, message.Queued}, // its task was missing
}

// sweeperMetrics has the metrics of a sweeper.
type sweeperMetrics struct {
	moves              *prometheus.CounterVec
	postponed, refused prometheus.Counter
	failures           prometheus.Counter
	expired            *prometheus.CounterVec
}

func newSweeperMetrics(reg prometheus.Registerer) *sweeperMetrics {
	s := &sweeperMetrics{
		moves: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_sweeper_transitions_total",
			Help: "State changes that the sweeper made: attempts of workers that died, in-doubt windows that ended, deadlines, lost tasks.",
		}, []string{"from", "to"}),
		postponed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_in_doubt_postponed_total",
			Help: "Times that the sweeper did not decide about an in-doubt message at the end of its window, because Meta's webhooks may not reach this installation.",
		}),
		refused: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_resends_refused_total",
			Help: "In-doubt messages that Sluice parked although the policy of their class is resend, because it had sent too many in-doubt messages again in the last minute. It does not count the command sluice resend.",
		}),
	}
	s.failures = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_sweeper_failures_total",
		Help: "Passes of the sweeper that failed in part: a shard did not answer, or a record cannot be read. The log names it. All other messages were handled.",
	})
	reg.MustRegister(s.moves, s.postponed, s.refused, s.failures)
	s.expired = newExpired(reg)
	for _, m := range moves {
		s.moves.WithLabelValues(string(m.from), string(m.to))
	}
	return s
}

// stages says where a message waited when its deadline passed, by the reason in its record.
var stages = map[string]string{
	message.ReasonDeadline: "queue", message.ReasonLateRetry: "retry", message.ReasonLateHeld: "hold",
	message.ReasonLateAfter: "after",
}

// newExpired returns the counter that the sender and the sweeper share.
func newExpired(reg prometheus.Registerer) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_messages_expired_total",
		Help: "Messages whose deadline passed before Meta accepted them, by where they waited: queue, retry, hold, or after (for another message).",
	}, []string{"stage", "class"})
	if there, ok := errors.AsType[prometheus.AlreadyRegisteredError](reg.Register(c)); ok {
		return there.ExistingCollector.(*prometheus.CounterVec)
	}
	for _, s := range stages {
		for _, class := range message.Classes() {
			c.WithLabelValues(s, string(class))
		}
	}
	return c
}
