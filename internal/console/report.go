package console

import (
	"context"
	"net/http"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/report"
)

// reports reads the archive.
type reports interface {
	Summarize(ctx context.Context, f report.Filter) (report.Summary, error)
}

// reportDays is how many days a report has at most, and how many without a choice.
const reportDays, reportDaysUsual = 92, 7

func (c *Console) report(ctx context.Context, _ http.ResponseWriter, r *http.Request, key httpapi.Key) (any, httpapi.Refusal) {
	days, refused := countOf(r, "days", reportDaysUsual, 1, reportDays)
	if refused != nil {
		return nil, refused
	}
	if c.o.Reports == nil {
		return nil, httpapi.Refuse("archive_not_configured")
	}
	tomorrow := time.Now().UTC().Truncate(24*time.Hour).AddDate(0, 0, 1)
	f := report.Filter{From: tomorrow.AddDate(0, 0, -days), Until: tomorrow}
	if !key.CoversAll() {
		f.Numbers = key.Numbers
	}
	s, err := c.o.Reports.Summarize(ctx, f)
	if err != nil {
		c.o.Log.Error("cannot read archive", "err", err)
		return nil, httpapi.Refuse("archive_unavailable")
	}
	return s, nil
}

// reportRoute is the route of the reports.
func (c *Console) reportRoute() httpapi.Route {
	return httpapi.Route{
		Method: http.MethodGet, Path: "/v1/report", Name: "readReport", Group: "Reports", Scope: httpapi.ScopeConsole,
		Summary: "Read what became of the messages of the last days, why messages were not delivered, and what Meta charges.",
		Doc:     "From the [archive](archive.md), for the numbers of the API key. Days are in UTC. `sluice report` has further groups, time zones and months.",
		Params:  []httpapi.Param{{In: "query", Name: "days", Doc: "How many days, today included, 1 to 92. Default: 7.", Example: "30", Type: 0}},
		Answers: []httpapi.Answer{{Status: 200, Doc: "The report.", Type: report.Summary{}}},
		Codes:   []string{"archive_not_configured", "archive_unavailable"}, Handler: c.handle(c.report),
	}
}
