package autoreply

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// What answered a message.
const (
	byRule    = "rule"
	byHook    = "hook"
	byAway    = "away"
	byWelcome = "welcome"
	byNone    = "none"
)

// Why a message got no answer, or no answer of the hook.
const (
	missedOld         = "too_old"
	missedLoop        = "loop"
	missedRefused     = "refused"
	missedUnavailable = "unavailable"

	missedHookTimeout     = "hook_timeout"
	missedHookUnreachable = "hook_unreachable"
	missedHookAddress     = "hook_address"
	missedHookStatus      = "hook_status"
	missedHookAnswer      = "hook_answer"
	missedHookBusy        = "hook_busy"
)

type metrics struct {
	replies, missed map[string]prometheus.Counter // by what answered, by reason
	hook            prometheus.Histogram
}

func newMetrics(reg prometheus.Registerer) *metrics {
	factory := promauto.With(reg)
	m := &metrics{replies: map[string]prometheus.Counter{}, missed: map[string]prometheus.Counter{}}
	replies := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_auto_replies_total",
		Help: "Inbound messages that automatic replies answered, by what answered: rule, hook (also with no message), away, welcome, none (nothing had an answer).",
	}, []string{"by"})
	for _, by := range []string{byRule, byHook, byAway, byWelcome, byNone} {
		m.replies[by] = replies.WithLabelValues(by)
	}
	missed := factory.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_auto_replies_missed_total",
		Help: "Automatic replies that are missing, by reason. too_old: the message waited longer than 15 minutes. loop: the person got 5 answers in 10 minutes. refused: the API refused the answer. unavailable: Redis or the API key cannot be used, Sluice tries again. The hook gave no answer, and the away or welcome text counted: hook_timeout (its deadline passed), hook_unreachable, hook_address (a private address, or no TLS), hook_status (neither 200 nor 204), hook_answer (not 0 to 5 messages as JSON), hook_busy (too many messages waited for the hook).",
	}, []string{"reason"})
	for _, reason := range []string{missedOld, missedLoop, missedRefused, missedUnavailable, missedHookTimeout, missedHookUnreachable, missedHookAddress, missedHookStatus, missedHookAnswer, missedHookBusy} {
		m.missed[reason] = missed.WithLabelValues(reason)
	}
	m.hook = factory.NewHistogram(prometheus.HistogramOpts{
		Name:    "sluice_auto_reply_hook_seconds",
		Help:    "How long the requests to auto-reply hooks took, with and without an answer.",
		Buckets: []float64{0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10},
	})
	return m
}
