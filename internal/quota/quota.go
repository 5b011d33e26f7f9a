// Package quota counts the messages of clients against their quotas, for all producers together.
package quota

import (
	"context"
	_ "embed"
	"errors"
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
}

// rules returns the quotas of a client, in a fixed order.
func rules(q config.Quotas) (all []rule) {
	add := func(prefix, class string, q config.Quota) {
		for _, r := range []rule{{"per_month", class, "month", q.PerMonth}, {"per_day", class, "day", q.PerDay}, {"per_second", class, "second", q.PerSecond}} {
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

// wait is how long after a time the period of a quota ends.
func (r rule) wait(now time.Time) time.Duration {
	now = now.UTC()
	switch r.period {
	case "month":
		return time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC).Sub(now)
	case "day":
		return now.Truncate(24*time.Hour).AddDate(0, 0, 1).Sub(now)
	}
	return time.Second
}

// part is the messages of one client among others.
type part struct {
	client  string
	rules   []rule
	places  []int
	classes []byte
	full    []byte // what the script replied for each, as characters from 0 on
	reply   *redis.Cmd
	at      int64 // when they were counted, in seconds
}

// add adds the message at a place.
func (p *part) add(place int, m message.Message) {
	p.places, p.classes = append(p.places, place), append(p.classes, '0'+byte(m.Class.Order()))
}

// answer returns the reply of the script: the time, and n numbers.
func (p *part) answer(err error, n int) ([]int64, error) {
	if err != nil {
		return nil, err
	}
	reply, err := p.reply.Int64Slice()
	if err == nil && len(reply) != n+1 {
		err = errors.New("the script's reply is not understood")
	}
	return reply, err
}

// parts returns the parts of the clients that have quotas.
func (s *Store) parts(all []message.Message) (parts []*part) {
	for i, m := range all {
		if m.Client == "" {
			continue
		}
		k := slices.IndexFunc(parts, func(p *part) bool { return p.client == m.Client })
		if k < 0 {
			k, parts = len(parts), append(parts, &part{client: m.Client, rules: rules(s.of(m.Client))})
		}
		parts[k].add(i, m)
	}
	return slices.DeleteFunc(parts, func(p *part) bool { return len(p.rules) == 0 })
}

// run runs the script for all parts in one round trip: to count, or to take back.
func (s *Store) run(ctx context.Context, parts []*part, back bool) error {
	return s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, one := range parts {
			args := []any{"", len(one.rules)}
			if back {
				args[0] = one.at
			}
			for _, r := range one.rules {
				args = append(args, r.name, r.class, r.period, r.most)
			}
			one.reply = s.script.Add(ctx, p, []string{key(one.client)}, append(args, one.classes, one.full)...)
		}
	})
}

// Take counts messages of clients, and returns an error for each that is not counted: a *message.QuotaError if its client has used up a
// quota, or why the counters cannot be read. It returns nil without a round trip if no client of the messages has a quota. back takes
// back what was counted for the messages at some places, which were not accepted, or not refused: in the periods in which they were counted, if
// those have not ended. Without an answer of Redis they stay counted.
func (s *Store) Take(ctx context.Context, all []message.Message) (refused []error, back func(places []int)) {
	parts := s.parts(all)
	if len(parts) == 0 {
		return nil, nil
	}
	refused = make([]error, len(all))
	err := s.run(ctx, parts, false)
	for _, one := range parts {
		reply, failed := one.answer(err, len(one.places))
		if failed == nil {
			one.at = reply[0]
		}
		for i, place := range one.places {
			if failed != nil {
				refused[place] = fmt.Errorf("count messages of client %s: %w", one.client, failed)
				continue
			}
			if one.full = append(one.full, '0'+byte(reply[i+1])); reply[i+1] > 0 {
				r := one.rules[reply[i+1]-1]
				refused[place] = &message.QuotaError{Client: one.client, Quota: r.name, Limit: r.most, Wait: r.wait(time.Unix(one.at, 0))}
			}
		}
	}
	return refused, func(places []int) {
		var some []*part
		for _, p := range parts {
			one := &part{client: p.client, rules: p.rules, at: p.at}
			for _, place := range places {
				if i := slices.Index(p.places, place); i >= 0 && i < len(p.full) { // a part that failed was not counted, as far as is known
					one.add(place, all[place])
					one.full = append(one.full, p.full[i])
				}
			}
			if len(one.places) > 0 {
				some = append(some, one)
			}
		}
		if len(some) > 0 {
			_ = s.run(context.WithoutCancel(ctx), some, true) // the quota is then used up a little too early
		}
	}
}

// Used returns what is used of the quotas of some clients, in their order and in one round trip. Clients without quotas are left out.
func (s *Store) Used(ctx context.Context, clients []string) (all []message.QuotaUse, err error) {
	var parts []*part
	for _, client := range clients {
		if r := rules(s.of(client)); len(r) > 0 {
			parts = append(parts, &part{client: client, rules: r})
		}
	}
	if len(parts) == 0 {
		return nil, nil
	}
	err = s.run(ctx, parts, false)
	for _, one := range parts {
		reply, err := one.answer(err, 2*len(one.rules))
		if err != nil {
			return nil, fmt.Errorf("read the quotas of client %s: %w", one.client, err)
		}
		now := time.Unix(reply[0], 0).UTC()
		for i, r := range one.rules {
			all = append(all, message.QuotaUse{Client: one.client, Quota: r.name, Limit: r.most, Used: int(reply[2*i+1]), Refused: int(reply[2*i+2]), Until: now.Add(r.wait(now))})
		}
	}
	return all, nil
}
