// Package throughput asks Meta how fast numbers may send, for numbers whose rate is not configured.
package throughput

import (
	"context"
	"log/slog"
	"maps"
	"slices"
)

// Discovery asks Meta for the throughput of numbers when Ask is called, and stores the answers.
// Its methods are safe for concurrent use.
type Discovery struct {
	numbers map[string]bool // by phone number id, whether Meta is asked about it
	ask     func(ctx context.Context, number string) (int, error)
	set     func(ctx context.Context, rates map[string]int) error
	log     *slog.Logger
	wake    chan struct{} // holds a token while Meta is to be asked
}

// New returns a Discovery. ask returns how many messages a second Meta lets a number send, 0 when
// Meta does not say it. set stores the rates of numbers, 0 for a number with a configured rate.
func New(numbers map[string]bool, ask func(ctx context.Context, number string) (int, error), set func(ctx context.Context, rates map[string]int) error, log *slog.Logger) *Discovery {
	return &Discovery{numbers: numbers, ask: ask, set: set, log: log, wake: make(chan struct{}, 1)}
}

// Ask lets Run ask Meta. It does not block: while Meta is slow to answer, the caller goes on.
func (d *Discovery) Ask() {
	select {
	case d.wake <- struct{}{}:
	default: // Run has yet to begin with an earlier call
	}
}

// Run asks Meta each time that Ask was called, until ctx ends. It returns nil.
func (d *Discovery) Run(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-d.wake:
			d.discover(ctx)
		}
	}
}

// discover stores what Meta lets numbers send. A number that Meta says nothing of keeps its rate.
func (d *Discovery) discover(ctx context.Context) {
	rates := map[string]int{}
	for _, number := range slices.Sorted(maps.Keys(d.numbers)) {
		if !d.numbers[number] {
			rates[number] = 0
			continue
		}
		rate, err := d.ask(ctx, number)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			d.log.Warn("cannot read the throughput of a number from Meta", "phone_number_id", number, "err", err)
		case rate > 0:
			rates[number] = rate
		}
	}
	if err := d.set(ctx, rates); err != nil && ctx.Err() == nil {
		d.log.Error("cannot store the throughput of the numbers", "err", err)
	}
}
