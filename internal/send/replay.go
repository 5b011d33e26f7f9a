package send

import (
	"context"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// heartbeatRetry is when a heartbeat without an answer is repeated.
	heartbeatRetry = 250 * time.Millisecond
	// replayedAgain is how often a worker checks whether all others have replayed.
	replayedAgain = 200 * time.Millisecond
)

// restarts lets one goroutine at a time handle the restart of a shard's server.
type restarts struct{ shards sync.Map } // shard -> chan struct{}, full while one does

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

// Watch sends this worker's heartbeats, and handles restarts of Redis and the loss of writes, also while this worker
// sends nothing: the other workers wait only for a limited time for its replay. It blocks until ctx ends, which must be
// after the worker's last attempt: a worker that has left must not have a running attempt.
func (s *Sender) Watch(ctx context.Context) error {
	var wg sync.WaitGroup
	for _, part := range s.o.Parts { // a server that does not answer must not stop the heartbeats of the others
		wg.Go(func() { s.watch(ctx, part) })
	}
	wg.Wait()
	leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	s.heartbeats.Leave(leave, s.o.Worker) // otherwise its heartbeats become old
	return nil
}

func (s *Sender) watch(ctx context.Context, shards []message.Shard) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		var retryAfter <-chan time.Time
		for i, epoch := range s.sendHeartbeats(ctx, shards, "") {
			shard := shards[i]
			switch {
			case epoch.Err != nil:
				retryAfter = time.After(heartbeatRetry)
			case epoch.Ready:
				s.memory.prune(shard)
			case !s.restarts.busy(shard):
				wg.Go(func() { s.restarted(ctx, shard) })
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-retryAfter:
		}
	}
}

// sendHeartbeats sends a heartbeat to each of some shards.
func (s *Sender) sendHeartbeats(ctx context.Context, shards []message.Shard, replayed string) []message.Epoch {
	heartbeats := make([]message.Heartbeat, len(shards))
	for i, shard := range shards {
		heartbeats[i] = s.shardBeats.of(shard).next(message.Heartbeat{Shard: shard, Worker: s.o.Worker, Replayed: replayed})
	}
	sent := time.Now()
	epochs := s.heartbeats.Heartbeat(ctx, heartbeats)
	for i, epoch := range epochs {
		s.shardBeats.of(shards[i]).answered(heartbeats[i], epoch, sent, s.memory.dropped(shards[i]))
	}
	return epochs
}

// restarted handles a shard whose server is in another epoch than before: it replays what this worker remembers, and
// blocks until every worker has replayed or has had its time for it, or ctx ends.
func (s *Sender) restarted(ctx context.Context, shard message.Shard) error {
	unlock, err := s.restarts.lock(ctx, shard)
	if err != nil {
		return err
	}
	defer unlock()
	replayed := ""
	for {
		var epoch message.Epoch
		err := retryUntilDone(ctx, func() error {
			if epoch = s.sendHeartbeats(ctx, []message.Shard{shard}, replayed)[0]; epoch.Err != nil || epoch.Ready {
				return epoch.Err
			}
			for epoch.ID != replayed { // the second heartbeat informs the others
				if err := s.replay(ctx, shard, epoch.ID); err != nil {
					return err
				}
				replayed = epoch.ID
				if epoch = s.sendHeartbeats(ctx, []message.Shard{shard}, replayed)[0]; epoch.Err != nil {
					return epoch.Err
				}
			}
			return nil
		})
		switch {
		case err != nil:
			return err
		case epoch.Ready:
			return nil // another goroutine has handled it
		case epoch.Wait <= 0:
			if err := s.epochs.BeginEpoch(ctx, shard, epoch.ID); err == nil {
				return nil
			}
			// It restarted again, or does not answer: the next heartbeat shows it.
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(min(max(epoch.Wait, time.Millisecond), replayedAgain)):
		}
	}
}

// replay stores again what this worker remembers of a shard's attempts. If the server lost more than that, it holds
// the shard until an operator has checked it and releases the hold.
func (s *Sender) replay(ctx context.Context, shard message.Shard, epoch string) error {
	beats := s.shardBeats.of(shard)
	all := s.memory.of(shard)
	lost, err := s.epochs.Replay(ctx, shard, all)
	if err != nil {
		return err
	}
	loss := beats.lost()
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
		// A worker that has died cannot replay its attempts: Meta's statuses will prove them.
		s.o.LostWrites(ctx, shard)
	}
	beats.replayed(loss.proven || lost.Confirmed())
	return nil
}
