package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// beatAgain is when a heartbeat is tried again that was not answered.
	beatAgain = 250 * time.Millisecond
	// replayedAgain is how often a worker asks whether all others have replayed.
	replayedAgain = 200 * time.Millisecond
)

// restarts lets one goroutine at a time deal with the restart of a shard's server.
type restarts struct{ shards sync.Map } // shard -> chan struct{}, full while somebody does

func (r *restarts) turn(s message.Shard) chan struct{} {
	v, _ := r.shards.LoadOrStore(s, make(chan struct{}, 1))
	return v.(chan struct{})
}

func (r *restarts) lock(ctx context.Context, s message.Shard) (unlock func(), err error) {
	turn := r.turn(s)
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *restarts) busy(s message.Shard) bool { return len(r.turn(s)) > 0 }

// Watch sends this worker's heartbeats, and deals with restarts of the store and with a store that was set
// back, also while this worker sends nothing: the others wait only so long for what it remembers. It
// blocks until ctx ends, which must be after the worker's last attempt: whoever has left has no attempt
// under way.
func (s *Sender) Watch(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, part := range s.o.Parts { // a server that is away must not stop the heartbeats of the others
		wg.Go(func() { s.watch(ctx, part) })
	}
	wg.Wait()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.heartbeats.Leave(leave, s.o.Worker) // else its heartbeats grow old by themselves
	return nil
}

func (s *Sender) watch(ctx context.Context, shards []message.Shard) {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		var retry <-chan time.Time
		for i, run := range s.beat(ctx, shards, "") {
			shard := shards[i]
			switch {
			case run.Err != nil:
				retry = time.After(beatAgain)
			case run.Ready:
				s.memory.forget(shard)
			case !s.restarts.busy(shard):
				wg.Go(func() { s.restarted(ctx, shard) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-retry:
		}
	}
}

// beat sends a heartbeat to each of some shards.
func (s *Sender) beat(ctx context.Context, shards []message.Shard, replayed string) []message.Epoch {
	pulses := make([]message.Heartbeat, len(shards))
	for i, shard := range shards {
		pulses[i] = s.hearts.of(shard).next(message.Heartbeat{Shard: shard, Worker: s.o.Worker, Replayed: replayed})
	}
	sent := time.Now()
	runs := s.heartbeats.Heartbeat(ctx, pulses)
	for i, run := range runs {
		s.hearts.of(shards[i]).answered(pulses[i], run, sent, s.memory.dropped(shards[i]))
	}
	return runs
}

// restarted deals with a shard whose server is in another epoch than this worker knew: it writes down
// again what it remembers, and blocks until every worker has done so or had its time for it, or ctx ends.
func (s *Sender) restarted(ctx context.Context, shard message.Shard) error {
	unlock, err := s.restarts.lock(ctx, shard)
	if err != nil {
		return err
	}
	defer unlock()
	replayed := ""
	for {
		var run message.Epoch
		err := persist(ctx, func() error {
			if run = s.beat(ctx, []message.Shard{shard}, replayed)[0]; run.Err != nil || run.Ready {
				return run.Err
			}
			for run.ID != replayed { // the second heartbeat says so to the others
				if err := s.replay(ctx, shard, run.ID); err != nil {
					return err
				}
				replayed = run.ID
				if run = s.beat(ctx, []message.Shard{shard}, replayed)[0]; run.Err != nil {
					return run.Err
				}
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case run.Ready:
			return nil // another goroutine dealt with it
		case run.Wait <= 0:
			if err := s.epochs.BeginEpoch(ctx, shard, run.ID); err == nil {
				return nil
			}
			// It restarted once more, or is away: the next heartbeat tells.
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(max(run.Wait, time.Millisecond), replayedAgain)):
		}
	}
}

// replay writes down again what this worker remembers of a shard's attempts. Where the server lost more
// than that it has the shard held: until somebody who compared releases it.
func (s *Sender) replay(ctx context.Context, shard message.Shard, epoch string) error {
	heart := s.hearts.of(shard)
	all := s.memory.of(shard)
	lost, err := s.epochs.Replay(ctx, shard, all)
	if err != nil {
		return err
	}
	loss := heart.lost()
	s.metrics.note(lost)
	if len(all) > 0 || loss.proven {
		s.o.Log.Warn("Redis restarted or lost writes: replaying the attempts of this worker", "shard", shard, "epoch", epoch,
			"remembered", len(all), "lost_intents", lost.Intents, "lost_outcomes", lost.Outcomes, "lost_records", lost.Records,
			"lost_heartbeats", loss.proven, "lost_seconds", loss.depth.Seconds())
	}
	switch {
	case loss.deep:
		if err := s.o.Restored(ctx, shard, loss.depth); err != nil {
			return err
		}
		s.metrics.restored.Inc()
	case lost.Confirmed() || loss.proven:
		// A worker that died meanwhile cannot say what it did: Meta's reports will.
		s.o.LostWrites(ctx, shard)
	}
	heart.replayed(loss.proven || lost.Confirmed())
	return nil
}
