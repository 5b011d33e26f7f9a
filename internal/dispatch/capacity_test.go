package dispatch

import (
	"context"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
)

func TestRoomGoesByTheAnswerTime(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	for _, c := range []struct {
		rate   int
		answer time.Duration
		inHand int
		want   int
	}{
		{80, 0, 0, 20},
		{80, 200 * time.Millisecond, 0, 3*16 + 16},
		{80, time.Second, 0, 2*80 + 20}, // no more than two seconds' worth
		{80, time.Minute, 0, 2*80 + 20},
		{80, time.Minute, 180, 0},
		{1000, 200 * time.Millisecond, 0, 600 + 200},
		{1, time.Minute, 0, 22},
	} {
		g, _ := f.gate("w", Number{ID: phone, Rate: c.rate})
		n := g.number(phone)
		for range 1000 { // each lets the next be one more
			n.answered(c.answer)
		}
		for range c.inHand {
			n.running++
		}
		if got := n.capacity(true); got < c.want-1 || got > c.want+1 {
			t.Errorf("rate %d, answers after %v, %d in hand: capacity for %d, want %d", c.rate, c.answer, c.inHand, got, c.want)
		}
	}
}

// A worker begins with little in hand. When tasks miss their slots it takes on half of what it
// has, and then slowly more.
func TestRoomGoesByMissedSlots(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	n := g.number(phone)
	capacity := func(want int) {
		t.Helper()
		if got := n.capacity(true); got != want {
			t.Errorf("capacity for %d, want %d", got, want)
		}
	}
	capacity(64)
	for range 100 {
		n.answered(time.Second)
	}
	capacity(164)
	for range 150 {
		n.running++
	}
	n.missed()
	n.missed() // of the same moment
	capacity(75 - 150)
	for range 30 {
		n.answered(time.Second)
	}
	if got := n.capacity(true) + 150; got < 76 || got > 78 {
		t.Errorf("after 30 answers %d in hand at most, want one or two more than 75", got)
	}
}

// A fetch is put off until there is capacity for an eighth of what may be fetched, unless new tasks
// are announced.
func TestALittleRoomIsWorthNoLook(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g, _ := f.gate("w", Number{ID: phone, Rate: 1000})
	n := g.number(phone)
	for range 64 {
		n.running++
	}
	for i := range 8 {
		if quiet, called := n.capacity(false), n.capacity(true); quiet != 0 || called != i {
			t.Errorf("%d of 64 in hand: capacity for %d, when called for %d", 64-i, quiet, called)
		}
		n.returned(&queue.Fetched{}, nil)
	}
	if got := n.capacity(false); got != 8 {
		t.Errorf("56 of 64 in hand: capacity for %d", got)
	}
}

// A Meta that does not answer holds up its own number only, and is not buried.
func TestASlowNumberKeepsItsRequestsFew(t *testing.T) {
	t.Parallel()
	f := setup(t)
	const slow, quick = phone, "206540352242922"
	f.add(many(400, slow, message.Utility)...)
	f.add(many(60, quick, message.Utility)...)
	j := newJournal()
	release := make(chan struct{})
	defer close(release)
	f.serve("w", func(ctx context.Context, id string, k int, known any, slots *Slots) error {
		if strings.HasPrefix(id, slow) {
			if _, err := slots.Wait(ctx, false); err != nil {
				return Later{}
			}
			<-release
			return nil
		}
		return j.handle(ctx, id, k, nil, slots)
	}, Number{ID: slow, Rate: 80}, Number{ID: quick, Rate: 80})
	j.wait(t, 60)
	active := 0
	for _, value := range f.hands(slow) {
		active += len(strings.Fields(value)) - 1
	}
	if active < 20 || active > 180 {
		t.Errorf("%d tasks of the slow number are in hand, want 180 at most", active)
	}
}
