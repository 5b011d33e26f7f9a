// Package budget keeps what the messages of clients cost at Meta within their budgets. Right before a message is sent for the first time, the
// estimate of its price counts as spent, if all budgets have enough left. What becomes of the message corrects this later: the ledger has
// the difference.
package budget

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/prices"
	"sluice/internal/store"
)

//go:embed admit.lua
var admitLua string

const (
	// remember is how long a message that was counted is known. Between its count and its attempt a worker does nothing but wait for its
	// slot; a message that takes longer counts again: less is spent then, rather than more.
	remember = time.Minute
	// correctedFor is how long a worker uses the corrections that it has read.
	correctedFor = 2 * time.Second
	// campaignLife is how long it is known what a campaign has spent, after its last message.
	campaignLife = 400 * 24 * time.Hour
)

// Options configure a Store. Both are required.
type Options struct {
	Of        func(client string) config.Budgets                                      // the budgets of a client
	Corrected func(ctx context.Context, accounts []message.Spending) ([]int64, error) // by how much what messages cost differs from their estimates
}

// Store counts what clients spend. It is safe for concurrent use.
type Store struct {
	db    *store.DB
	o     Options
	admit store.Script

	mu        sync.Mutex
	corrected map[message.Spending]correction
}

// correction is by how much what messages cost differs from their estimates, when it was read.
type correction struct {
	by int64
	at time.Time
}

// New returns a Store.
func New(db *store.DB, o Options) *Store {
	return &Store{db: db, o: o, admit: db.Script(fmt.Sprintf("local REMEMBER = %d\n", remember.Milliseconds()) + admitLua), corrected: map[message.Spending]correction{}}
}

// Message is one that is about to be sent for the first time.
type Message struct {
	ID   string
	Flow message.Flow
	Cost int // the estimate of its price, in millionths of the currency
}

// account is what counts together as spent.
type account struct {
	of    message.Spending
	name  string        // of its budget, as message.BudgetUse has it
	limit prices.Amount // 0: there is no budget
	ends  time.Time     // when the budget begins anew; zero: never
	life  time.Duration // of its counter
}

// periods returns the accounts of a client at a time: of the day and of the month.
func periods(client string, b config.Budgets, now time.Time) []account {
	const day = 24 * time.Hour
	now = now.UTC()
	names, month := message.Periods(now), time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	return []account{
		{message.Spending{Client: client, Period: names[0]}, "per_day", b.PerDay, now.Truncate(day).Add(day), 2 * day},
		{message.Spending{Client: client, Period: names[1]}, "per_month", b.PerMonth, month, 62 * day},
	}
}

// ofCampaign returns the account of a campaign.
func ofCampaign(f message.Flow, b config.Budgets) account {
	return account{message.Spending{Client: f.Client, Campaign: f.Campaign}, "campaigns." + f.Campaign, b.Campaigns[f.Campaign], time.Time{}, campaignLife}
}

// accounts returns the accounts in which a message of a flow counts at a time.
func accounts(f message.Flow, b config.Budgets, now time.Time) []account {
	all := periods(f.Client, b, now)
	if f.Campaign != "" {
		all = append(all, ofCampaign(f, b))
	}
	return all
}

// key is what is spent of an account by estimates. It is in no shard: a client sends from numbers of several.
func key(s message.Spending) string {
	if s.Period != "" {
		return "sluice:spent:{" + s.Client + "}:" + s.Period
	}
	return "sluice:spent:{" + s.Client + "}:/" + s.Campaign
}

// recentKey is the messages of a client that were counted in the last moments.
func recentKey(client string) string { return "sluice:spent:{" + client + "}:recent" }

// ask is messages of one flow, with what the script replies.
type ask struct {
	accounts []account
	places   []int
	args     []any
	reply    *redis.Cmd
}

// Admit counts what messages cost, and returns for each until when it must wait, because a budget has too little left; zero: it may be sent. A
// message over the budget of its campaign waits for pause, because it has no period. Messages without a client or a cost are not counted.
// It is one round trip, and another one if corrections must be read, or none without anything to count.
func (s *Store) Admit(ctx context.Context, now time.Time, all []Message, pause time.Duration) ([]time.Time, error) {
	until := make([]time.Time, len(all))
	byFlow := map[message.Flow]*ask{}
	var asks []*ask
	for i, m := range all {
		if m.Cost <= 0 || m.Flow.Client == "" {
			continue
		}
		a := byFlow[m.Flow]
		if a == nil {
			a = &ask{accounts: accounts(m.Flow, s.o.Of(m.Flow.Client), now)}
			byFlow[m.Flow], asks = a, append(asks, a)
		}
		a.places, a.args = append(a.places, i), append(a.args, m.ID, m.Cost)
	}
	if len(asks) == 0 {
		return until, nil
	}
	if err := s.correct(ctx, asks); err != nil {
		return nil, err
	}
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, a := range asks {
			keys, args := []string{recentKey(a.accounts[0].of.Client)}, []any{now.UnixMilli()}
			for _, one := range a.accounts {
				most := ""
				if one.limit > 0 {
					most = strconv.FormatInt(int64(one.limit)-s.correctionOf(one.of), 10)
				}
				keys, args = append(keys, key(one.of)), append(args, most, one.life.Milliseconds())
			}
			a.reply = s.admit.Add(ctx, p, keys, append(args, a.args...)...)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("count what messages cost: %w", err)
	}
	for _, a := range asks {
		full, err := a.reply.Int64Slice()
		if err == nil && len(full) != len(a.places) {
			err = fmt.Errorf("the script replied about %d of %d messages", len(full), len(a.places))
		}
		if err != nil {
			return nil, fmt.Errorf("count what messages cost: %w", err)
		}
		for i, place := range a.places {
			if full[i] > 0 {
				if until[place] = a.accounts[full[i]-1].ends; until[place].IsZero() {
					until[place] = now.Add(pause)
				}
			}
		}
	}
	return until, nil
}

// correct reads the corrections of the accounts with a budget, unless they were read a moment ago.
func (s *Store) correct(ctx context.Context, asks []*ask) error {
	var old []message.Spending
	s.mu.Lock()
	for _, a := range asks {
		for _, one := range a.accounts {
			if one.limit > 0 && time.Since(s.corrected[one.of].at) > correctedFor {
				old = append(old, one.of)
			}
		}
	}
	s.mu.Unlock()
	if len(old) == 0 {
		return nil
	}
	now := time.Now()
	by, err := s.o.Corrected(ctx, old)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for of, c := range s.corrected {
		if now.Sub(c.at) > time.Hour {
			delete(s.corrected, of) // of an earlier day, perhaps
		}
	}
	for i, of := range old {
		s.corrected[of] = correction{by[i], now}
	}
	return nil
}

func (s *Store) correctionOf(of message.Spending) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.corrected[of].by
}

// Concern reports whether a client has a budget.
func (s *Store) Concern(client string) bool {
	b := s.o.Of(client)
	return b.PerDay > 0 || b.PerMonth > 0 || len(b.Campaigns) > 0
}

// Over returns the name of a budget that has too little left for a message; empty: there is none. It counts nothing, in two round trips.
func (s *Store) Over(ctx context.Context, now time.Time, m Message) (string, error) {
	all := slices.DeleteFunc(accounts(m.Flow, s.o.Of(m.Flow.Client), now), func(a account) bool { return a.limit == 0 })
	spent, err := s.spent(ctx, all)
	if err != nil {
		return "", err
	}
	for i, a := range all {
		if spent[i]+prices.Amount(m.Cost) > a.limit {
			return a.name, nil
		}
	}
	return "", nil
}

// Used returns what clients have spent of their budgets, in their order and in two round trips. Clients without budgets are left out.
func (s *Store) Used(ctx context.Context, clients []string, now time.Time) ([]message.BudgetUse, error) {
	var all []account
	for _, client := range clients {
		b := s.o.Of(client)
		all = append(all, periods(client, b, now)...)
		for _, campaign := range slices.Sorted(maps.Keys(b.Campaigns)) {
			all = append(all, ofCampaign(message.Flow{Client: client, Campaign: campaign}, b))
		}
	}
	all = slices.DeleteFunc(all, func(a account) bool { return a.limit == 0 })
	spent, err := s.spent(ctx, all)
	if err != nil {
		return nil, err
	}
	used := make([]message.BudgetUse, len(all))
	for i, a := range all {
		used[i] = message.BudgetUse{Client: a.of.Client, Budget: a.name, Limit: a.limit.String(), Spent: spent[i].String(), Until: a.ends}
	}
	return used, nil
}

// spent returns what is spent of some accounts.
func (s *Store) spent(ctx context.Context, all []account) ([]prices.Amount, error) {
	if len(all) == 0 {
		return nil, nil
	}
	of, estimates := make([]message.Spending, len(all)), make([]*redis.StringCmd, len(all))
	for i, a := range all {
		of[i] = a.of
	}
	corrected, err := s.o.Corrected(ctx, of)
	if err == nil {
		err = s.db.Pipe(ctx, func(p redis.Pipeliner) {
			for i := range of {
				estimates[i] = p.Get(ctx, key(of[i]))
			}
		})
	}
	if err != nil {
		return nil, fmt.Errorf("read what clients have spent: %w", err)
	}
	spent := make([]prices.Amount, len(all))
	for i := range all {
		estimate, _ := estimates[i].Int64() // absent: 0
		spent[i] = prices.Amount(max(0, estimate+corrected[i]))
	}
	return spent, nil
}
