package graphsim

import (
	"maps"
	"sync"
	"time"
)

// limit is the throughput limit of every number: a number of messages in any window of one
// second. It measures arrivals exactly, although Meta documents only messages per second.
// https://developers.facebook.com/docs/whatsapp/cloud-api/overview#throughput
type limit struct {
	mu      *sync.Mutex
	numbers map[string]*traffic
	most    map[string]int // by number: the largest window of arrivals
}

// traffic has the arrivals of a number in the last second.
type traffic struct {
	arrived  window // all
	admitted window // those within the limit: only they count against it
}

func newLimit() limit {
	return limit{mu: new(sync.Mutex), numbers: map[string]*traffic{}, most: map[string]int{}}
}

// admit records an arrival and reports whether it is within the number's rate, 0 for none.
// largest is the size of the number's largest window if this arrival is in it, else 0.
func (l limit) admit(number string, at time.Time, rate int) (ok bool, largest int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.numbers[number]
	if t == nil {
		t = new(traffic)
		l.numbers[number] = t
	}
	if n := t.arrived.add(at); n > l.most[number] {
		l.most[number], largest = n, n
	}
	if rate <= 0 {
		return true, largest
	}
	if t.admitted.trim(at); len(t.admitted) >= rate {
		return false, largest
	}
	t.admitted.add(at)
	return true, largest
}

// met adds a number that has sent nothing so far.
func (l limit) met(number string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.most[number] += 0
}

// largest returns the largest window of arrivals of every number.
func (l limit) largest() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return maps.Clone(l.most)
}

func (l limit) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	clear(l.most)
	clear(l.numbers)
}

// window has the times within one second of the latest, oldest first.
type window []time.Time

// add appends a time and returns how many are within the second that ends with it. A time
// before the last one counts as equal to it, because calls that arrive together may come in any order.
func (w *window) add(at time.Time) int {
	if n := len(*w); n > 0 && at.Before((*w)[n-1]) {
		at = (*w)[n-1]
	}
	w.trim(at)
	*w = append(*w, at)
	return len(*w)
}

// trim drops the times that are a second or more before now.
func (w *window) trim(now time.Time) {
	n := 0
	for n < len(*w) && now.Sub((*w)[n]) >= time.Second {
		n++
	}
	*w = (*w)[n:]
}
