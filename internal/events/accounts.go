package events

import (
	"context"
	"sync"
	"time"
)

// accountsFor is how long the accounts of numbers are used before they are read again.
const accountsFor = 10 * time.Second

// Accounts knows the WhatsApp Business Account of each number: Sluice's own events do not name it. It is safe for
// concurrent use. A nil Accounts knows none.
type Accounts struct {
	read func(ctx context.Context) (map[string]string, error)

	mu  sync.Mutex
	at  time.Time // of the last reading
	all map[string]string
}

// NewAccounts returns Accounts that read returns, by number.
func NewAccounts(read func(ctx context.Context) (map[string]string, error)) *Accounts {
	return &Accounts{read: read}
}

// All returns the accounts by number. It reads them if the last reading is 10 s old. Do not change the map.
func (a *Accounts) All(ctx context.Context) (map[string]string, error) {
	if a == nil {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.all == nil || time.Since(a.at) >= accountsFor {
		return a.reread(ctx)
	}
	return a.all, nil
}

// Reread is All for a caller that misses a number: it reads them in any case.
func (a *Accounts) Reread(ctx context.Context) (map[string]string, error) {
	if a == nil {
		return nil, nil
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.reread(ctx)
}

func (a *Accounts) reread(ctx context.Context) (map[string]string, error) {
	all, err := a.read(ctx)
	if err != nil {
		return nil, err
	}
	a.all, a.at = all, time.Now()
	return all, nil
}
