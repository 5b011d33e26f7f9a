package cloudapi

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

type metrics struct {
	duration *prometheus.HistogramVec
	errors   *prometheus.CounterVec
}

func newMetrics(reg prometheus.Registerer) *metrics {
	f := promauto.With(reg)
	m := &metrics{
		duration: f.NewHistogramVec(prometheus.HistogramOpts{
			Name:                            "sluice_graph_request_duration_seconds",
			Help:                            "Time of one POST to the Graph API, connecting included, by outcome.",
			Buckets:                         []float64{.025, .05, .1, .2, .3, .5, .75, 1, 2, 3, 5, 10, 20, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, []string{"outcome"}),
		errors: f.NewCounterVec(prometheus.CounterOpts{
			Name: "sluice_send_errors_total",
			Help: "Attempts that Meta did not accept, by Meta's error code. other: no code, or one that docs/errors.md does not list.",
		}, []string{"code"}),
	}
	for _, k := range message.Kinds() {
		m.duration.WithLabelValues(string(k))
	}
	m.errors.WithLabelValues("other")
	for _, e := range codes {
		m.errors.WithLabelValues(e.Name())
	}
	return m
}

func (m *metrics) observe(ctx context.Context, k message.Kind, d time.Duration) {
	tracing.Observe(ctx, m.duration.WithLabelValues(string(k)), d.Seconds())
}

func (m *metrics) failed(code string) { m.errors.WithLabelValues(code).Inc() }
