package pages_test

import (
	"context"
	"testing"

	"sluice/internal/report"
)

// archived is an archive with one report.
type archived struct{ summary report.Summary }

func (a archived) Summarize(context.Context, report.Filter) (report.Summary, error) {
	return a.summary, nil
}

// TestReportsPage: the page says that there is no archive, or shows its report. A message without a price is not free.
func TestReportsPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	contains(t, s.signIn("reader").get("/console/reports"), "There is no archive")
	s.summary = &report.Summary{
		Days:      []report.Delivery{{Day: "2026-01-31", Accepted: 1200, Delivered: 1100, Rate: 0.9482, Latency: report.Latency{Submitted50: 0.3}}},
		Templates: []report.Delivery{{Template: hostile, Accepted: 7}, {Accepted: 5}},
		Errors:    []report.Undelivered{{Code: 131026, State: "failed", Result: "not_delivered", Messages: 60}},
		Statements: []report.Statement{{
			Account: "9001", Currency: "EUR", Messages: 1101, Total: 60_500_000,
			Lines:    []report.Line{{Market: "Germany", Category: "utility", Type: "regular", Messages: 1100, Price: 55_000, Amount: 60_500_000}},
			Unpriced: []report.Line{{Market: "8210", Category: "marketing", Type: "regular", Messages: 1}},
		}},
	}
	_, s.url = s.serve(s.keys)
	contains(t, s.signIn("reader").get("/console/reports?days=30"), "1,200", "94.8 %", "0.3 s", "no template", "131026", "0.055", "60.50 EUR", "unknown", "without the messages of unknown price", `aria-current="true">30`)
}
