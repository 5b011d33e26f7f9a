package templates

import (
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
)

var (
	templatesDesc = prometheus.NewDesc("sluice_templates",
		"Message templates of all accounts by their status at Meta, in lower case; other: a status that this version does not know. All workers report the same value: take the maximum.", []string{"status"}, nil)
	syncAgeDesc = prometheus.NewDesc("sluice_template_sync_age_seconds",
		"Time since the last complete sync of the account whose sync is the oldest. 0: no account was synchronised. All workers report the same value: take the maximum.", nil, nil)
)

// gauges are what a Catalogue has, read at a scrape.
type gauges struct{ c *Catalogue }

// Describe implements prometheus.Collector.
func (gauges) Describe(out chan<- *prometheus.Desc) { out <- templatesDesc; out <- syncAgeDesc }

// Collect implements prometheus.Collector.
func (g gauges) Collect(out chan<- prometheus.Metric) {
	const other = "other"
	known := append([]string{"APPROVED"}, message.Unsendable()...)
	counts, oldest := map[string]int{}, 0.0
	for _, a := range g.c.Accounts() {
		for _, t := range a.Templates {
			status := t.Status
			if !slices.Contains(known, status) {
				status = other
			}
			counts[status]++
		}
		if a.Sync.Synced > 0 {
			oldest = max(oldest, time.Since(time.UnixMilli(a.Sync.Synced)).Seconds())
		}
	}
	for _, status := range append(known, other) {
		out <- prometheus.MustNewConstMetric(templatesDesc, prometheus.GaugeValue, float64(counts[status]), strings.ToLower(status))
	}
	out <- prometheus.MustNewConstMetric(syncAgeDesc, prometheus.GaugeValue, oldest)
}
