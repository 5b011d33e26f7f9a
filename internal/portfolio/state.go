package portfolio

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// steps is how many moments a reading has of the people that count: capacity is predicted with an error of 1 % of the window.
const steps = 101

// State is how much of the limit of a portfolio is used.
type State struct {
	Portfolio string
	Limit     int // how many people may be written to first in the window
	Used      int // how many people count now
	Cap       int // Meta refused messages when so many people counted: its count is higher; 0: none

	window  time.Duration
	now     time.Time   // of Redis's clock
	counted []time.Time // when people were counted, the oldest first: steps of them, at even distances
}

// read reads the state of a portfolio, in one round trip.
func (l *Ledger) read(ctx context.Context, portfolio string, limit int) (State, error) {
	reply, err := l.db.Run(ctx, l.state, []string{peopleKey(portfolio), capKey(portfolio)}, l.counts().Milliseconds(), steps).Int64Slice()
	if err == nil && len(reply) < 3 {
		err = errors.New("the script's reply is not understood")
	}
	if err != nil {
		return State{}, fmt.Errorf("read how much of a messaging limit is used: %w", err)
	}
	s := State{Portfolio: portfolio, Limit: limit, Used: int(reply[1]), Cap: int(reply[2]), window: l.counts(), now: time.UnixMilli(reply[0])}
	for _, ms := range reply[3:] {
		s.counted = append(s.counted, time.UnixMilli(ms))
	}
	return s, nil
}

// State returns how much of the limit of a number's portfolio is used; nil: it is not limited.
func (l *Ledger) State(ctx context.Context, number string) (*State, error) {
	portfolio, limit := l.Limit(number)
	if portfolio == "" {
		return nil, nil
	}
	s, err := l.read(ctx, portfolio, limit)
	return &s, err
}

// States returns how much of each limit is used.
func (l *Ledger) States(ctx context.Context) ([]State, error) {
	now := l.now.Load()
	var all []State
	for _, portfolio := range l.Portfolios() {
		s, err := l.read(ctx, portfolio, now.limits[portfolio])
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

// reservedOf returns how many people of a limit are for authentication messages only.
func reservedOf(limit int) int { return limit / reserved }

// most is how many people may count now.
func (s State) most() int {
	if s.Cap > 0 {
		return min(s.Limit, s.Cap)
	}
	return s.Limit
}

// usable is how many people may count now without what is reserved.
func (s State) usable() int { return s.most() - reservedOf(s.Limit) }

// Wait estimates how long until the n-th of the messages leaves that wait now, if each goes to another person who is not counted.
// perSecond is how fast they are sent where there is capacity. Urgent ones may use what is reserved.
func (s State) Wait(n int, perSecond float64, urgent bool) time.Duration {
	most := s.usable()
	if urgent {
		most = s.most()
	}
	if most < 1 || s.window == 0 {
		return 0 // it cannot be said
	}
	free := most - s.Used
	if n <= free {
		return 0
	}
	// Each message after those that fit takes the place of a person who leaves: first of those that count now, then of those
	// that are counted from now on, in their order, and so on round and round.
	k, fresh := n-free-1, max(free, 0)
	round := s.Used + fresh
	wait := time.Duration(k/round) * s.window
	if k %= round; k < s.Used {
		return wait + s.leaves(k)
	}
	return wait + s.window + time.Duration(float64(k-s.Used+1)/max(perSecond, 1)*float64(time.Second))
}

// leaves returns how long until the k-th, from 0, of the people that count now counts no more.
func (s State) leaves(k int) time.Duration {
	last := len(s.counted) - 1
	if last < 0 {
		return s.window
	}
	place := float64(k) / float64(max(s.Used-1, 1)) * float64(last)
	i := min(int(place), last)
	at := s.counted[i]
	if i < last {
		at = at.Add(time.Duration((place - float64(i)) * float64(s.counted[i+1].Sub(at))))
	}
	return max(0, at.Add(s.window).Sub(s.now))
}
