package canary

import (
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
)

// same ends the description of each metric.
const same = " All producers report the same value: take the maximum."

const (
	durationHelp    = "Time from the acceptance of a canary to the step, of the latest canary that reached it: attempting, submitted, sent or delivered." + same
	consecutiveHelp = "How many of the latest canaries of the number failed in a row at this step: it was the first step that did not come. 0: the latest canary was delivered, or failed at another step." + same
)

type metrics struct {
	success               *prometheus.GaugeVec   // by phone_number_id
	duration, consecutive *prometheus.GaugeVec   // by phone_number_id and step
	failures              *prometheus.CounterVec // by phone_number_id and step
}

func newMetrics(reg prometheus.Registerer, canaries []Canary) *metrics {
	factory := promauto.With(reg)
	m := &metrics{
		success: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_canary_last_success_timestamp_seconds",
			Help: "Unix time at which the latest delivered canary of the number was found to be delivered. 0: none since the start of the program." + same,
		}, []string{"phone_number_id"}),
		duration: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_canary_duration_seconds",
			Help: durationHelp,
		}, []string{"phone_number_id", "step"}),
		failures: factory.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_canary_failures_total",
			Help: "Canaries that were not delivered in time, by the first step that did not come: accepted, attempting, submitted, sent or delivered." + same,
		}, []string{"phone_number_id", "step"}),
		consecutive: factory.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_canary_consecutive_failures",
			Help: consecutiveHelp,
		}, []string{"phone_number_id", "step"}),
	}
	for _, c := range canaries {
		m.success.WithLabelValues(c.PhoneNumberID)
		for _, s := range Steps() {
			m.failures.WithLabelValues(c.PhoneNumberID, string(s))
			m.consecutive.WithLabelValues(c.PhoneNumberID, string(s))
		}
	}
	return m
}

// note records what became of a canary.
func (m *metrics) note(number string, r Result) {
	if r.Missing == "" {
		m.success.WithLabelValues(number).SetToCurrentTime()
	} else {
		m.failures.WithLabelValues(number, string(r.Missing)).Inc()
	}
	for _, s := range Steps() {
		if failures := m.consecutive.WithLabelValues(number, string(s)); s == r.Missing {
			failures.Inc()
		} else {
			failures.Set(0)
		}
	}
	for _, reached := range r.Reached {
		if reached.Step != Accepted { // which is the beginning
			m.duration.WithLabelValues(number, string(reached.Step)).Set(reached.Seconds)
		}
	}
}
