package fleet

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"sluice/internal/observed"
)

// The history has a sample every 10 s for an hour. With 2,000 busy numbers it uses about 20 MB.
const (
	sampleEvery = observed.Every
	samples     = 360
)

// history has what was sampled of each number in the last hour. Its zero value is ready.
type history struct {
	mu      sync.Mutex
	count   int                // samples that were taken
	times   [samples]time.Time // of the i-th sample: at i % samples
	numbers map[string]*[samples]sample
	slot    int64                    // of the requests that were read last
	meta    map[string]observed.Meta // what Meta says of each number, as of the last sample
}

// sample is a number at one moment.
type sample struct {
	done    uint32  // attempts that have ended since the number's first
	waiting uint32  // messages that wait for a slot, for a hold or for their time
	rate    float32 // effective, in messages per second
	limit   float32
	seen    bool // the number had work: done is known

	// Of the requests in the latest complete slot.
	throttled, failed uint16
	mean, longest     uint16 // latency in milliseconds
}

// Point is a number at one moment of its history.
type Point struct {
	At       time.Time `json:"at" doc:"When it was read."`
	Attempts float64   `json:"attempts_per_second" doc:"Attempts per second that ended since the point before. It is an average of the time in which the number had no work at the moments of reading."`
	Rate     float64   `json:"rate" doc:"The effective rate in messages per second."`
	Limit    float64   `json:"limit" doc:"The rate limit in messages per second."`
	Waiting  int       `json:"waiting" doc:"Messages that waited."`

	Throttled float64 `json:"throttled_per_second" doc:"Requests per second that Meta refused because the number was too fast, of all workers. This and the next three are of 10 s that ended up to 22 s before."`
	Failed    float64 `json:"failed_per_second" doc:"Requests per second that Meta did not accept for another reason, or did not answer."`
	Latency   float64 `json:"latency_seconds" doc:"The mean latency of requests to Meta. 0: there were none."`
	Longest   float64 `json:"max_latency_seconds" doc:"The longest latency of a request to Meta. 0: there were none."`
}

// Run samples all numbers every 10 s until ctx ends, and returns nil. A reading that fails leaves a gap.
func (f *Fleet) Run(ctx context.Context, log *slog.Logger) error {
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		if err := f.Sample(ctx); err != nil && ctx.Err() == nil {
			log.Warn("cannot read the history of numbers", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Sample reads all numbers once, for the history. Run calls it.
func (f *Fleet) Sample(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sampleEvery/2)
	defer cancel()
	rates, err := f.o.Rates(ctx, f.o.Numbers())
	if err != nil {
		return err
	}
	h := &f.history
	latest := f.o.Observed.Latest(ctx)
	slot := latest
	if h.slot >= latest-2 {
		slot = min(h.slot+1, latest) // each slot once, also when the ticks come at the ends of slots
	}
	requests, err := f.o.Observed.Requests(ctx, slot)
	if err != nil {
		return err
	}
	meta, err := f.o.Observed.Meta(ctx)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.slot, h.meta = slot, meta
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
		sent := requests[r.Number]
		if sent.Count > 0 {
			s.throttled, s.failed = small(sent.Throttled), small(sent.Failed)
			s.mean, s.longest = small(int(sent.Latency.Milliseconds())/sent.Count), small(int(sent.Longest.Milliseconds()))
		}
		ring := h.numbers[r.Number]
		if ring == nil {
			if !s.seen && s.waiting == 0 && sent.Count == 0 {
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

// small returns a count that a sample keeps in two bytes.
func small(n int) uint16 { return uint16(min(n, math.MaxUint16)) }

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
		points = append(points, Point{
			At: t.UTC(), Rate: float64(s.rate), Limit: float64(s.limit), Waiting: int(s.waiting),
			Throttled: float64(s.throttled) / sampleEvery.Seconds(), Failed: float64(s.failed) / sampleEvery.Seconds(),
			Latency: float64(s.mean) / 1000, Longest: float64(s.longest) / 1000,
		})
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

// recent returns how many attempts per second of a number ended in the last minute, and how many Meta refused because the
// number was too fast.
func (h *history) recent(number string, now time.Time) (attempts, throttled float64) {
	points := h.since(number, now.Add(-time.Minute))
	for _, p := range points {
		attempts += p.Attempts
		throttled += p.Throttled
	}
	n := float64(max(1, len(points)))
	return attempts / n, throttled / n
}

// metaOf returns what Meta says of a number.
func (h *history) metaOf(number string) observed.Meta {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.meta[number]
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
