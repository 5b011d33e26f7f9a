package holds

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

// accountsKey is a hash of numbers to the WhatsApp Business Accounts that they belong to.
const accountsKey = "sluice:accounts"

// portfoliosKey is a hash of WhatsApp Business Accounts to the business portfolios that own them.
const portfoliosKey = "sluice:portfolios"

// Accounts stores which numbers belong to a WhatsApp Business Account: Meta names accounts when it announces
// that it sends nothing any more, and holds are on numbers. It is safe for concurrent use.
type Accounts struct{ db *store.DB }

// NewAccounts returns the accounts of an installation.
func NewAccounts(db *store.DB) *Accounts { return &Accounts{db} }

// Note stores that a number belongs to an account.
func (a *Accounts) Note(ctx context.Context, number, account string) error {
	if err := a.db.HSet(ctx, accountsKey, number, account).Err(); err != nil {
		return fmt.Errorf("store the account of a number: %w", err)
	}
	return nil
}

// All returns the known accounts, by number.
func (a *Accounts) All(ctx context.Context) (map[string]string, error) {
	all, err := a.db.HGetAll(ctx, accountsKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the accounts of numbers: %w", err)
	}
	return all, nil
}

// NotePortfolio stores which business portfolio owns an account.
func (a *Accounts) NotePortfolio(ctx context.Context, account, portfolio string) error {
	if err := a.db.HSet(ctx, portfoliosKey, account, portfolio).Err(); err != nil {
		return fmt.Errorf("store the portfolio of an account: %w", err)
	}
	return nil
}

// Portfolios returns the known portfolios, by account.
func (a *Accounts) Portfolios(ctx context.Context) (map[string]string, error) {
	all, err := a.db.HGetAll(ctx, portfoliosKey).Result()
	if err != nil {
		return nil, fmt.Errorf("read the portfolios of accounts: %w", err)
	}
	return all, nil
}

// Siblings returns the numbers that are known to belong to the same account as number, without number, in
// any order.
func (a *Accounts) Siblings(ctx context.Context, number string) ([]string, error) {
	account, err := a.db.HGet(ctx, accountsKey, number).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the account of a number: %w", err)
	}
	numbers, err := a.Numbers(ctx, account)
	return slices.DeleteFunc(numbers, func(n string) bool { return n == number }), err
}

// Numbers returns the numbers that are known to belong to an account, in any order.
func (a *Accounts) Numbers(ctx context.Context, account string) ([]string, error) {
	all, err := a.All(ctx)
	if err != nil {
		return nil, err
	}
	var some []string
	for number, of := range all {
		if of == account {
			some = append(some, number)
		}
	}
	return some, nil
}
