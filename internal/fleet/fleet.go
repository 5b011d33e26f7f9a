// Package fleet reads how the numbers of an installation are doing, for operators: rates, backlogs, holds, and the lists
// of messages that need a decision. It keeps an hour of history, and says what needs a person, and why a number is slow.
package fleet

import (
	"context"
	"sync"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/holds"
	"sluice/internal/httpapi"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/observed"
)

// Options say what a Fleet reads. All are required.
type Options struct {
	Numbers func() []string // the configured phone number ids
	Rates   func(ctx context.Context, numbers []string) ([]backlog.Number, error)
	Holds   holdReader
	Lists   func(ctx context.Context, before time.Time) (ledger.ListCounts, map[string]ledger.ListCounts, error)

	Observed observer
}

// observer reads what workers observed of all numbers.
type observer interface {
	// Latest returns the latest slot whose counts are complete.
	Latest(ctx context.Context) int64
	// Requests returns the requests of the numbers in a slot.
	Requests(ctx context.Context, slot int64) (map[string]observed.Requests, error)
	// Meta returns what Meta says of the numbers.
	Meta(ctx context.Context) (map[string]observed.Meta, error)
}

// holdReader reads which holds there are, and what they keep.
type holdReader interface {
	List(ctx context.Context) ([]message.Hold, error)
	CountHeld(ctx context.Context, holds []message.Hold) (byHold []int, byNumber map[string]int, err error)
}

// Fleet reads how all numbers are doing. It is safe for concurrent use.
type Fleet struct {
	o       Options
	history history

	mu   sync.Mutex // of one reading at a time
	last State

	lists lists
}

// lists are the counts of the lists of messages. One reading serves all callers for a second, also those that ask for one number:
// it reads up to 1,000 messages of each list of each shard.
type lists struct {
	mu       sync.Mutex
	at       time.Time
	all      ledger.ListCounts
	byNumber map[string]ledger.ListCounts
}

func (f *Fleet) countLists(ctx context.Context, now time.Time) (all ledger.ListCounts, byNumber map[string]ledger.ListCounts, err error) {
	f.lists.mu.Lock()
	defer f.lists.mu.Unlock()
	if now.Sub(f.lists.at) >= fresh {
		if all, byNumber, err = f.o.Lists(ctx, now.Add(-message.ReportsWithin)); err != nil {
			return all, nil, err
		}
		f.lists.at, f.lists.all, f.lists.byNumber = now, all, byNumber
	}
	return f.lists.all, f.lists.byNumber, nil
}

// New returns a Fleet. Call Run too: without it there is no history.
func New(o Options) *Fleet { return &Fleet{o: o} }

// fresh is how long one reading of the store serves all callers.
const fresh = time.Second

// State is how all numbers are doing at a moment.
type State struct {
	At      time.Time
	Numbers []Number // in the order of the configuration
	Lists   ledger.ListCounts
}

// Number is how one number is doing.
type Number struct {
	ID         string         `json:"phone_number_id" doc:"Meta's id of the phone number."`
	Attention  Attention      `json:"attention,omitempty" doc:"act: a person must act now. look: a person should look at it today. Absent: nothing."`
	Why        string         `json:"why,omitempty" doc:"Why it needs attention."`
	Speed      string         `json:"speed" doc:"What decides how fast the number sends now, in one sentence."`
	Rate       float64        `json:"rate" doc:"The effective rate: messages per second that the number sends at most now."`
	Limit      float64        `json:"limit" doc:"The rate limit in messages per second: as configured, as Meta says, or as an operator set it."`
	Configured int            `json:"configured" doc:"The configured rate limit, in messages per second."`
	SetRate    int            `json:"set_rate,omitempty" doc:"The rate limit that an operator set in place of the configured one."`
	RampUntil  time.Time      `json:"ramp_until,omitzero" doc:"The rate increases to set_rate until this time."`
	RefusedAt  int            `json:"refused_at,omitempty" doc:"The rate at which Meta last refused a message because the number was too fast."`
	PauseUntil time.Time      `json:"pause_until,omitzero" doc:"Nothing is sent before this time, because Meta refused messages."`
	Attempts   float64        `json:"attempts_per_second" doc:"Attempts per second that ended in the last minute, as this producer saw it."`
	Throttled  float64        `json:"throttled_per_second" doc:"Requests per second that Meta refused in the last minute because the number was too fast."`
	Waiting    int            `json:"waiting" doc:"Messages that wait for a send slot or for the end of a hold."`
	Later      int            `json:"later" doc:"Messages that wait for their time: scheduled ones, retries, those whose recipient is at Meta's pair limit, and those in conversations of other apps."`
	Elsewhere  int            `json:"conversations_of_other_apps,omitempty" doc:"People whose messages wait because another app owns the conversation. These messages are in later too."`
	Active     int            `json:"active" doc:"Messages that workers have fetched."`
	Held       int            `json:"held_messages" doc:"Messages that holds keep from being sent."`
	Slowed     int            `json:"slowed_messages,omitempty" doc:"Waiting messages of campaigns with a rate or a cap per day, which may keep them. oldest_seconds does not count them."`
	ETA        float64        `json:"eta_seconds" doc:"How long until the waiting messages are sent, at the effective rate, and within the messaging limit of the portfolio. While the number is held: after the end of the hold."`
	Classes    []WaitingClass `json:"classes" doc:"What waits by class, the most urgent first. Classes without messages are left out."`
	HeldAll    bool           `json:"held" doc:"Whether all messages of the number are held."`
	Holds      []NumberHold   `json:"holds" doc:"The holds that concern the number."`
	InDoubt    int            `json:"in_doubt" doc:"Messages in doubt. Of this and the following lists up to 1,000 messages in each shard are counted."`
	Parked     int            `json:"parked" doc:"Messages that wait for an operator's decision."`
	Dead       int            `json:"dead_letters" doc:"Dead letters."`
	Meta       observed.Meta  `json:"meta" doc:"What Meta says of the number, as workers read it. A value that is absent is unknown."`
	Awaiting   int            `json:"awaiting_status" doc:"Messages that Meta accepted more than 15 minutes ago and sent no status for."`
	Portfolio  *Portfolio     `json:"portfolio,omitempty" doc:"The messaging limit of the number's business portfolio. Absent: it has none, or it is unknown."`
	Clients    map[string]int `json:"-"` // pending messages by client, of the flows that backlog reads
	Partial    bool           `json:"counts_incomplete,omitempty" doc:"true: a list of messages in doubt, parked, dead or awaiting a status is so long that this number can have more of them than it says. The sums of GET /v1/overview for an API key for all numbers are exact."`
}

// Portfolio is how much of the messaging limit of a business portfolio is used. All its numbers share it.
type Portfolio struct {
	ID      string  `json:"portfolio_id" doc:"Meta's id of the portfolio. Of its account or number where Meta does not say the portfolio."`
	Limit   int     `json:"limit" doc:"How many people the portfolio may write to first in 24 hours."`
	Used    int     `json:"used" doc:"How many people count now."`
	Waiting int     `json:"waiting" doc:"Messages of this number that wait for the limit. They are among the messages that wait for their time."`
	ETA     float64 `json:"eta_seconds" doc:"How long until the limit allows all waiting messages of the number, if each goes to another person. 0: it allows them now."`
}

// WaitingClass is what waits in one class of a number.
type WaitingClass struct {
	Class   message.Class `json:"class" doc:"The class."`
	Waiting int           `json:"waiting" doc:"Messages that wait for a send slot or for the end of a hold on the number."`
	Later   int           `json:"later" doc:"Messages that wait for their time."`
	Oldest  float64       `json:"oldest_seconds" doc:"How long the oldest of the waiting messages has waited."`
	ETA     float64       `json:"eta_seconds" doc:"How long until a message that is accepted now is sent."`
	Paused  bool          `json:"paused,omitempty" doc:"The queue of the class is paused in asynq: nothing of it is sent."`
}

// NumberHold is a hold that concerns a number.
type NumberHold struct {
	httpapi.Hold
	Messages *int `json:"held_messages,omitempty" doc:"How many messages the hold keeps, of all its numbers. Of a hold on several numbers only for an API key for all numbers."`
}

// Read returns how all numbers are doing. One reading serves all callers for a second. It takes about 180 commands of Redis for
// thousands of numbers, in eight round trips.
func (f *Fleet) Read(ctx context.Context) (State, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if time.Since(f.last.At) < fresh {
		return f.last, nil
	}
	s, err := f.read(ctx, f.o.Numbers())
	if err == nil {
		f.last = s
	}
	return s, err
}

// One reads a configured number now.
func (f *Fleet) One(ctx context.Context, number string) (Number, error) {
	s, err := f.read(ctx, []string{number})
	if err != nil {
		return Number{}, err
	}
	return s.Numbers[0], nil
}

func (f *Fleet) read(ctx context.Context, numbers []string) (State, error) {
	rates, err := f.o.Rates(ctx, numbers)
	if err != nil {
		return State{}, err
	}
	list, err := f.o.Holds.List(ctx)
	if err != nil {
		return State{}, err
	}
	byHold, held, err := f.o.Holds.CountHeld(ctx, list)
	if err != nil {
		return State{}, err
	}
	now := time.Now()
	all, lists, err := f.countLists(ctx, now)
	if err != nil {
		return State{}, err
	}
	s := State{At: now, Numbers: make([]Number, len(rates)), Lists: all}
	for i, r := range rates {
		n := join(r, list, byHold, held[r.Number], lists[r.Number])
		n.Attempts, n.Throttled = f.history.recent(n.ID, now)
		n.Meta, n.Partial = f.history.metaOf(n.ID), all.Partial
		n.Speed = speed(n, now)
		n.Attention, n.Why = attention(n, f.history.idle(n.ID, now), now)
		s.Numbers[i] = n
	}
	return s, nil
}

// join joins what was read of a number.
func join(r backlog.Number, list []message.Hold, byHold []int, held int, lists ledger.ListCounts) Number {
	n := Number{
		ID: r.Number, Rate: r.Rate, Limit: r.Goal(), Configured: r.Configured, SetRate: r.Ordered, RampUntil: r.Ramp, RefusedAt: r.Ceiling, PauseUntil: r.Pause,
		Held: held, ETA: r.ETAAll().Seconds(), HeldAll: holds.KeepAll(list, r.Number), Classes: []WaitingClass{}, Holds: []NumberHold{},
		Elsewhere: r.Elsewhere, InDoubt: lists.InDoubt, Parked: lists.Parked, Dead: lists.Dead, Awaiting: lists.Awaiting,
	}
	if s := r.Portfolio; s != nil {
		n.Portfolio = &Portfolio{ID: s.Portfolio, Limit: s.Limit, Used: s.Used, ETA: r.LimitWaitAll().Seconds()}
	}
	for _, w := range r.Waiting {
		if n.Portfolio != nil {
			n.Portfolio.Waiting += w.Limited
		}
		n.Waiting += w.Pending
		n.Slowed += w.Slowed
		n.Later += w.Delayed
		n.Active += w.Active
		for _, f := range w.Flows {
			if n.Clients == nil {
				n.Clients = map[string]int{}
			}
			n.Clients[f.Client] += f.Pending
		}
		if w.Pending+w.Delayed+w.Active > 0 || w.Paused {
			n.Classes = append(n.Classes, WaitingClass{w.Class, w.Pending, w.Delayed, w.Age().Seconds(), r.ETA(w.Class).Seconds(), w.Paused})
		}
	}
	if n.HeldAll {
		n.Waiting = max(n.Waiting, held) // which counts those that are set aside too
	} else {
		n.Waiting += held
	}
	for i, h := range list {
		if h.Number == "" || h.Number == r.Number {
			n.Holds = append(n.Holds, NumberHold{httpapi.ShowHold(h), &byHold[i]})
		}
	}
	return n
}
