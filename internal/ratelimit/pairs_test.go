package ratelimit_test

import (
	"encoding/binary"
	"math/rand/v2"
	"testing"
	"time"

	"sluice/internal/ratelimit"
)

func recipient(n int) (r ratelimit.Recipient) {
	binary.BigEndian.PutUint64(r[:], uint64(n)+1)
	return r
}

func TestPairsLetABurstGoThenOneEachSixSeconds(t *testing.T) {
	t.Parallel()
	var p ratelimit.Pairs
	start := time.Unix(1_700_000_000, 0)
	send := func(at time.Time, r ratelimit.Recipient) bool {
		if !p.Free(r, at).IsZero() {
			return false
		}
		p.Sent(r, at)
		return true
	}
	for i := range ratelimit.PairBurst {
		if !send(start, recipient(1)) {
			t.Fatalf("message %d of the burst may not go", i+1)
		}
	}
	if free := p.Free(recipient(1), start); !free.Equal(start.Add(ratelimit.PairEvery)) {
		t.Errorf("after the burst the next may go %v later, want 6 s", free.Sub(start))
	}
	if !send(start, recipient(2)) || !send(start, ratelimit.Recipient{}) {
		t.Error("another recipient waits")
	}
	for i, c := range []struct {
		after time.Duration
		want  int
	}{{5999 * time.Millisecond, 0}, {6 * time.Second, 1}, {11 * time.Second, 0}, {18 * time.Second, 2}, {90 * time.Second, 12}, {time.Hour, ratelimit.PairBurst}} {
		got := 0
		for send(start.Add(c.after), recipient(1)) {
			got++
		}
		if got != c.want {
			t.Errorf("%d: after %v %d may go, want %d", i, c.after, got, c.want)
		}
	}
}

// In any window of any length no more go than the burst and one for each 6 s of it.
func TestPairsKeepMetasLimit(t *testing.T) {
	t.Parallel()
	for seed := range uint64(5) {
		r := rand.New(rand.NewPCG(seed, 1))
		var p ratelimit.Pairs
		var sent []time.Time
		now := time.Unix(1_700_000_000, 0)
		for range 5000 {
			now = now.Add(time.Duration(r.Int64N(int64(time.Second * time.Duration(1+r.IntN(10))))))
			for range r.IntN(5) {
				if free := p.Free(recipient(7), now); free.IsZero() {
					p.Sent(recipient(7), now)
					sent = append(sent, now)
				} else if free.Sub(now) > ratelimit.PairEvery {
					t.Fatalf("it must wait %v", free.Sub(now))
				}
			}
		}
		for i := range sent {
			for j := i; j < len(sent) && j < i+200; j++ {
				if most := ratelimit.PairBurst + int(sent[j].Sub(sent[i])/ratelimit.PairEvery); j-i+1 > most {
					t.Fatalf("%d messages within %v, want %d at most", j-i+1, sent[j].Sub(sent[i]), most)
				}
			}
		}
	}
}

// Who got one message is forgotten, however many there are.
func TestPairsForget(t *testing.T) {
	t.Parallel()
	var p ratelimit.Pairs
	now := time.Unix(1_700_000_000, 0)
	most := 0
	for i := range 1_000_000 { // 1,000 a second
		p.Sent(recipient(i), now)
		now = now.Add(time.Millisecond)
		most = max(most, p.Len())
	}
	if most > 2*6000+1 {
		t.Errorf("%d recipients were remembered at a time", most)
	}
}

func BenchmarkPairs(b *testing.B) {
	var p ratelimit.Pairs
	now := time.Unix(1_700_000_000, 0)
	i := 0
	for b.Loop() {
		r := recipient(i)
		if p.Free(r, now).IsZero() {
			p.Sent(r, now)
		}
		now = now.Add(time.Millisecond)
		i++
	}
}
