package suppression

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// The stages at which a message is suppressed, as values of a metric label.
const (
	StageAccept = "accept" // it was refused and not stored
	StageSend   = "send"   // it was stored before the recipient opted out, and cancelled before an attempt
)

// Counter returns a function that counts the suppressed messages of a stage.
func Counter(reg prometheus.Registerer, stage string) func(c message.Class) {
	all := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_suppressed_messages_total",
		Help: "Messages that were not sent because their recipients opted out, by stage (accept: refused by the API; send: cancelled in the queue) and class.",
	}, []string{"stage", "class"})
	for _, class := range message.Classes() {
		all.WithLabelValues(stage, string(class))
	}
	return func(c message.Class) { all.WithLabelValues(stage, string(c)).Inc() }
}
