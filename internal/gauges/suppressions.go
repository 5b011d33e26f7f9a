package gauges

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"
)

var suppressedDesc = prometheus.NewDesc("sluice_suppressed_recipients", "People in all suppression lists."+sameOfAll, nil, nil)

// Suppressions returns a gauge of the people in all suppression lists, which count reads at a scrape. Without an answer of the store there
// is no such series.
func Suppressions(count func(context.Context) (int, error)) prometheus.Collector {
	return suppressionGauge(count)
}

type suppressionGauge func(context.Context) (int, error)

// Describe implements prometheus.Collector.
func (suppressionGauge) Describe(out chan<- *prometheus.Desc) { out <- suppressedDesc }

// Collect implements prometheus.Collector.
func (count suppressionGauge) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
	defer cancel()
	if n, err := count(ctx); err == nil {
		out <- prometheus.MustNewConstMetric(suppressedDesc, prometheus.GaugeValue, float64(n))
	}
}
