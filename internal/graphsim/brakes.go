package graphsim

import (
	"hash/maphash"
	"sync"
	"time"
)

// Meta, "Pair rate limits": one message in six seconds to the same person, and up to 45 at
// once on credit. https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits
const (
	pairEvery = 6 * time.Second
	pairBurst = 45
)

// day is how long a person's message lets us answer freely, and over what the portfolio's
// limit counts.
const day = 24 * time.Hour

// brakes are the limits that are about people. They remember hashes only.
type brakes struct {
	seed maphash.Seed

	mu      sync.Mutex
	free    map[uint64]time.Time // by number and person: when the pair has all its credit again
	prune   int                  // the size of free at which those of the past are dropped
	wrote   map[uint64]time.Time // by number and person: when the person last wrote
	opened  map[uint64]time.Time // by person: when we first wrote unasked, within the day
	opening []opening            // the same, oldest first
}

type opening struct {
	person uint64
	at     time.Time
}

func newBrakes() *brakes {
	return &brakes{
		seed: maphash.MakeSeed(), prune: 1000,
		free: map[uint64]time.Time{}, wrote: map[uint64]time.Time{}, opened: map[uint64]time.Time{},
	}
}

func (b *brakes) hash(number, person string) uint64 {
	return maphash.Comparable(b.seed, [2]string{number, person})
}

// pair tells whether a message from a number to a person keeps to their limit, and counts it
// when it does.
func (b *brakes) pair(number, person string, now time.Time) bool {
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

// wroteAt notes that a person wrote to a number.
func (b *brakes) wroteAt(number, person string, at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrote[b.hash(number, person)] = at
}

// inWindow tells whether a person has written to a number within the last 24 hours.
func (b *brakes) inWindow(number, person string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	at, ok := b.wrote[b.hash(number, person)]
	return ok && now.Sub(at) < day
}

// open tells whether one more person may be written to unasked, of most in 24 hours, and
// counts the person when so.
func (b *brakes) open(person string, now time.Time, most int) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for len(b.opening) > 0 && now.Sub(b.opening[0].at) >= day {
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

// brake is what the limits about people make of a message: a Graph error code that refuses
// it, or one that it fails with after it was taken. Meta documents no code for a portfolio
// over its limit; 131048 is the one about too many messages from a business.
func (s *Sim) brake(st *standing, number string, m request, now time.Time) (refused, failed int) {
	if s.options.PairLimit && !s.brakes.pair(number, m.recipient, now) {
		return 131056, 0
	}
	most := tiers[st.Tier]
	if !s.options.Window && most == 0 || m.Group || s.brakes.inWindow(number, m.recipient, now) {
		return 0, 0
	}
	switch {
	case s.options.Window && m.Type != "template":
		return 0, 131047
	case most > 0 && !s.brakes.open(m.recipient, now, most):
		return 0, 131048
	}
	return 0, 0
}

// wrote notes that a person wrote to a number, where that matters.
func (s *Sim) wrote(number, person string, at time.Time) {
	if s.options.Window || tiers[s.standing.Load().Tier] > 0 {
		s.brakes.wroteAt(number, person, at)
	}
}
