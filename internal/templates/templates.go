// Package templates finds the category of message templates at Meta: it decides the class of a message whose request has
// none. It also finds the WhatsApp Business Account of a number. It asks Meta when an answer is first needed, and
// remembers it.
package templates

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/message"
)

const (
	fresh        = time.Hour       // how long an answer is used before Meta is asked again, in the background
	afterFailure = time.Minute     // how long Meta is not asked after a failure, and how long an answer without a category is used
	firstWait    = 2 * time.Second // how long a caller waits for the first answer
	requestTime  = 3 * time.Second // the time limit of a request to Meta
	maxRequests  = 16              // requests to Meta at once
	maxEntries   = 10_000          // templates that are remembered
	maxAccounts  = 32              // numbers whose accounts are asked for in one call of Accounts
)

// graph asks Meta, with the access token of a number.
type graph interface {
	// Account returns the WhatsApp Business Account of a number; empty: Meta does not say.
	Account(ctx context.Context, number string) (string, error)
	// Categories returns the class of a template's category, by language. It is empty if the account has no such
	// template.
	Categories(ctx context.Context, number, account, template string) (map[string]message.Class, error)
}

// store stores which WhatsApp Business Account each number belongs to.
type store interface {
	// All returns the accounts that are known, by number.
	All(ctx context.Context) (map[string]string, error)
	// Note stores the account of a number.
	Note(ctx context.Context, number, account string) error
}

// Options configure Templates. Without Log it does not log. All others are required.
type Options struct {
	Graph   graph
	Store   store
	Numbers func() []string          // the configured phone number ids
	Ready   func(number string) bool // reports whether there is an access token of a number to ask Meta with
	Log     *slog.Logger
}

// Templates knows the categories of templates and the accounts of numbers. It is safe for concurrent use.
type Templates struct {
	o          Options
	accounts   *cache[string, string]
	categories *cache[template, map[string]message.Class]
}

// template is a template of an account, in all its languages.
type template struct{ account, name string }

// New returns Templates that know nothing yet.
func New(o Options) *Templates {
	o.Log = cmp.Or(o.Log, slog.New(slog.DiscardHandler))
	t := &Templates{o: o}
	t.accounts = newCache(o.Ready, t.askAccount)
	t.categories = newCache(o.Ready, t.askCategories)
	return t
}

// Class returns the class for the category that Meta has for a template; empty: it is unknown. It does not block. known is
// false while Meta is asked for the first time: then Wait waits for the answer.
func (t *Templates) Class(number, name, language string) (class message.Class, known bool) {
	class, pending := t.class(number, name, language)
	return class, pending == nil
}

// Wait does the same as Class, and waits for Meta's first answer, for at most 2 s.
func (t *Templates) Wait(ctx context.Context, number, name, language string) message.Class {
	ctx, cancel := context.WithTimeout(ctx, firstWait)
	defer cancel()
	for {
		class, pending := t.class(number, name, language)
		if pending == nil {
			return class
		}
		select {
		case <-pending:
		case <-ctx.Done():
			return ""
		}
	}
}

func (t *Templates) class(number, name, language string) (class message.Class, pending <-chan struct{}) {
	account, pending := t.accounts.get(number, number)
	if account == "" {
		return "", pending
	}
	classes, pending := t.categories.get(number, template{account, name})
	return classes[language], pending
}

// Accounts returns the WhatsApp Business Accounts of the configured numbers, without those that neither the store nor Meta
// names. It waits for Meta. An error means that the store does not answer.
func (t *Templates) Accounts(ctx context.Context) (map[string]string, error) {
	of, err := t.o.Store.All(ctx)
	if err != nil {
		return nil, err
	}
	asked := map[string]<-chan struct{}{} // Meta answers about all of them at the same time
	for _, n := range t.o.Numbers() {
		if of[n] != "" || len(asked) == maxAccounts {
			continue
		}
		account, pending := t.accounts.get(n, n)
		if of[n] = account; pending != nil {
			asked[n] = pending
		}
	}
	for n, pending := range asked {
		select {
		case <-pending:
			of[n], _ = t.accounts.get(n, n)
		case <-ctx.Done():
		}
	}
	return of, nil
}

// askAccount returns the account of a number: the stored one, or the one that Meta names, which it stores.
func (t *Templates) askAccount(ctx context.Context, _, number string) (string, time.Duration, error) {
	of, err := t.o.Store.All(ctx)
	if err == nil && of[number] != "" {
		return of[number], fresh, nil
	}
	account, err := t.o.Graph.Account(ctx, number)
	if err == nil && account == "" {
		err = errors.New("no account in the answer")
	}
	if err != nil {
		t.o.Log.Warn("cannot read the WhatsApp Business Account of a number from Meta", "phone_number_id", number, "err", err)
		return "", 0, err
	}
	if err := t.o.Store.Note(ctx, number, account); err != nil {
		t.o.Log.Warn("cannot store the WhatsApp Business Account of a number", "phone_number_id", number, "err", err)
	}
	return account, fresh, nil
}

func (t *Templates) askCategories(ctx context.Context, number string, of template) (map[string]message.Class, time.Duration, error) {
	classes, err := t.o.Graph.Categories(ctx, number, of.account, of.name)
	switch {
	case err != nil:
		t.o.Log.Warn("cannot read the category of a template from Meta, its messages get the default class", "phone_number_id", number, "err", err)
		return nil, 0, fmt.Errorf("read the category of a template: %w", err)
	case len(classes) == 0:
		return nil, afterFailure, nil
	}
	return classes, fresh, nil
}
