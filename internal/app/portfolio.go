package app

import (
	"cmp"
	"context"
	"fmt"
	"os"
	"time"

	"sluice/internal/admission"
	"sluice/internal/cloudapi"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/people"
	"sluice/internal/portfolio"
)

// LimitWindowEnv is an environment variable that shortens the window of messaging limits for tests and load runs, together with the
// simulator's. With Meta it would break the limits.
const LimitWindowEnv = "SLUICE_TEST_LIMIT_WINDOW"

// newLimits returns the ledger of messaging limits of a program, which has read what is stored.
func newLimits(ctx context.Context, p *Program) (*portfolio.Ledger, error) {
	window := portfolio.Window
	if text := os.Getenv(LimitWindowEnv); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil || d < time.Second {
			return nil, fmt.Errorf("%s must be a duration of 1s or more", LimitWindowEnv)
		}
		window = d
	}
	l := portfolio.New(p.DB, window)
	if err := l.Load(ctx); err != nil {
		p.Log.Warn("cannot read the messaging limits of portfolios, will retry", "err", err)
	}
	p.Background(l.Run)
	return l, nil
}

// limitWait returns a function that estimates how long a new message would wait for capacity under a messaging limit. It uses Redis only
// for numbers of a limited portfolio.
func limitWait(l *portfolio.Ledger, eta *admission.ETA) func(context.Context, string, message.Class) (time.Duration, error) {
	return func(ctx context.Context, number string, c message.Class) (time.Duration, error) {
		if !l.Applies(number) {
			return 0, nil
		}
		return eta.LimitWait(ctx, number, c)
	}
}

// countedPerson returns a function that reports whether a message needs no capacity under a messaging limit. If this is unknown, as
// without a secrets key, it needs none: the message is accepted, and waits.
func countedPerson(l *portfolio.Ledger, persons *people.People) func(ctx context.Context, number, recipient string) bool {
	return func(ctx context.Context, number, recipient string) bool {
		person, err := personOf(ctx, persons, number, recipient)
		if err != nil || person == (portfolio.Person{}) {
			return true
		}
		passes, err := l.Passes(ctx, number, person)
		return passes || err != nil
	}
}

// storeProfile stores Meta's description of a number, and the messaging limit of its portfolio.
func (w *worker) storeProfile(ctx context.Context, number string, p observed.Profile) error {
	if err := w.observed.SetProfile(ctx, number, p); err != nil {
		return err
	}
	limit, known := cloudapi.MessagingLimit(p.Limit)
	if !known {
		return nil
	}
	// Without the portfolio, the numbers that are known to share the limit are those of the account.
	return w.limits.Learn(ctx, number, cmp.Or(p.Portfolio, p.Account, number), limit)
}

// updates returns what applies an update of Meta: what it says of messaging limits, portfolios and numbers, and what next does.
func (w *worker) updates(next func(context.Context, message.Event) error) func(context.Context, message.Event) error {
	accounts := holds.NewAccounts(w.DB)
	return func(ctx context.Context, e message.Event) error {
		if account, owner, ok := cloudapi.PortfolioNamed(e); ok {
			if err := accounts.NotePortfolio(ctx, account, owner); err != nil {
				return err
			}
		}
		if limit, ok := cloudapi.LimitChanged(e); ok && e.WABA != "" {
			owners, err := accounts.Portfolios(ctx)
			if err == nil {
				err = w.limits.SetLimit(ctx, cmp.Or(owners[e.WABA], e.WABA), limit)
			}
			if err != nil {
				return err
			}
		}
		if cloudapi.OnBizApp(e) {
			if _, known := w.coexisting.LoadOrStore(e.Number, true); !known {
				w.throughput.Ask() // its rate limit is lower
			}
		}
		return next(ctx, e)
	}
}

// wrote notes who wrote to numbers: their customer service windows are open.
func (w *worker) wrote(ctx context.Context, events []message.Event) {
	wrote := map[string]map[portfolio.Person]time.Time{} // by number
	for _, e := range events {
		if !w.limits.Applies(e.Number) {
			continue
		}
		if wrote[e.Number] == nil {
			wrote[e.Number] = map[portfolio.Person]time.Time{}
		}
		_, at := cloudapi.Written(e)
		phone, user := cloudapi.WroteBy(e)
		for _, id := range []string{phone, user} {
			if person, _ := personOf(ctx, w.people, e.Number, id); person != (portfolio.Person{}) && wrote[e.Number][person].Before(at) {
				wrote[e.Number][person] = at // after an error it is that of the name alone
			}
		}
	}
	for number, some := range wrote {
		if err := w.limits.Wrote(ctx, number, some); err != nil { // without it people count who need not
			w.Log.Warn("cannot note who wrote to a number", "phone_number_id", number, "err", err)
		}
	}
}

// portfolioFull reports whether the status of a message that failed shows that the portfolio of its number is at its messaging limit, and
// not that the number may not send. Only templates count for the limit, and Meta takes a message over the limit and fails it later.
func (w *worker) portfolioFull(ctx context.Context, e message.MarkedReport) bool {
	if e.Code != cloudapi.CodeSpamRate || e.Template == "" {
		return false
	}
	reached, err := w.limits.Refused(ctx, e.Number)
	if err != nil {
		w.Log.Warn("cannot note that Meta refused a message of a portfolio with a messaging limit", "phone_number_id", e.Number, "err", err)
	}
	return reached
}
