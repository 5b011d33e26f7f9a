package fleet

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// The history has a sample every 10 s for an hour. With 2,000 busy numbers it uses about 12 MB.
const (
	sampleEvery = 10 * time.Second
	samples     = 360
)

// history has what was sampled of each number in the last hour. Its zero value is ready.
type history struct {
	mu      sync.Mutex
	count   int                // samples that were taken
	times   [samples]time.Time // of the i-th sample: at i % samples
	numbers map[string]*[samples]sample
}

// sample is a number at one moment.
type sample struct {
	done    uint32  // attempts that have ended since the number's first
	waiting uint32  // messages that wait for a slot, for a hold or for their time
	rate    float32 // effective, in messages per second
	limit   float32
	seen    bool // the number had work: done is known
}

// Point is a number at one moment of its history.
type Point struct {
	At       time.Time `json:"at" doc:"When it was read."`
	Attempts float64   `json:"attempts_per_second" doc:"Attempts per second that ended since the point before. It is an average of the time in which the number had no work at the moments of reading."`
	Rate     float64   `json:"rate" doc:"The effective rate in messages per second."`
	Limit    float64   `json:"limit" doc:"The rate limit in messages per second."`
	Waiting  int       `json:"waiting" doc:"Messages that waited."`
}

// Run samples all numbers every 10 s until ctx ends, and returns nil. A reading that fails leaves a gap.
func (f *Fleet) Run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if err := f.sample(ctx); err != nil && ctx.Err() == nil {
			log.Warn("cannot read the history of numbers", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// sample reads all numbers once.
func (f *Fleet) sample(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sampleEvery/2)
	defer cancel()
	rates, err := f.o.Rates(ctx, f.o.Numbers)
	if err != nil {
		return err
	}
	h := &f.history
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.numbers == nil {
		h.numbers = map[string]*[samples]sample{}
	}
	i := h.count % samples
	h.times[i] = time.Now()
	h.count++
	for _, r := range rates {
		s := sample{rate: float32(r.Rate), limit: float32(r.Goal()), waiting: uint32(r.Messages())}
		for _, w := range r.Waiting {
			s.done += uint32(w.Done)
		}
		s.seen = s.done > 0
		ring := h.numbers[r.Number]
		if ring == nil {
			if !s.seen && s.waiting == 0 {
				continue // idle since the start: it needs no memory
			}
			ring = new([samples]sample)
			for k := range ring {
				ring[k] = sample{rate: s.rate, limit: s.limit}
			}
			h.numbers[r.Number] = ring
		}
		ring[i] = s
	}
	return nil
}

// since returns the points of a number since a time, the oldest first; none: it was idle, or there is no history yet.
func (h *history) since(number string, at time.Time) []Point {
	h.mu.Lock()
	defer h.mu.Unlock()
	ring := h.numbers[number]
	if ring == nil {
		return nil
	}
	oldest, first := max(0, h.count-samples), h.count
	for first > oldest && !h.times[(first-1)%samples].Before(at) {
		first--
	}
	for first > oldest { // and back to one before whose done is known
		if first--; ring[first%samples].seen {
			break
		}
	}
	points := make([]Point, 0, h.count-first)
	last := -1 // the place in points of the last one whose done is known
	var done uint32
	for k := first; k < h.count; k++ {
		s, t := ring[k%samples], h.times[k%samples]
		points = append(points, Point{At: t.UTC(), Rate: float64(s.rate), Limit: float64(s.limit), Waiting: int(s.waiting)})
		if !s.seen {
			continue
		}
		if last >= 0 && s.done >= done {
			each := float64(s.done-done) / t.Sub(points[last].At).Seconds()
			for p := last + 1; p < len(points); p++ {
				points[p].Attempts = each
			}
		}
		last, done = len(points)-1, s.done
	}
	for len(points) > 0 && points[0].At.Before(at) {
		points = points[1:]
	}
	return points
}

// recent returns how many attempts per second of a number ended in the last minute.
func (h *history) recent(number string, now time.Time) float64 {
	points := h.since(number, now.Add(-time.Minute))
	var sum float64
	for _, p := range points {
		sum += p.Attempts
	}
	return sum / float64(max(1, len(points)))
}

// idle returns for how long a number has had waiting messages and ended no attempt; 0: it is not known to be idle.
func (h *history) idle(number string, now time.Time) time.Duration {
	points := h.since(number, now.Add(-10*stalled))
	for i := len(points) - 1; i >= 0; i-- {
		if points[i].Attempts > 0 || points[i].Waiting == 0 {
			return now.Sub(points[i].At)
		}
	}
	if len(points) == 0 {
		return 0
	}
	return now.Sub(points[0].At)
}

// History returns the points of a number since a time, at most of the last hour, the oldest first. It has what this process sampled:
// it begins with its start.
func (f *Fleet) History(number string, since time.Time) []Point {
	return f.history.since(number, since)
}
