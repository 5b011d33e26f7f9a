package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
)

// Quiet is how long nothing is sent after a restart of a store that may lose what it had last:
// as long as a living worker may take to find the restart and write down again what it did.
const Quiet = DeadAfter

// restarts lets one goroutine at a time deal with the restart of a shard's server.
type restarts struct{ shards sync.Map } // shard -> chan struct{}, full while somebody does

func (r *restarts) lock(ctx context.Context, s message.Shard) (unlock func(), err error) {
	v, _ := r.shards.LoadOrStore(s, make(chan struct{}, 1))
	turn := v.(chan struct{})
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Watch meets the store, so that no message has to, and then finds its restarts, also while this
// worker sends nothing, until ctx ends: the others wait only so long for what it remembers.
func (s *Sender) Watch(ctx context.Context) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, shard := range s.o.Shards.All() {
		wg.Go(func() { s.restarted(ctx, shard) })
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		for _, shard := range s.memory.known() {
			wg.Go(func() { // one master away must not stop the others
				if run, err := s.ledger.Meet(ctx, shard, s.o.Quiet); err != nil {
					return // while it is away nothing can begin there
				} else if run.Met {
					s.memory.forget(shard)
					return
				}
				s.restarted(ctx, shard)
			})
		}
	}
}

// restarted deals with a shard whose server is another than this worker knew: it writes down
// again what it remembers, and blocks until attempts may begin, or ctx ends.
func (s *Sender) restarted(ctx context.Context, shard message.Shard) error {
	unlock, err := s.restarts.lock(ctx, shard)
	if err != nil {
		return err
	}
	defer unlock()
	asserted := ""
	for {
		var run message.Run
		err := persist(ctx, func() (err error) {
			if run, err = s.ledger.Meet(ctx, shard, s.o.Quiet); err != nil || run.Met || run.ID == asserted {
				return err
			}
			return s.assert(ctx, shard, run.ID)
		})
		switch {
		case err != nil:
			return err
		case run.Met:
			return nil // another goroutine dealt with it
		case run.Wait <= 0:
			if err := s.ledger.Trust(ctx, shard, run.ID); err != nil {
				continue // it restarted once more, or is away: Meet says
			}
			return nil
		}
		asserted = run.ID
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(run.Wait):
		}
	}
}

func (s *Sender) assert(ctx context.Context, shard message.Shard, run string) error {
	all := s.memory.of(shard)
	lost, err := s.ledger.Assert(ctx, shard, all)
	if err != nil {
		return err
	}
	s.metrics.note(lost)
	if len(all) > 0 {
		s.o.Log.Warn("another run of the store", "shard", shard, "run_id", run, "remembered", len(all),
			"lost_intents", lost.Intents, "lost_outcomes", lost.Outcomes, "lost_records", lost.Records)
	}
	if lost.Rewound() {
		// A worker that died meanwhile cannot say what it did: Meta's reports will.
		s.o.Rewound(ctx, shard)
	}
	return nil
}
