package budget

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
)

// Counter returns a function that counts each time that a message must wait because of a budget.
func Counter(reg prometheus.Registerer) func(c message.Class) {
	all := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_over_budget_total",
		Help: "How often a message was about to be sent, and had to wait because a budget of its client had too little left, by class.",
	}, []string{"class"})
	for _, class := range message.Classes() {
		all.WithLabelValues(string(class))
	}
	return func(c message.Class) { all.WithLabelValues(string(c)).Inc() }
}
