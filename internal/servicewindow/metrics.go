package servicewindow

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// The stages at which a message is found to be outside its window, as values of a metric label.
const (
	StageAccept = "accept" // when it was accepted
	StageSend   = "send"   // the window closed while the message waited
)

// Counter returns a function that counts the free-form messages of a stage that were found outside the window: replaced by their
// fallback template, or else refused.
func Counter(reg prometheus.Registerer, stage string) func(replaced bool) {
	all := promauto.With(reg).NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_outside_window_messages_total",
		Help: "Free-form messages that were not sent because the customer service window of the recipient was closed, by stage (accept: by the API; send: in the queue) and result (refused, or replaced by the fallback template).",
	}, []string{"stage", "result"})
	replaced, refused := all.WithLabelValues(stage, "replaced"), all.WithLabelValues(stage, "refused")
	return func(is bool) {
		if is {
			replaced.Inc()
		} else {
			refused.Inc()
		}
	}
}

var knownDesc = prometheus.NewDesc("sluice_customer_service_windows_known",
	"1: Sluice knows the customer service windows of the number, so free-form messages outside them are refused or replaced. 0: Meta decides, see customer-service-window.md. Absent: the number does not track them.",
	[]string{"phone_number_id"}, nil)

// collectWithin is the time limit of a scrape.
const collectWithin = 2 * time.Second

// Describe implements prometheus.Collector.
func (w *Windows) Describe(out chan<- *prometheus.Desc) { out <- knownDesc }

// Collect implements prometheus.Collector.
func (w *Windows) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectWithin)
	defer cancel()
	for _, number := range w.o.Numbers() {
		if !w.Tracked(number) {
			continue
		}
		known := 0.
		if w.knows(ctx, number) {
			known = 1
		}
		out <- prometheus.MustNewConstMetric(knownDesc, prometheus.GaugeValue, known, number)
	}
}
