package report

import (
	"cmp"
	"context"
	"slices"
	"time"

	"sluice/internal/prices"
)

// Reports are the reports of an archive with the prices that an operator gave. They are safe for concurrent use.
type Reports struct {
	*Reader
	prices *prices.Table
}

// Open returns the reports of the archive at a URL, with the prices of a table; nil: there are none. It does not connect.
func Open(url string, table *prices.Table) (*Reports, error) {
	r, err := New(url)
	if err != nil {
		return nil, err
	}
	return &Reports{r, table}, nil
}

// Summary is what the console shows of some days.
type Summary struct {
	From       time.Time     `json:"from" doc:"Begin of the first day, UTC."`
	Until      time.Time     `json:"until" doc:"End of the last day, UTC."`
	Days       []Delivery    `json:"days" doc:"What became of the messages of each day on which Sluice accepted messages."`
	Templates  []Delivery    `json:"templates" doc:"The same by template, those with the most messages first."`
	Errors     []Undelivered `json:"errors" doc:"Why messages were not delivered, the most frequent first."`
	Statements []Statement   `json:"statements" doc:"What Meta charges, by account."`
}

// Summarize reads everything about the messages of a filter.
func (r *Reports) Summarize(ctx context.Context, f Filter) (s Summary, err error) {
	s.From, s.Until = f.From, f.Until
	if s.Days, err = r.Deliveries(ctx, f, ByDay); err != nil {
		return s, err
	}
	if s.Templates, err = r.Deliveries(ctx, f, ByTemplate); err != nil {
		return s, err
	}
	slices.SortStableFunc(s.Templates, func(a, b Delivery) int { return cmp.Compare(b.Accepted, a.Accepted) })
	if s.Errors, err = r.Failures(ctx, f); err != nil {
		return s, err
	}
	s.Statements, err = r.Statements(ctx, f)
	return s, err
}

// Statements returns what Meta charges, see Cost.
func (r *Reports) Statements(ctx context.Context, f Filter) ([]Statement, error) {
	return r.Cost(ctx, f, r.prices)
}
