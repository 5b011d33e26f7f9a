// Package templates keeps a catalogue of the message templates of all WhatsApp Business Accounts: workers read it from Meta,
// webhooks change it, and producers check messages against it. It also finds the account of a number.
package templates

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"
)

const (
	fresh        = time.Hour       // how long an answer is used before Meta is asked again, in the background
	afterFailure = time.Minute     // how long Meta is not asked after a failure
	requestTime  = 3 * time.Second // the time limit of a request to Meta
	maxRequests  = 16              // requests to Meta at once
	maxAccounts  = 32              // numbers whose accounts are asked for in one call of Accounts
)

// LookupOptions configure a Lookup. Without Log it does not log. All others are required.
type LookupOptions struct {
	// Account asks Meta for the WhatsApp Business Account of a number; empty: Meta does not say.
	Account func(ctx context.Context, number string) (string, error)
	Store   accountStore
	Numbers func() []string          // the configured phone number ids
	Ready   func(number string) bool // reports whether there is an access token of a number to ask Meta with
	Log     *slog.Logger
}

// Lookup knows the accounts of numbers. It asks Meta when an answer is first needed, and remembers it. It is safe for
// concurrent use.
type Lookup struct {
	o        LookupOptions
	accounts *cache
}

// NewLookup returns a Lookup that knows nothing yet.
func NewLookup(o LookupOptions) *Lookup {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	l := &Lookup{o: o}
	l.accounts = newCache(o.Ready, l.ask)
	return l
}

// Accounts returns the WhatsApp Business Accounts of the configured numbers, without those that neither the store nor Meta
// names. It waits for Meta. An error means that the store does not answer.
func (l *Lookup) Accounts(ctx context.Context) (map[string]string, error) {
	of, err := l.o.Store.All(ctx)
	if err != nil {
		return nil, err
	}
	asked := map[string]<-chan struct{}{} // Meta answers about all of them at the same time
	for _, n := range l.o.Numbers() {
		if of[n] != "" || len(asked) == maxAccounts {
			continue
		}
		account, pending := l.accounts.get(n)
		if of[n] = account; pending != nil {
			asked[n] = pending
		}
	}
	for n, pending := range asked {
		select {
		case <-pending:
			of[n], _ = l.accounts.get(n)
		case <-ctx.Done():
		}
	}
	return of, nil
}

// ask returns the account of a number: the stored one, or the one that Meta names, which it stores.
func (l *Lookup) ask(ctx context.Context, number string) (string, error) {
	of, err := l.o.Store.All(ctx)
	if err == nil && of[number] != "" {
		return of[number], nil
	}
	account, err := l.o.Account(ctx, number)
	if err == nil && account == "" {
		err = errNoAccount
	}
	if err != nil {
		l.o.Log.Warn("cannot read the WhatsApp Business Account of a number from Meta", "phone_number_id", number, "err", err)
		return "", err
	}
	if err := l.o.Store.Note(ctx, number, account); err != nil {
		l.o.Log.Warn("cannot store the WhatsApp Business Account of a number", "phone_number_id", number, "err", err)
	}
	return account, nil
}

var errNoAccount = errors.New("no account in the answer")
