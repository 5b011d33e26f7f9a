// Package throughput asks Meta about each number: how fast it may send, which is the rate limit of numbers whose rate is
// not configured, and its quality for operators.
package throughput

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sluice/internal/observed"
)

const (
	// checkEvery is how often a Discovery looks for old answers.
	checkEvery = 30 * time.Minute
	// oldAfter is how old an answer is when any worker asks again. Workers share the answers.
	oldAfter = time.Hour
)

// Options say what a Discovery works with. All are required.
type Options struct {
	Numbers func() []string                                                    // the phone number ids
	Learns  func(number string) bool                                           // whether the rate limit of a number is what Meta says
	Rate    func(number string) int                                            // the configured rate limit of a number
	Shared  int                                                                // the rate limit at most of a number that is also used in the WhatsApp Business app
	Known   func(ctx context.Context) (map[string]observed.Profile, error)     // the stored answers, of all workers
	Ask     func(ctx context.Context, number string) (observed.Profile, error) // asks Meta
	Store   func(ctx context.Context, number string, p observed.Profile) error // stores an answer
	Set     func(ctx context.Context, rates map[string]int) error              // sets the rates of numbers, 0 for a number that keeps its configured rate
	Log     *slog.Logger
}

// Discovery asks Meta about numbers whose answers are old. Its methods are safe for concurrent use.
type Discovery struct {
	o    Options
	wake chan struct{} // holds a token while all or some say what to do

	mu   sync.Mutex
	all  bool     // Meta is to be asked about all numbers
	some []string // numbers that are new or changed
}

// New returns a Discovery.
func New(o Options) *Discovery { return &Discovery{o: o, wake: make(chan struct{}, 1)} }

// Ask lets Run ask Meta about all numbers now. It does not block: while Meta is slow to answer, the caller goes on.
func (d *Discovery) Ask() { d.order(true, nil) }

// Look lets Run set the rates of these numbers now, which are new or changed, and ask Meta about those whose answers are old. Other
// numbers cost nothing: where there are thousands, one is added again and again. It does not block.
func (d *Discovery) Look(numbers ...string) {
	if len(numbers) > 0 {
		d.order(false, numbers)
	}
}

func (d *Discovery) order(all bool, some []string) {
	d.mu.Lock()
	d.all = d.all || all
	d.some = append(d.some, some...)
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default: // Run has yet to begin with an earlier call
	}
}

// ordered returns the numbers that Run was woken for, and whether Meta is to be asked about them in any case.
func (d *Discovery) ordered() (numbers []string, ask bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	numbers, ask = d.some, d.all
	if ask {
		numbers = d.o.Numbers()
	}
	d.all, d.some = false, nil
	return numbers, ask
}

// Run asks Meta about numbers whose answers are old, at once and every 30 minutes, about those of Look, and about all when Ask was
// called, until ctx ends. It returns nil.
func (d *Discovery) Run(ctx context.Context) error {
	tick := time.NewTicker(checkEvery)
	defer tick.Stop()
	numbers, ask := d.o.Numbers(), false
	for {
		d.discover(ctx, numbers, ask)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
			numbers, ask = d.o.Numbers(), false
		case <-d.wake:
			numbers, ask = d.ordered()
		}
	}
}

// discover asks Meta about numbers whose answers are old, or about all of them, and sets their rates. A number that Meta says nothing
// of keeps its rate.
func (d *Discovery) discover(ctx context.Context, numbers []string, ask bool) {
	known, err := d.o.Known(ctx)
	if err != nil && ctx.Err() == nil {
		d.o.Log.Warn("cannot read what Meta said of the numbers, will ask again", "err", err)
	}
	rates := map[string]int{}
	for _, number := range numbers {
		p := known[number]
		if ask || time.Since(p.At) >= oldAfter {
			answer, err := d.o.Ask(ctx, number)
			if err == nil {
				p = answer
				err = d.o.Store(ctx, number, p)
			}
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				d.o.Log.Warn("cannot read or store what Meta says of a number", "phone_number_id", number, "err", err)
			}
		}
		if !d.o.Learns(number) {
			rates[number] = 0
			if p.OnBizApp && d.o.Rate(number) > d.o.Shared {
				rates[number] = d.o.Shared
			}
		} else if p.Rate > 0 {
			rates[number] = p.Rate
		}
	}
	if err := d.o.Set(ctx, rates); err != nil && ctx.Err() == nil {
		d.o.Log.Error("cannot store the throughput of the numbers", "err", err)
	}
}
