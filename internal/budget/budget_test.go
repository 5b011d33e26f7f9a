package budget_test

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"sluice/internal/budget"
	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

var (
	now    = time.Date(2026, 11, 30, 23, 0, 0, 0, time.UTC)
	spring = message.Flow{Client: "acme", Campaign: "spring"}
)

// world is a Store with budgets and corrections that a test sets.
type world struct {
	*budget.Store
	t         *testing.T
	db        *store.DB
	budgets   config.Budgets
	campaign  message.Amount
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
		Campaign: func(message.Flow) message.Amount { return w.campaign },
		Corrected: func(_ context.Context, accounts []message.Spending) ([]int64, error) {
			by := make([]int64, len(accounts))
			for i, a := range accounts {
				by[i] = w.corrected[a]
			}
			return by, nil
		},
	})
}

// try asks for messages of spring, and returns which may be sent.
func (w *world) try(at time.Time, cost int, ids ...string) string {
	w.t.Helper()
	all := make([]budget.Message, len(ids))
	for i, id := range ids {
		all[i] = budget.Message{ID: id, Flow: spring, Class: message.Marketing, Cost: cost}
	}
	may, err := w.Admit(w.t.Context(), at, all)
	if err != nil {
		w.t.Fatal(err)
	}
	return fmt.Sprint(may)
}

// A message is sent if all its budgets have enough left; else its class of its flow is closed. One that was counted a moment ago counts once. A smaller
// one may still fit in.
func TestAdmit(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		budgets  config.Budgets
		campaign message.Amount
		over     string
	}{
		"day":      {config.Budgets{PerDay: 250}, 0, "per_day"},
		"month":    {config.Budgets{PerMonth: 250}, 0, "per_month"},
		"campaign": {config.Budgets{}, 250, "campaign"},
		"all":      {config.Budgets{PerDay: 1000, PerMonth: 1000}, 250, "campaign"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.budgets)
			w.campaign = c.campaign
			if !w.Concern(spring) || w.Closed(spring) != [4]bool{} {
				t.Error("the flow is closed, or has no budget")
			}
			if got := w.try(now, 100, "a", "b", "a", "c"); got != "[true true true false]" {
				t.Error(got)
			}
			if other := (message.Flow{Client: "acme", Campaign: "autumn"}); w.Closed(spring) != [4]bool{3: true} || w.Closed(other) != [4]bool{} {
				t.Error("closed are not just those that do not fit in")
			}
			if got := w.try(now, 50, "d"); got != "[true]" {
				t.Error("a smaller message is not sent")
			}
			if over, err := w.Over(t.Context(), now, budget.Message{ID: "e", Flow: spring, Cost: 1}); err != nil || over == nil || over.Budget != c.over || over.Spent != 250 {
				t.Errorf("over: %+v, %v", over, err)
			}
		})
	}
}

// The next day has its own budget. Messages of other clients, and those without a cost, are not counted.
func TestPeriods(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Budgets{PerDay: 100, PerMonth: 150})
	if got := w.try(now, 100, "a", "b"); got != "[true false]" {
		t.Error(got)
	}
	if got := w.try(now.Add(time.Hour), 100, "b"); got != "[true]" {
		t.Error(got)
	}
	may, err := w.Admit(t.Context(), now, []budget.Message{{ID: "c", Flow: spring}, {ID: "d", Cost: 1000}, {ID: "e", Flow: message.Flow{Client: "other"}, Cost: 1000}})
	if got := fmt.Sprint(may, err); got != "[true true true] <nil>" {
		t.Error(got)
	}
}

// What messages cost in the end counts in place of the estimates. The budget of a campaign needs no client.
func TestCorrected(t *testing.T) {
	t.Parallel()
	w := newWorld(t, config.Budgets{PerDay: 200})
	w.try(now, 100, "a", "b")
	w.corrected[message.Spending{Client: "acme", Period: "2026-11-30"}] = -100
	used, err := w.Used(t.Context(), []string{"acme", "other"}, now)
	want := []message.BudgetUse{{Client: "acme", Budget: "per_day", Limit: 200, Spent: 100, Until: now.Add(time.Hour)}}
	if err != nil || !slices.Equal(used, want) {
		t.Errorf("%v, %v, want\n%v", used, err, want)
	}
	w.Store = w.another() // which has read no corrections yet
	if got := w.try(now, 100, "c"); got != "[true]" {
		t.Error("what came back was not used")
	}
	if got := w.try(now, 1, "d"); got != "[false]" {
		t.Error("over the budget of the day")
	}
	w.campaign = 300
	alone := message.Flow{Campaign: "spring"}
	may, err := w.Admit(t.Context(), now, []budget.Message{{ID: "e", Flow: alone, Class: message.Marketing, Cost: 200}, {ID: "f", Flow: alone, Class: message.Marketing, Cost: 200}})
	if got := fmt.Sprint(may, err); got != "[true false] <nil>" {
		t.Error(got)
	}
	w.corrected[message.Spending{Campaign: "spring"}] = 7
	if spent, err := w.Spent(t.Context(), alone); err != nil || spent != 207 {
		t.Errorf("spent %v, %v", spent, err)
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
				may, err := w.Admit(t.Context(), now, []budget.Message{{ID: fmt.Sprint(worker, "-", i), Flow: spring, Class: message.Marketing, Cost: 7}})
				if err != nil {
					t.Error(err)
					return
				}
				if may[0] {
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
