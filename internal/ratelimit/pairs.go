package ratelimit

import (
	"maps"
	"time"
)

// Meta's limit of messages from one number to one recipient.
// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#pair-rate-limits
const (
	PairEvery = 6 * time.Second // one message in so long
	PairBurst = 45              // messages at once, after which each takes its PairEvery
	// PairWindow is how long a message counts: what was sent longer ago limits nothing.
	PairWindow = PairBurst * PairEvery
)

// Recipient names a recipient of a number. The zero value names none, and no limit applies to it.
type Recipient [8]byte

// Pairs keeps one number to Meta's limit for each recipient. It remembers the recipients
// that got a message within the last 6 s, or more than one within PairWindow. All times must be
// of one clock. The zero value is ready; it is not safe for concurrent use.
type Pairs struct {
	clear map[Recipient]int64 // when nothing that was sent counts any more, Unix microseconds
	sweep int                 // with so many entries those that are over are dropped
}

// pairsLeast is how many entries are kept before any is dropped.
const pairsLeast = 1024

// Free returns the zero time when a message may go to a recipient now, else when it may.
func (p *Pairs) Free(r Recipient, now time.Time) time.Time {
	if r == (Recipient{}) {
		return time.Time{}
	}
	free := time.UnixMicro(p.clear[r]).Add(-(PairBurst - 1) * PairEvery)
	if free.After(now) {
		return free
	}
	return time.Time{}
}

// Sent notes a message to a recipient, from whatever worker.
func (p *Pairs) Sent(r Recipient, at time.Time) {
	if r == (Recipient{}) {
		return
	}
	now := at.UnixMicro()
	p.note(r, max(p.clear[r], now)+PairEvery.Microseconds())
	if len(p.clear) >= p.sweep {
		maps.DeleteFunc(p.clear, func(_ Recipient, clear int64) bool { return clear <= now })
		p.sweep = max(2*len(p.clear), pairsLeast)
	}
}

// Exhausted notes that Meta refused a message to a recipient: nothing goes to it before until, and
// then one message each PairEvery.
func (p *Pairs) Exhausted(r Recipient, until time.Time) {
	if r == (Recipient{}) {
		return
	}
	p.note(r, max(p.clear[r], until.Add((PairBurst-1)*PairEvery).UnixMicro()))
}

func (p *Pairs) note(r Recipient, clear int64) {
	if p.clear == nil {
		p.clear, p.sweep = map[Recipient]int64{}, pairsLeast
	}
	p.clear[r] = clear
}

// Len is how many recipients are remembered.
func (p *Pairs) Len() int { return len(p.clear) }
