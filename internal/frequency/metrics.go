package frequency

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// Counter returns a function that counts the messages that were cancelled because of a cap.
func Counter(reg prometheus.Registerer) func(c message.Class) {
	all := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_capped_messages_total",
		Help: "Messages that were cancelled because their recipients had as many messages of the client as its frequency caps allow, by class.",
	}, []string{"class"})
	for _, class := range message.Classes() {
		all.WithLabelValues(string(class))
	}
	return func(c message.Class) { all.WithLabelValues(string(c)).Inc() }
}
