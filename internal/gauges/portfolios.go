package gauges

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/portfolio"
)

var (
	peopleDesc         = prometheus.NewDesc("sluice_portfolio_unique_users_24h", "People that a business portfolio wrote to first in the last 24 hours, of portfolios with a messaging limit. With another 2 minutes, so it can be a little more than Meta's count."+sameOfAll, []string{"portfolio"}, nil)
	portfolioLimitDesc = prometheus.NewDesc("sluice_portfolio_messaging_limit", "How many people a business portfolio may write to first in 24 hours, as Meta says. Absent: no limit, or it is unknown."+sameOfAll, []string{"portfolio"}, nil)
)

// Portfolios returns gauges of the messaging limits of portfolios, which states reads at a scrape. Without an answer of the store
// there are no such series.
func Portfolios(states func(context.Context) ([]portfolio.State, error)) prometheus.Collector {
	return portfolioGauges(states)
}

type portfolioGauges func(context.Context) ([]portfolio.State, error)

// Describe implements prometheus.Collector.
func (portfolioGauges) Describe(out chan<- *prometheus.Desc) {
	out <- peopleDesc
	out <- portfolioLimitDesc
}

// Collect implements prometheus.Collector.
func (states portfolioGauges) Collect(out chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), fresh/2)
	defer cancel()
	all, err := states(ctx)
	if err != nil {
		return
	}
	for _, s := range all {
		out <- prometheus.MustNewConstMetric(peopleDesc, prometheus.GaugeValue, float64(s.Used), s.Portfolio)
		out <- prometheus.MustNewConstMetric(portfolioLimitDesc, prometheus.GaugeValue, float64(s.Limit), s.Portfolio)
	}
}
