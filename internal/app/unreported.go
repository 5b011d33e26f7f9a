package app

import (
	"context"
	"math"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/ledger"
	"sluice/internal/message"
)

// unreported finds statuses that were lost: of what Meta took long ago something should be known.
func unreported(book *ledger.Ledger) prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_messages_awaiting_status",
		Help: "Messages that Meta accepted more than 15 minutes ago and sent no status for. All workers report the same value: take the maximum.",
	}, func() float64 {
		ctx, cancel := context.WithTimeout(context.Background(), gaugesFresh/2)
		defer cancel()
		n, err := book.OwedInAll(ctx, time.Now().Add(-message.ReportsWithin))
		if err != nil {
			return math.NaN()
		}
		return float64(n)
	})
}
