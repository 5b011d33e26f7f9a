package gauges

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/ledger"
	"sluice/internal/message"
)

// Awaiting returns a gauge of the messages that Meta accepted more than 15 minutes ago and sent no status for:
// statuses or webhooks were lost. clockOffset returns how far Redis's clock is ahead of the clock of this machine.
func Awaiting(records *ledger.Ledger, clockOffset func() time.Duration) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_messages_awaiting_status",
		Help: "Messages that Meta accepted more than 15 minutes ago and sent no status for. All workers report the same value: take the maximum.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
		defer cancel()
		n, err := records.CountAllAwaiting(ctx, time.Now().Add(clockOffset()-message.ReportsWithin))
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	})
}

var inDoubtDesc = prometheus.NewDesc("sluice_in_doubt_oldest_age_seconds", "How long the oldest in-doubt message of a class is in doubt. 0: no message is. Where more than 100 messages of a shard are in doubt, the oldest of those whose window has ended or ends next."+sameOfAll, []string{"class"}, nil)

// InDoubt returns gauges of the age of the oldest in-doubt message of each class, which ages reads at a scrape. Without an
// answer of the store there are no such series.
func InDoubt(ages func(context.Context) (map[message.Class]time.Duration, error)) prometheus.Collector {
	return inDoubtGauges(ages)
}

type inDoubtGauges func(context.Context) (map[message.Class]time.Duration, error)

// Describe implements prometheus.Collector.
func (inDoubtGauges) Describe(out chan<- *prometheus.Desc) { out <- inDoubtDesc }

// Collect implements prometheus.Collector.
func (ages inDoubtGauges) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
	defer cancel()
	all, err := ages(ctx)
	if err != nil {
		return
	}
	for _, c := range message.Classes() {
		out <- prometheus.MustNewConstMetric(inDoubtDesc, prometheus.GaugeValue, all[c].Seconds(), string(c))
	}
}
