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
	// closedFor is how long a flow is closed after a message of it did not fit in: then money may have come back.
	closedFor = 2 * time.Second
	// campaignLife is how long it is known what a campaign has spent, after its last message.
	campaignLife = 400 * 24 * time.Hour
)

// Options configure a Store. All are required.
type Options struct {
	Of        func(client string) config.Budgets                                      // the budgets of a client
	Campaign  func(message.Flow) message.Amount                                       // the budget of a campaign; 0: it has none
	Corrected func(ctx context.Context, accounts []message.Spending) ([]int64, error) // by how much what messages cost differs from their estimates
}

// Store counts what clients and campaigns spend. It is safe for concurrent use.
type Store struct {
	db    *store.DB
	o     Options
	admit store.Script

	mu        sync.Mutex
	corrected map[message.Spending]correction
	closed    map[message.Flow][4]time.Time // until when, by class
}

// correction is by how much what messages cost differs from their estimates, when it was read.
type correction struct {
	by int64
	at time.Time
}

// New returns a Store.
func New(db *store.DB, o Options) *Store {
	return &Store{
		db: db, o: o, admit: db.Script(fmt.Sprintf("local REMEMBER = %d\n", remember.Milliseconds()) + admitLua),
		corrected: map[message.Spending]correction{}, closed: map[message.Flow][4]time.Time{},
	}
}

// Message is one that is about to be sent for the first time.
type Message struct {
	ID    string
	Flow  message.Flow
	Class message.Class // used by Admit only
	Cost  int           // the estimate of its price, in millionths of the currency
}

// account is what counts together as spent.
type account struct {
	of    message.Spending
	name  string         // of its budget, as message.BudgetUse has it
	limit message.Amount // 0: there is no budget
	ends  time.Time      // when the budget begins anew; zero: never
	life  time.Duration  // of its counter
}

// periods returns the accounts of a client at a time: of the day and of the month.
func (s *Store) periods(client string, now time.Time) []account {
	const day = 24 * time.Hour
	now = now.UTC()
	b, names, month := s.o.Of(client), message.Periods(now), time.Date(now.Year(), now.Month()+1, 1, 0, 0, 0, 0, time.UTC)
	return []account{
		{message.Spending{Client: client, Period: names[0]}, "per_day", b.PerDay, now.Truncate(day).Add(day), 2 * day},
		{message.Spending{Client: client, Period: names[1]}, "per_month", b.PerMonth, month, 62 * day},
	}
}

// accounts returns the accounts in which a message of a flow counts at a time: those of its client, and that of its campaign.
func (s *Store) accounts(f message.Flow, now time.Time) (all []account) {
	if f.Client != "" {
		all = s.periods(f.Client, now)
	}
	if f.Campaign != "" {
		all = append(all, account{message.Spending{Client: f.Client, Campaign: f.Campaign}, "campaign", s.o.Campaign(f), time.Time{}, campaignLife})
	}
	return all
}

// key is what is spent of an account by estimates. It is in no shard: a client sends from numbers of several.
func key(s message.Spending) string {
	if s.Period != "" {
		return prefix(s.Client) + s.Period
	}
	return prefix(s.Client) + "/" + s.Campaign
}

// recentKey is the messages of a client that were counted in the last moments.
func recentKey(client string) string { return prefix(client) + "recent" }

// prefix keeps the keys of a client together, also those of no client.
func prefix(client string) string { return "sluice:{spent:" + client + "}:" }

// ask is messages of one flow, with what the script replies.
type ask struct {
	accounts []account
	places   []int
	args     []any
	reply    *redis.Cmd
}

// Closed reports for each class, the most urgent first, whether a message of a flow did not fit in a moment ago. Messages of other classes may be
// free, or cheaper. It asks memory only.
func (s *Store) Closed(f message.Flow) (is [4]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	until, some := s.closed[f]
	if !some {
		return is
	}
	for class, t := range until {
		is[class] = time.Now().Before(t)
	}
	if is == [4]bool{} {
		delete(s.closed, f)
	}
	return is
}

// Admit counts what messages cost, and returns for each whether it may be sent: each of its budgets has enough left. A flow of which one may not
// is closed for some seconds. Messages without a cost, and those of no client and no campaign, are not counted. It is one round trip, and
// another one if corrections must be read, or none without anything to count.
func (s *Store) Admit(ctx context.Context, now time.Time, all []Message) ([]bool, error) {
	may := make([]bool, len(all))
	asks := map[message.Flow]*ask{}
	for i, m := range all {
		if may[i] = m.Cost <= 0 || m.Flow == (message.Flow{}); may[i] {
			continue
		}
		a := asks[m.Flow]
		if a == nil {
			a = &ask{accounts: s.accounts(m.Flow, now)}
			asks[m.Flow] = a
		}
		a.places, a.args = append(a.places, i), append(a.args, m.ID, m.Cost)
	}
	if len(asks) == 0 {
		return may, nil
	}
	if err := s.correct(ctx, asks); err != nil {
		return nil, err
	}
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for f, a := range asks {
			keys, args := []string{recentKey(f.Client)}, []any{now.UnixMilli()}
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
	for f, a := range asks {
		var admitted []int64
		if err == nil {
			admitted, err = a.reply.Int64Slice()
		}
		if err == nil && len(admitted) != len(a.places) {
			err = fmt.Errorf("%d replies for %d messages", len(admitted), len(a.places))
		}
		if err != nil {
			return nil, fmt.Errorf("count what messages cost: %w", err)
		}
		for i, place := range a.places {
			if may[place] = admitted[i] == 1; !may[place] {
				s.mu.Lock()
				until := s.closed[f]
				until[all[place].Class.Order()] = time.Now().Add(closedFor)
				s.closed[f] = until
				s.mu.Unlock()
			}
		}
	}
	return may, nil
}

// correct reads the corrections of the accounts with a budget, unless they were read a moment ago.
func (s *Store) correct(ctx context.Context, asks map[message.Flow]*ask) error {
	var old []message.Spending
	s.mu.Lock()
	for _, a := range asks {
		for _, one := range a.accounts {
			if one.limit > 0 && time.Since(s.corrected[one.of].at) > correctedFor && !slices.Contains(old, one.of) {
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
	maps.DeleteFunc(s.corrected, func(_ message.Spending, c correction) bool { return now.Sub(c.at) > time.Hour }) // of an earlier day, perhaps
	maps.DeleteFunc(s.closed, func(_ message.Flow, until [4]time.Time) bool {
		return !slices.ContainsFunc(until[:], now.Before)
	})
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

// Concern reports whether messages of a flow have a budget.
func (s *Store) Concern(f message.Flow) bool {
	return f.Client != "" && s.o.Of(f.Client) != (config.Budgets{}) || f.Campaign != "" && s.o.Campaign(f) > 0
}

// Of returns what is spent of the budgets of a flow, in two round trips; none if it has no budget.
func (s *Store) Of(ctx context.Context, now time.Time, f message.Flow) ([]message.BudgetUse, error) {
	return s.used(ctx, s.accounts(f, now))
}

// Over returns the budget that has too little left for a message; nil: there is none. It counts nothing, in two round trips.
func (s *Store) Over(ctx context.Context, now time.Time, m Message) (*message.BudgetUse, error) {
	used, err := s.Of(ctx, now, m.Flow)
	for i, u := range used {
		if u.Lacks(message.Amount(m.Cost)) {
			return &used[i], err
		}
	}
	return nil, err
}

// Used returns what clients have spent of their budgets, in their order and in two round trips. Clients without budgets are left out.
func (s *Store) Used(ctx context.Context, clients []string, now time.Time) ([]message.BudgetUse, error) {
	var all []account
	for _, client := range clients {
		all = append(all, s.periods(client, now)...)
	}
	return s.used(ctx, all)
}

// Spent returns what a campaign has spent, in two round trips.
func (s *Store) Spent(ctx context.Context, f message.Flow) (message.Amount, error) {
	spent, err := s.spent(ctx, []account{{of: message.Spending{Client: f.Client, Campaign: f.Campaign}}})
	if err != nil {
		return 0, err
	}
	return spent[0], nil
}

// used returns what is spent of the budgets among some accounts.
func (s *Store) used(ctx context.Context, all []account) ([]message.BudgetUse, error) {
	all = slices.DeleteFunc(all, func(a account) bool { return a.limit == 0 })
	spent, err := s.spent(ctx, all)
	if err != nil {
		return nil, err
	}
	used := make([]message.BudgetUse, len(all))
	for i, a := range all {
		used[i] = message.BudgetUse{Client: a.of.Client, Budget: a.name, Limit: a.limit, Spent: spent[i], Until: a.ends}
	}
	return used, nil
}

// spent returns what is spent of some accounts.
func (s *Store) spent(ctx context.Context, all []account) ([]message.Amount, error) {
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
	spent := make([]message.Amount, len(all))
	for i := range all {
		estimate, _ := estimates[i].Int64() // absent: 0
		spent[i] = message.Amount(max(0, estimate+corrected[i]))
	}
	return spent, nil
}
