package app

import (
	"context"
	"encoding/json"
	"log/slog"
	"testing"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/program"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestUpdatesOfPortfolios: an update of Meta about an account changes the limit of all numbers of its portfolio, those of other accounts
// too, and of no other portfolio. A refusal of one portfolio is none of another.
func TestUpdatesOfPortfolios(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &worker{Program: &Program{Program: &program.Program{DB: db, Log: slog.New(slog.DiscardHandler)}}, limits: portfolio.New(db, portfolio.Window)}
	numbers := map[string]struct{ account, portfolio string }{"1": {"101", "A"}, "2": {"102", "A"}, "3": {"103", "B"}, "4": {"104", ""}}
	accounts := holds.NewAccounts(db)
	for number, of := range numbers {
		err := accounts.Note(t.Context(), number, of.account)
		if err == nil && of.portfolio != "" {
			err = accounts.NotePortfolio(t.Context(), of.account, of.portfolio)
		}
		owner := of.portfolio
		if owner == "" {
			owner = of.account // Meta does not say the portfolio
		}
		if err == nil {
			err = w.limits.Learn(t.Context(), number, owner, 1000)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	update := w.updates(func(context.Context, message.Event) error { return nil })
	limits := func(what, account, limit string, want map[string]int) {
		t.Helper()
		e := message.Event{Type: message.EventUpdate, WABA: account, Field: "business_capability_update", Meta: json.RawMessage(`{"max_daily_conversations_per_business":"` + limit + `"}`)}
		if err := update(t.Context(), e); err != nil {
			t.Fatal(err)
		}
		for number := range numbers {
			if _, got := w.limits.Limit(number); got != want[number] {
				t.Errorf("%s: number %s has the limit %d, want %d", what, number, got, want[number])
			}
		}
	}
	limits("the portfolio of two accounts", "102", "TIER_10K", map[string]int{"1": 10_000, "2": 10_000, "3": 1000, "4": 1000})
	limits("an account without a known portfolio", "104", "TIER_2K", map[string]int{"1": 10_000, "2": 10_000, "3": 1000, "4": 2000})
	limits("no limit any more", "103", "TIER_UNLIMITED", map[string]int{"1": 10_000, "2": 10_000, "4": 2000})

	for _, c := range []struct {
		number, template string
		code             int
		full             bool
	}{
		{"1", "sale/en", 131048, false},
		{"4", "sale/en", 131048, false}, // of another portfolio
		{"2", "", 131048, false},        // a reply does not count for the limit
		{"2", "sale/en", 131026, false},
		{"2", "sale/en", 131048, true}, // the second number of the portfolio
	} {
		e := message.MarkedReport{StatusReport: message.StatusReport{Number: c.number, Code: c.code}, Template: c.template}
		if got := w.portfolioFull(t.Context(), e); got != c.full {
			t.Errorf("%+v: the portfolio is at its limit: %t", c, got)
		}
	}
}
