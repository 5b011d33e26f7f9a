package graphsim

import (
	"cmp"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"
)

// Meta, "Pair rate limits": one message in six seconds to the same recipient, and up to 45 at
// once as a burst. https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits
const (
	pairEvery = 6 * time.Second
	pairBurst = 45
)

// reengagement is Meta's code for a free-form message outside the customer service window.
const reengagement = 131047

// day is the length of the customer service window, and of the window of the portfolio's limit unless Options.LimitWindow is set.
const day = 24 * time.Hour

// recipientLimits are the limits that concern recipients. They store hashes only.
type recipientLimits struct {
	seed maphash.Seed

	mu      sync.Mutex
	free    map[uint64]time.Time // by number and recipient: when the pair may send a full burst again
	prune   int                  // the size of free at which past entries are dropped
	wrote   map[uint64]time.Time // by number and recipient: when the recipient last wrote
	opened  map[uint64]time.Time // by recipient: when the business first wrote within the day, outside the customer service window
	opening []opening            // the same, oldest first

	over atomic.Int64 // messages above the limit of the portfolio
}

type opening struct {
	person uint64
	at     time.Time
}

func newRecipientLimits() *recipientLimits {
	return &recipientLimits{
		seed: maphash.MakeSeed(), prune: 1000,
		free: map[uint64]time.Time{}, wrote: map[uint64]time.Time{}, opened: map[uint64]time.Time{},
	}
}

func (b *recipientLimits) hash(number, person string) uint64 {
	return maphash.Comparable(b.seed, [2]string{number, person})
}

// pair reports whether a message from a number to a recipient is within the pair limit, and counts the message if it
// is.
func (b *recipientLimits) pair(number, person string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	key := b.hash(number, person)
	free := b.free[key]
	if free.Before(now) {
		free = now
	}
	if free = free.Add(pairEvery); free.Sub(now) > pairBurst*pairEvery {
		return false
	}
	b.free[key] = free
	if len(b.free) > b.prune {
		for k, t := range b.free {
			if t.Before(now) {
				delete(b.free, k)
			}
		}
		b.prune = 2*len(b.free) + 1000
	}
	return true
}

// wroteAt records that a recipient wrote to a number.
func (b *recipientLimits) wroteAt(number, person string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrote[b.hash(number, person)] = at
}

// inWindow reports whether a recipient has written to a number within the last 24 hours.
func (b *recipientLimits) inWindow(number, person string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.wrote[b.hash(number, person)]
	return ok && now.Sub(at) < day
}

// open reports whether the business may open a conversation with one more recipient, with most in a window, and
// counts the recipient if it may.
func (b *recipientLimits) open(person string, now time.Time, most int, window time.Duration) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.opening) > 0 && now.Sub(b.opening[0].at) >= window {
		delete(b.opened, b.opening[0].person)
		b.opening = b.opening[1:]
	}
	key := b.hash("", person)
	if _, known := b.opened[key]; known {
		return true
	}
	if len(b.opened) >= most {
		return false
	}
	b.opened[key] = now
	b.opening = append(b.opening, opening{key, now})
	return true
}

// limitedBy applies the limits of recipients to a message: it returns a Graph error code that refuses
// it, or one with which it fails after it is accepted. Meta documents no code for a portfolio
// over its limit; 131048 is the code for too many messages from a business.
func (s *Sim) limitedBy(st *standing, number string, m request, now time.Time) (refused, failed int) {
	if s.options.PairLimit && !s.recipients.pair(number, m.recipient, now) {
		return 131056, 0
	}
	most := tiers[st.Tier]
	if !s.options.Window && most == 0 || m.Group || s.recipients.inWindow(number, m.recipient, now) {
		return 0, 0
	}
	switch {
	case s.options.Window && m.Type != "template":
		return 0, reengagement
	case most > 0 && !s.recipients.open(m.recipient, now, most, cmp.Or(time.Duration(s.options.LimitWindow), day)):
		s.recipients.over.Add(1)
		return 0, 131048
	}
	return 0, 0
}

// wrote records that a recipient wrote to a number, if a limit needs it.
func (s *Sim) wrote(number, person string, at time.Time) {
	if s.options.Window || tiers[s.standing.Load().Tier] > 0 {
		s.recipients.wroteAt(number, person, at)
	}
}
