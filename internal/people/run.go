package people

import (
	"context"
	"time"

	"sluice/internal/store"
)

const (
	// refreshEvery is when other processes know a phone number that changed, at the latest.
	refreshEvery = 2 * time.Second
	// scopesEvery is how often the accounts and portfolios of numbers are read.
	scopesEvery = 15 * time.Second
	// notedMost is how many reports wait for Run.
	notedMost = 10_000
	// tidyEvery is how often the entries are deleted whose Retention has passed.
	tidyEvery = 24 * time.Hour
)

// tidiedKey exists until the table must be tidied again. One process tidies it.
func tidiedKey() string { return store.Key(0, "people:tidied") }

// Load reads the scopes, and which phone numbers need a look-up.
func (p *People) Load(ctx context.Context) error {
	if !p.On() {
		return nil
	}
	accounts, err := p.o.Owners.All(ctx)
	if err != nil {
		return err
	}
	portfolios, err := p.o.Owners.Portfolios(ctx)
	if err != nil {
		return err
	}
	p.scopes.Store(&scopes{accounts, portfolios})
	return p.refreshFilter(ctx)
}

// Run learns what was noted, and keeps the scopes and the filter up to date, until ctx ends. Errors are logged, and repeated.
func (p *People) Run(ctx context.Context) error {
	if !p.On() {
		<-ctx.Done()
		return nil
	}
	var loaded time.Time
	tick := time.NewTicker(refreshEvery)
	defer tick.Stop()
	for {
		err := p.step(ctx, &loaded)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("cannot update which names of recipients are one person, will retry", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *People) step(ctx context.Context, loaded *time.Time) error {
	if time.Since(*loaded) >= scopesEvery {
		if err := p.Load(ctx); err != nil {
			return err
		}
		*loaded = time.Now()
	} else if err := p.refreshFilter(ctx); err != nil {
		return err
	}
	p.mu.Lock()
	noted := p.noted
	p.noted = nil
	p.mu.Unlock()
	if err := p.Learn(ctx, noted); err != nil {
		for _, one := range noted {
			p.Note(one)
		}
		return err
	}
	mine, err := p.db.SetNX(ctx, tidiedKey(), "1", tidyEvery).Result()
	if err != nil || !mine {
		return err
	}
	_, err = p.Tidy(ctx)
	return err
}

// Tidy deletes the entries whose Retention has passed, and returns their number.
func (p *People) Tidy(ctx context.Context) (int, error) {
	day := dayOf(p.o.Now())
	return p.walk(ctx, func(_ entryKey, e entry) bool { return int(day)-int(e.day) > int(Retention/(24*time.Hour)) })
}
