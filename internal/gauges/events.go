package gauges

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/events"
)

const sameOfAll = " All workers report the same value: take the maximum."

var (
	eventBytesDesc  = prometheus.NewDesc("sluice_events_bytes", "Redis memory that events use."+sameOfAll, nil, nil)
	eventBudgetDesc = prometheus.NewDesc("sluice_events_budget_bytes", "Redis memory that events may use: events.memory, or a quarter of maxmemory."+sameOfAll, nil, nil)
	eventAgeDesc    = prometheus.NewDesc("sluice_events_retention_seconds", "How long events are kept now. It is less than sluice_events_retention_configured_seconds while events are dropped before their time, for lack of memory."+sameOfAll, nil, nil)
	eventFullDesc   = prometheus.NewDesc("sluice_events_retention_configured_seconds", "How long events must be kept: events.retention."+sameOfAll, nil, nil)
)

// Events returns gauges of the event streams, which kept reads at a scrape. Without an answer of the store, and before the
// first measurement, there are no such series.
func Events(kept func(context.Context) (events.Kept, error)) prometheus.Collector {
	return eventGauges(kept)
}

type eventGauges func(context.Context) (events.Kept, error)

// Describe implements prometheus.Collector.
func (eventGauges) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{eventBytesDesc, eventBudgetDesc, eventAgeDesc, eventFullDesc} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (kept eventGauges) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
	defer cancel()
	k, err := kept(ctx)
	if err != nil || k.At.IsZero() {
		return
	}
	out <- prometheus.MustNewConstMetric(eventBytesDesc, prometheus.GaugeValue, float64(k.Bytes))
	out <- prometheus.MustNewConstMetric(eventBudgetDesc, prometheus.GaugeValue, float64(k.Budget))
	out <- prometheus.MustNewConstMetric(eventAgeDesc, prometheus.GaugeValue, k.Effective.Seconds())
	out <- prometheus.MustNewConstMetric(eventFullDesc, prometheus.GaugeValue, k.Retention.Seconds())
}

var (
	lagDesc     = prometheus.NewDesc("sluice_stream_lag_seconds", "Age of the oldest entry of the event streams that a consumer group has not read, or read and not acknowledged. 0: there is none. group: its name; sluice: Sluice itself, which applies what Meta reports; other: all groups after the first 20 by name."+sameOfAll, []string{"group"}, nil)
	entriesDesc = prometheus.NewDesc("sluice_stream_lag_entries", "Entries of the event streams that a consumer group has not read, or read and not acknowledged. Absent while Redis does not know it, and for sluice. group: see sluice_stream_lag_seconds."+sameOfAll, []string{"group"}, nil)
)

// Lags returns gauges of how far consumer groups are behind, which read reads at a scrape. Without an answer of the store
// there are no such series.
func Lags(read func(context.Context) ([]events.Lag, error)) prometheus.Collector {
	return lagGauges(read)
}

type lagGauges func(context.Context) ([]events.Lag, error)

// Describe implements prometheus.Collector.
func (lagGauges) Describe(out chan<- *prometheus.Desc) { out <- lagDesc; out <- entriesDesc }

// Collect implements prometheus.Collector.
func (read lagGauges) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
	defer cancel()
	all, err := read(ctx)
	if err != nil {
		return
	}
	for _, l := range all {
		out <- prometheus.MustNewConstMetric(lagDesc, prometheus.GaugeValue, l.Age.Seconds(), l.Group)
		if l.Entries >= 0 {
			out <- prometheus.MustNewConstMetric(entriesDesc, prometheus.GaugeValue, float64(l.Entries), l.Group)
		}
	}
}
