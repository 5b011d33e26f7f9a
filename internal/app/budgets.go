package app

import (
	"context"
	"encoding/json"
	"time"

	"sluice/internal/budget"
	"sluice/internal/campaigns"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/prices"
	"sluice/internal/repository"
	"sluice/internal/templates"
)

// readPrices reads what Meta charges; nil: there are no prices.
func readPrices(file string) (*prices.Table, error) {
	if file == "" {
		return nil, nil
	}
	return prices.Read(file)
}

// budgets returns what clients and campaigns spend.
func (p *Program) budgets(book *ledger.Ledger, w *campaigns.Watch) *budget.Store {
	return budget.New(p.DB, budget.Options{
		Of: p.directory.Budgets, Campaign: func(f message.Flow) message.Amount { return w.Settings(f).Budget }, Corrected: book.Corrected,
	})
}

// estimate returns a function that estimates what a message costs.
func estimate(table *prices.Table, catalogue *templates.Catalogue) func(m *message.Message, at time.Time) *message.Cost {
	if table == nil {
		return nil
	}
	return func(m *message.Message, at time.Time) *message.Cost {
		amount, known := table.Estimate(regionOf(m.Content), categoryOf(m, catalogue), at)
		if amount == 0 && !known {
			return nil
		}
		return &message.Cost{Amount: amount, Currency: table.Currency, Guess: !known}
	}
}

// regionOf returns the recipient as prices have it: a phone number without its plus.
func regionOf(c message.Content) string {
	if to := c.To; to != "" && to[0] == '+' {
		return to[1:]
	}
	return c.Recipient()
}

// categoryOf returns the category for which Meta charges a message: that of its template, if it is known.
func categoryOf(m *message.Message, catalogue *templates.Catalogue) string {
	switch c := m.Content; {
	case c.Marketing:
		return "marketing_lite"
	case c.Category != "":
		return c.Category
	case c.Template == "":
		return string(message.Service)
	default:
		if class := catalogue.Class(m.From, c.Template, c.Language); class != "" {
			return string(class)
		}
		if m.Class == message.Service { // a fallback template, or a class of the caller
			return string(message.Utility)
		}
		return string(m.Class)
	}
}

// spending returns the budgets for a dispatcher. They have no effect without prices: then no message has a cost.
func (w *worker) spending() repository.Budgets {
	if w.prices == nil {
		for _, client := range w.directory.Clients() {
			if w.directory.Budgets(client) != (config.Budgets{}) {
				w.Log.Error("budgets have no effect without prices: set prices_file, the same for all programs", "client", client)
			}
		}
	}
	return repository.Budgets{Store: w.budgets(w.book, w.watched), Over: budget.Counter(w.Registry)}
}

// charge returns what Meta charges for a message by a status, with the price of the day.
func (w *worker) charge(r message.StatusReport, status json.RawMessage) message.Charge {
	c, region := cloudapi.ChargeOf(r, status)
	if c.Category == "" {
		return c
	}
	at := r.At
	if at.IsZero() {
		at = time.Now()
	}
	if price, known := w.prices.Of(region, c.Category, at.UTC().Format(time.DateOnly)); known {
		c.Cost, c.Free = int(price.Amount), price.Amount == 0
	}
	return c
}

// spent returns what clients have spent of their budgets now.
func spent(s *budget.Store) func(ctx context.Context, clients []string) ([]message.BudgetUse, error) {
	return func(ctx context.Context, clients []string) ([]message.BudgetUse, error) {
		return s.Used(ctx, clients, time.Now())
	}
}
