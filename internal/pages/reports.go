package pages

import "sluice/internal/report"

// reports are the data of the page of reports.
type reports struct {
	report.Summary
	Chosen string // how many days; empty: the usual number
}

// Choices are the lengths of reports, in days.
func (reports) Choices() []string { return []string{"1", "7", "30", "92"} }

func reportsPage() page {
	return page{
		name: "reports", path: "reports", title: "Reports", nav: true,
		read: func(v *view) (any, *problem) {
			r := reports{Chosen: v.query("days")}
			failed := v.console("GET", withQuery("/v1/report", "days", r.Chosen), nil, &r.Summary)
			if failed != nil && failed.Code == "archive_not_configured" {
				return nil, nil
			}
			return r, failed
		},
	}
}
