// Package portfolio keeps business portfolios within Meta's messaging limit: to how many people all numbers of a portfolio
// together may write first within 24 hours. A ledger in Redis has the people of each limited portfolio.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/messaging-limits
package portfolio

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

const (
	// Window is how long a person counts after a message.
	Window = 24 * time.Hour
	// guard is how much longer than Meta the ledger counts a person, at most: a message leaves some time after it was counted. It
	// is more than an attempt with its record may take. By as much earlier a customer service window counts as closed.
	guard = 2 * time.Minute
	// reserved is the share of a limit that is for authentication messages only: 1/reserved.
	reserved = 50
	// refusedFor is how long a number counts for which Meta failed a message.
	refusedFor = time.Hour
	// readEvery is how often a Ledger reads which portfolios are limited, and capacityEvery how often it reads how much capacity there is.
	readEvery     = 5 * time.Second
	capacityEvery = time.Second
)

// limitsKey is a hash of the limited portfolios: how many people each may write to first in the window. numbersKey is a hash of
// numbers to their portfolios.
const (
	limitsKey  = "sluice:portfolio:limits"
	numbersKey = "sluice:portfolio:numbers"
)

// key returns a key of the ledger of a portfolio. All its keys are in one slot of a Cluster.
func key(portfolio, name string) string { return "sluice:portfolio:{" + portfolio + "}:" + name }

func peopleKey(portfolio string) string  { return key(portfolio, "people") }
func windowsKey(portfolio string) string { return key(portfolio, "windows") }
func capKey(portfolio string) string     { return key(portfolio, "cap") }
func refusedKey(portfolio string) string { return key(portfolio, "refused") }

var (
	//go:embed admit.lua
	admitLua string
	//go:embed state.lua
	stateLua string
)

// Ledger has the people that limited portfolios wrote to first. It is safe for concurrent use.
type Ledger struct {
	db     *store.DB
	window time.Duration // how long a person counts at Meta
	guard  time.Duration
	admit  store.Script
	state  store.Script
	now    atomic.Pointer[snapshot]

	mu       sync.Mutex
	capacity map[string]*capacity // by portfolio, of those with waiting messages
}

// snapshot is which numbers are limited.
type snapshot struct {
	limits  map[string]int      // by portfolio
	of      map[string]string   // the limited portfolio of a number
	numbers map[string][]string // by limited portfolio
}

// capacity is how many messages that wait may be tried again.
type capacity struct {
	all, urgent int
	asked       time.Time
}

// New returns the ledger of an installation. window is how long Meta counts a person: Window, except in tests.
func New(db *store.DB, window time.Duration) *Ledger {
	l := &Ledger{
		db: db, window: window, guard: min(guard, window/10), admit: db.Script(admitLua), state: db.Script(stateLua), capacity: map[string]*capacity{},
	}
	l.now.Store(&snapshot{})
	return l
}

// counts returns how long the ledger counts a person.
func (l *Ledger) counts() time.Duration { return l.window + l.guard }

// Load reads which portfolios are limited, and their numbers. Without a limited portfolio it is one command.
func (l *Ledger) Load(ctx context.Context) error {
	limits, err := l.db.HGetAll(ctx, limitsKey).Result()
	next := &snapshot{limits: map[string]int{}, of: map[string]string{}, numbers: map[string][]string{}}
	var of map[string]string
	if err == nil && len(limits) > 0 {
		of, err = l.db.HGetAll(ctx, numbersKey).Result()
	}
	if err != nil {
		return fmt.Errorf("read the messaging limits of portfolios: %w", err)
	}
	for portfolio, text := range limits {
		if n, err := strconv.Atoi(text); err == nil && n > 0 {
			next.limits[portfolio] = n
		}
	}
	for _, number := range slices.Sorted(maps.Keys(of)) {
		if p := of[number]; next.limits[p] > 0 {
			next.of[number] = p
			next.numbers[p] = append(next.numbers[p], number)
		}
	}
	l.now.Store(next)
	return nil
}

// Run keeps the limits up to date until ctx ends, and how much capacity there is for messages that wait. While Redis does not
// answer, the last known limits stay. It returns nil.
func (l *Ledger) Run(ctx context.Context) error {
	tick := time.NewTicker(capacityEvery)
	defer tick.Stop()
	var read time.Time
	for ctx.Err() == nil {
		if time.Since(read) >= readEvery && l.Load(ctx) == nil {
			read = time.Now()
		}
		l.readCapacities(ctx)
		select {
		case <-ctx.Done():
		case <-tick.C:
		}
	}
	return nil
}

// Applies reports whether the portfolio of a number is limited.
func (l *Ledger) Applies(number string) bool { return l.now.Load().of[number] != "" }

// Limit returns the limited portfolio of a number and its limit; 0: it has none.
func (l *Ledger) Limit(number string) (portfolio string, people int) {
	s := l.now.Load()
	portfolio = s.of[number]
	return portfolio, s.limits[portfolio]
}

// Portfolios returns the limited portfolios, in order.
func (l *Ledger) Portfolios() []string { return slices.Sorted(maps.Keys(l.now.Load().limits)) }

// Siblings returns the numbers of the limited portfolio of a number, with the number; nil: it has none.
func (l *Ledger) Siblings(number string) []string {
	s := l.now.Load()
	return s.numbers[s.of[number]]
}

// Learn stores the portfolio of a number and its limit; 0: it is not limited. Other processes notice it within 5 s, this one at once.
func (l *Ledger) Learn(ctx context.Context, number, portfolio string, limit int) error {
	if err := l.db.HSet(ctx, numbersKey, number, portfolio).Err(); err != nil {
		return fmt.Errorf("store the portfolio of a number: %w", err)
	}
	return l.SetLimit(ctx, portfolio, limit)
}

// SetLimit stores the limit of a portfolio; 0: it is not limited. Other processes notice it within 5 s, this one at once.
func (l *Ledger) SetLimit(ctx context.Context, portfolio string, limit int) error {
	var err error
	if limit > 0 {
		err = l.db.HSet(ctx, limitsKey, portfolio, limit).Err()
	} else {
		err = l.db.HDel(ctx, limitsKey, portfolio).Err()
	}
	if err != nil {
		return fmt.Errorf("store the messaging limit of a portfolio: %w", err)
	}
	return l.Load(ctx)
}

// Ask is a message that counts against the limit of its portfolio, unless the person has written to the number.
type Ask struct {
	Person Person
	Urgent bool // it may use what is reserved
}

// Admit decides which messages of a number may be sent now, and counts their people. It is one round trip. A person who is
// counted, or whose customer service window is open, needs no capacity. To ask again is safe: a message that is asked for twice
// counts once, so what a dead worker asked for is not lost.
func (l *Ledger) Admit(ctx context.Context, number string, asks []Ask) ([]bool, error) {
	may := make([]bool, len(asks))
	portfolio, limit := l.Limit(number)
	if portfolio == "" {
		for i := range may {
			may[i] = true
		}
		return may, nil
	}
	args := []any{limit, reservedOf(limit), l.counts().Milliseconds(), (Window - l.guard).Milliseconds()}
	for _, a := range asks {
		urgent := "0"
		if a.Urgent {
			urgent = "1"
		}
		args = append(args, a.Person.member(), windowOf(number, a.Person), urgent)
	}
	reply, err := l.db.Run(ctx, l.admit, []string{peopleKey(portfolio), windowsKey(portfolio), capKey(portfolio)}, args...).Text()
	if err == nil && len(reply) != len(asks) {
		err = errors.New("the script's reply is not understood")
	}
	if err != nil {
		return nil, fmt.Errorf("count the people of a portfolio: %w", err)
	}
	for i := range may {
		may[i] = reply[i] == '1'
	}
	return may, nil
}

// Passes reports whether a message of a number to a person needs no capacity: the portfolio is not limited, the person is counted,
// or has an open customer service window.
func (l *Ledger) Passes(ctx context.Context, number string, person Person) (bool, error) {
	portfolio, _ := l.Limit(number)
	if portfolio == "" {
		return true, nil
	}
	var counted, wrote *redis.FloatCmd
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		counted, wrote = p.ZScore(ctx, peopleKey(portfolio), person.member()), p.ZScore(ctx, windowsKey(portfolio), windowOf(number, person))
	})
	if err != nil && !errors.Is(err, redis.Nil) {
		return false, fmt.Errorf("look up a person of a portfolio: %w", err)
	}
	now := float64(l.db.Clock(ctx, peopleKey(portfolio)).UnixMilli())
	within := func(c *redis.FloatCmd, d time.Duration) bool {
		return c.Err() == nil && now-c.Val() < float64(d.Milliseconds())
	}
	return within(counted, l.counts()) || within(wrote, Window-l.guard), nil
}

// Wrote notes when people wrote to a number: that opens their customer service windows. It does nothing for a number whose
// portfolio is not limited.
func (l *Ledger) Wrote(ctx context.Context, number string, people map[Person]time.Time) error {
	portfolio, _ := l.Limit(number)
	if portfolio == "" || len(people) == 0 {
		return nil
	}
	k := windowsKey(portfolio)
	var all []redis.Z
	for person, at := range people {
		all = append(all, redis.Z{Score: float64(at.UnixMilli()), Member: windowOf(number, person)})
	}
	old := l.db.Clock(ctx, k).Add(-Window).UnixMilli()
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		p.ZAddGT(ctx, k, all...)
		p.ZRemRangeByScore(ctx, k, "-inf", strconv.FormatInt(old, 10))
		p.PExpire(ctx, k, Window)
	})
	if err != nil {
		return fmt.Errorf("note customer service windows: %w", err)
	}
	return nil
}

// Refused notes that Meta failed a message of a number that counts, with the code for too many messages, and returns whether the limit
// of its portfolio is the cause. Meta has one code for that and for a number that recipients report as spam. The portfolio is the cause if
// nearly all of the limit is used, or if it happened to two of its numbers within an hour. Then Meta's count is higher than that of the ledger, and
// the ledger is full until a person leaves it. If it still happens after that, the cause is the number.
func (l *Ledger) Refused(ctx context.Context, number string) (reached bool, err error) {
	portfolio, limit := l.Limit(number)
	if portfolio == "" {
		return false, nil
	}
	s, err := l.read(ctx, portfolio, limit)
	var left *redis.DurationCmd
	var others *redis.StringSliceCmd
	if err == nil {
		key, now := refusedKey(portfolio), l.db.Clock(ctx, refusedKey(portfolio))
		err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
			left = p.PTTL(ctx, capKey(portfolio))
			p.ZRemRangeByScore(ctx, key, "-inf", strconv.FormatInt(now.Add(-refusedFor).UnixMilli(), 10))
			others = p.ZRange(ctx, key, 0, -1)
			p.ZAdd(ctx, key, redis.Z{Score: float64(now.UnixMilli()), Member: number})
			p.PExpire(ctx, key, refusedFor)
		})
	}
	if err != nil {
		return false, fmt.Errorf("note that Meta refused a message of a portfolio: %w", err)
	}
	switch {
	case s.Cap > 0 && left.Val() > l.counts()-l.guard:
		return true, nil // it had left before the ledger was full
	case s.Cap > 0:
	case s.Used*10 >= limit*9:
		reached = true
	default:
		reached = slices.ContainsFunc(others.Val(), func(other string) bool { return other != number })
	}
	if !reached && s.Cap == 0 {
		return false, nil
	}
	if err := l.db.Set(ctx, capKey(portfolio), max(s.Used, 1), l.counts()).Err(); err != nil {
		return false, fmt.Errorf("note that a portfolio is at its limit: %w", err)
	}
	return reached, nil
}

// Capacity returns how many messages of a number that wait because of the limit may be tried again now: all is for any, urgent for those
// that may use what is reserved. It takes this capacity: the next call returns 0 until the capacity was read again, which Run does every
// second. Without a limit both are very large.
func (l *Ledger) Capacity(number string) (all, urgent int) {
	portfolio, _ := l.Limit(number)
	if portfolio == "" {
		return unlimited, unlimited
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.capacity[portfolio]
	if r == nil {
		r = &capacity{}
		l.capacity[portfolio] = r
	}
	r.asked = time.Now()
	all, urgent = r.all, r.urgent
	r.all, r.urgent = 0, 0
	return all, urgent
}

// unlimited is more than any number of messages that wait.
const unlimited = 1 << 30

// readCapacities reads the capacity of the portfolios that were asked for lately.
func (l *Ledger) readCapacities(ctx context.Context) {
	l.mu.Lock()
	maps.DeleteFunc(l.capacity, func(_ string, r *capacity) bool { return time.Since(r.asked) > 10*readEvery })
	asked := slices.Collect(maps.Keys(l.capacity))
	l.mu.Unlock()
	for _, portfolio := range asked {
		limit := l.now.Load().limits[portfolio]
		if limit == 0 {
			continue
		}
		s, err := l.read(ctx, portfolio, limit)
		if err != nil {
			continue
		}
		l.mu.Lock()
		if r := l.capacity[portfolio]; r != nil {
			r.all, r.urgent = max(0, s.usable()-s.Used), max(0, s.most()-s.Used)
		}
		l.mu.Unlock()
	}
}
