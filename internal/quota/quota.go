// Package quota counts the messages of clients against their quotas, for all producers together.
package quota

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed quota.lua
var quotaLua string

// Store has the counters of clients in Redis. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	of     func(client string) config.Quotas
	script store.Script
}

// New returns a store for the quotas that of returns.
func New(db *store.DB, of func(client string) config.Quotas) *Store {
	return &Store{db, of, db.Script(quotaLua)}
}

// key is the counters of a client. It is in no shard: a client sends from numbers of several.
func key(client string) string { return "sluice:quota:{" + client + "}" }

// rule is one quota of a client.
type rule struct {
	name   string // per_day, or marketing.per_day
	class  string // as quota.lua has it
	period string
	most   int
	wait   time.Duration // until the period ends
}

// rules returns the quotas of a client at a time, in a fixed order.
func rules(q config.Quotas, now time.Time) (all []rule) {
	now = now.UTC()
	day, month := now.Truncate(24*time.Hour), time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	add := func(prefix, class string, q config.Quota) {
		for _, r := range []rule{
			{"per_month", class, month.Format("2006-01"), q.PerMonth, month.AddDate(0, 1, 0).Sub(now)},
			{"per_day", class, day.Format(time.DateOnly), q.PerDay, day.AddDate(0, 0, 1).Sub(now)},
			{"per_second", class, "", q.PerSecond, time.Second},
		} {
			if r.name = prefix + r.name; r.most > 0 {
				all = append(all, r)
			}
		}
	}
	add("", "*", q.Quota)
	for i, c := range message.Classes() {
		add(string(c)+".", fmt.Sprint(i), q.Classes[string(c)])
	}
	return all
}

// part is the messages of one client among others.
type part struct {
	client string
	rules  []rule
	places []int
	reply  *redis.Cmd
}

// parts returns the parts of the clients that have quotas.
func (s *Store) parts(all []message.Message) (parts []*part) {
	for i, m := range all {
		if m.Client == "" {
			continue
		}
		k := slices.IndexFunc(parts, func(p *part) bool { return p.client == m.Client })
		if k < 0 {
			k, parts = len(parts), append(parts, &part{client: m.Client, rules: rules(s.of(m.Client), time.Now().Add(s.db.ClockOffset()))})
		}
		parts[k].places = append(parts[k].places, i)
	}
	return slices.DeleteFunc(parts, func(p *part) bool { return len(p.rules) == 0 })
}

// run runs the script for all parts in one round trip.
func (s *Store) run(ctx context.Context, sign int, parts []*part, all []message.Message) error {
	return s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, one := range parts {
			args := []any{sign, len(one.rules)}
			for _, r := range one.rules {
				args = append(args, r.name, r.class, r.period, r.most)
			}
			classes := make([]byte, len(one.places))
			for i, place := range one.places {
				classes[i] = '0' + byte(all[place].Class.Order())
			}
			one.reply = s.script.Add(ctx, p, []string{key(one.client)}, append(args, classes)...)
		}
	})
}

// Take counts messages of clients, and returns an error for each that is not counted: a *message.QuotaError if its client has used up a
// quota, or why the counters cannot be read. It returns nil without a round trip if no client of the messages has a quota.
func (s *Store) Take(ctx context.Context, all []message.Message) []error {
	parts := s.parts(all)
	if len(parts) == 0 {
		return nil
	}
	out := make([]error, len(all))
	err := s.run(ctx, 1, parts, all)
	for _, one := range parts {
		var full []int64
		failed := err
		if failed == nil {
			full, failed = one.reply.Int64Slice()
		}
		for i, place := range one.places {
			switch {
			case failed != nil || i >= len(full):
				out[place] = fmt.Errorf("count messages of client %s: %w", one.client, failed)
			case full[i] > 0:
				r := one.rules[full[i]-1]
				out[place] = &message.QuotaError{Client: one.client, Quota: r.name, Limit: r.most, Wait: r.wait}
			}
		}
	}
	return out
}

// Return takes back what Take counted of messages that were not accepted. Without an answer of Redis they stay counted.
func (s *Store) Return(ctx context.Context, all []message.Message) {
	if parts := s.parts(all); len(parts) > 0 {
		_ = s.run(context.WithoutCancel(ctx), -1, parts, all) // the quota is then used up a little too early
	}
}
