package budget_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"sluice/internal/budget"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/prices"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

var (
	now    = time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	spring = message.Flow{Client: "acme", Campaign: "spring"}
)

const pause = time.Hour

type money = prices.Amount

// world is a Store with budgets and corrections that a test sets.
type world struct {
	*budget.Store
	t         *testing.T
	db        *store.DB
	budgets   config.Budgets
	corrected map[message.Spending]int64
}

func newWorld(t *testing.T, b config.Budgets) *world {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, db: db, budgets: b, corrected: map[message.Spending]int64{}}
	w.Store = w.another()
	return w
}

// another returns a Store of another worker.
func (w *world) another() *budget.Store {
	return budget.New(w.db, budget.Options{
		Of: func(client string) (none config.Budgets) {
			if client == "acme" {
				return w.budgets
			}
			return none
		},
		Corrected: func(_ context.Context, accounts []message.Spending) ([]int64, error) {
			by := make([]int64, len(accounts))
			for i, a := range accounts {
				by[i] = w.corrected[a]
			}
			return by, nil
		},
	})
}

// try asks for messages of spring, and returns what each must wait for.
func (w *world) try(at time.Time, cost int, ids ...string) []time.Time {
	w.t.Helper()
	all := make([]budget.Message, len(ids))
	for i, id := range ids {
		all[i] = budget.Message{ID: id, Flow: spring, Cost: cost}
	}
	until, err := w.Admit(w.t.Context(), at, all, pause)
	if err != nil {
		w.t.Fatal(err)
	}
	return until
}

// A message that does not fit in waits for the end of its period, or for a pause if the budget of its campaign is used up. One that was
// counted a moment ago counts once. A smaller one may still fit in.
func TestAdmit(t *testing.T) {
	t.Parallel()
	midnight := time.Date(2026, 12, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		budgets config.Budgets
		until   time.Time
	}{
		"day":               {config.Budgets{PerDay: 250}, midnight},
		"month":             {config.Budgets{PerMonth: 250}, midnight},
		"campaign":          {config.Budgets{Campaigns: map[string]money{"spring": 250}}, now.Add(pause)},
		"the first decides": {config.Budgets{PerDay: 250, Campaigns: map[string]money{"spring": 250}}, midnight},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.budgets)
			got := fmt.Sprint(w.try(now, 100, "a", "b", "a", "c"))
			if want := fmt.Sprint([]time.Time{{}, {}, {}, c.until}); got != want {
				t.Errorf("%s, want %s", got, want)
			}
			if got := w.try(now, 50, "d"); !got[0].IsZero() {
				t.Errorf("a smaller message: %s", got)
			}
			if over, err := w.Over(t.Context(), now, budget.Message{ID: "e", Flow: spring, Cost: 1}); over == "" || err != nil {
				t.Errorf("over: %q, %v", over, err)
			}
		})
	}
}

// The next day has its own budget. Messages of other clients, and those without a cost, are not counted.
func TestPeriods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Budgets{PerDay: 100, PerMonth: 150})
	if got := w.try(now, 100, "a"); !got[0].IsZero() {
		t.Fatal(got)
	}
	if got := w.try(now, 100, "b"); !got[0].Equal(now.Add(time.Hour)) {
		t.Fatal(got)
	}
	if got := w.try(now.Add(time.Hour), 100, "b"); !got[0].IsZero() {
		t.Fatal(got)
	}
	until, err := w.Admit(t.Context(), now, []budget.Message{{ID: "c", Flow: spring}, {ID: "d", Cost: 1000}, {ID: "e", Flow: message.Flow{Client: "other"}, Cost: 1000}}, pause)
	if got, want := fmt.Sprint(until, err), fmt.Sprint([]time.Time{{}, {}, {}}, nil); got != want {
		t.Errorf("%s, want %s", got, want)
	}
}

// What messages cost in the end counts in place of the estimates.
func TestCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Budgets{PerDay: 200, Campaigns: map[string]money{"spring": 300, "autumn": 7}})
	w.try(now, 100, "a", "b")
	w.corrected[message.Spending{Client: "acme", Period: "2026-11-30"}] = -100
	used, err := w.Used(t.Context(), []string{"acme", "other"}, now)
	want := []message.BudgetUse{
		{Client: "acme", Budget: "per_day", Limit: "0.0002", Spent: "0.0001", Until: now.Add(time.Hour)},
		{Client: "acme", Budget: "campaigns.autumn", Limit: "0.000007", Spent: "0.00"},
		{Client: "acme", Budget: "campaigns.spring", Limit: "0.0003", Spent: "0.0002"},
	}
	if fmt.Sprint(used, err) != fmt.Sprint(want, nil) {
		t.Errorf("%v, %v, want\n%v", used, err, want)
	}
	w.Store = w.another() // which has read no corrections yet
	if got := w.try(now, 100, "c"); !got[0].IsZero() {
		t.Errorf("what came back was not used: %s", got)
	}
	if got := w.try(now, 1, "d"); got[0].IsZero() {
		t.Error("over the budget of the day")
	}
}

// However many workers ask at once, what is admitted fits in.
func TestAdmitAtOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Budgets{PerDay: 1000})
	var mu sync.Mutex
	admitted := 0
	var all sync.WaitGroup
	for worker := range 8 {
		all.Go(func() {
			for i := range 25 {
				until, err := w.Admit(t.Context(), now, []budget.Message{{ID: fmt.Sprint(worker, "-", i), Flow: spring, Cost: 7}}, pause)
				if err != nil {
					t.Error(err)
					return
				}
				if until[0].IsZero() {
					mu.Lock()
					admitted++
					mu.Unlock()
				}
			}
		})
	}
	if all.Wait(); admitted != 1000/7 {
		t.Errorf("%d messages were admitted, want %d", admitted, 1000/7)
	}
}
