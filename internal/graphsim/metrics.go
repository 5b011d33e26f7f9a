package graphsim

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// The results of a call, in addition to Graph error codes and the endings in faults.go.
const (
	okay   = "ok"     // answered with success
	left   = "left"   // the client left before the answer was due
	outage = "outage" // 503 in a total outage
)

// codes are the usual Graph error codes of answers. They have a series from the
// start. An account or a scenario can name any other code of Meta.
var codes = []string{
	"10", "100", "104", "190", "200", "130429", "131000", "131008", "131009", "131016", "131031", "131042",
	"131048", "131051", "131053", "131055", "131056", "131057", "131062", "132000", "132001", "132005", "132012", "132015",
	"132016", "132018", "133010", "134100",
}

type metrics struct {
	requests *prometheus.CounterVec
	window   *prometheus.GaugeVec
	posts    *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer, s *Sim) *metrics {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_sim_requests_total",
			Help: "Requests to the simulated Graph API, by result: ok, a Graph error code, or a way of not answering.",
		}, []string{"code"}),
		window: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "sluice_sim_largest_window_messages",
			Help: "Largest number of messages that arrived from a phone number id within one second, refused ones included.",
		}, []string{"phone_number_id"}),
		posts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_sim_webhook_posts_total",
			Help: "Webhook deliveries, by result. ok: the receiver answered 200.",
		}, []string{"result"}),
	}
	for _, code := range slices.Concat([]string{okay, left, outage}, allEndings, codes) {
		m.requests.WithLabelValues(code)
	}
	m.posts.WithLabelValues("ok")
	m.posts.WithLabelValues("failed")
	reg.MustRegister(m.requests, m.window, m.posts,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_sim_accepted_messages",
			Help: "Messages that the simulator accepted, answered or not.",
		}, func() float64 { return float64(s.ledger.len()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_sim_duplicate_messages",
			Help: "Messages that the simulator accepted more than once.",
		}, func() float64 { return float64(s.ledger.duplicates()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "sluice_sim_webhook_items_waiting",
			Help: "Statuses and inbound messages that no webhook receiver has answered with 200 yet.",
		}, func() float64 { return float64(s.hooks.queue.waiting()) }),
	)
	return m
}
