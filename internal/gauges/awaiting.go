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

// InDoubt returns a gauge of the age of the oldest in-doubt message.
func InDoubt(age func(context.Context) (time.Duration, error)) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_in_doubt_oldest_age_seconds",
		Help: "How long the oldest in-doubt message is in doubt. 0: no message is. Where more than 100 messages of a shard are in doubt, the oldest of those whose window has ended or ends next." + sameOfAll,
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
		defer cancel()
		d, err := age(ctx)
		if err != nil {
			return math.NaN()
		}
		return d.Seconds()
	})
}
