package send

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
)

const (
	// beatEvery is how often a worker says that it lives, and sweeps.
	beatEvery = 2 * time.Second
	// DeadAfter is the silence after which a worker counts as dead.
	DeadAfter = 6 * time.Second
	// sweepMost is how many messages of a kind one pass takes up in a shard.
	sweepMost = 500
)

// records is the ledger as the sweeper sees it.
type records interface {
	Beat(ctx context.Context, worker string) error
	Leave(ctx context.Context, worker string) error
	Alive(ctx context.Context, d time.Duration) (map[string]bool, error)
	Unsettled(ctx context.Context, now time.Time) ([]message.Unsettled, error)
	Opens(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error)
	Doubts(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error)
	Postpone(ctx context.Context, s message.Shard, ids []string, until time.Time) error
	Owed(ctx context.Context, s message.Shard, after, before time.Time) (int64, error)
	Waiting(ctx context.Context, s message.Shard, offset, limit int) ([]message.Open, error)
	Overdue(ctx context.Context, s message.Shard, now time.Time, limit int) ([]message.Open, error)
	Sweep(ctx context.Context, o message.Open, m message.Move) (bool, error)
	Forget(ctx context.Context, s message.Shard) (int, error)
}

// Hand is tasks that a worker has fetched and not finished.
type Hand struct {
	Worker string
	Shard  message.Shard
	IDs    []string // of their messages
	// Return puts the tasks back to the head of their queue, unless their worker or somebody else did
	// something about them.
	Return func(ctx context.Context) error
}

// Requeue moves an open message back to queued and adds a task for it, in one transaction.
type Requeue func(ctx context.Context, o message.Open, m message.Move) error

// Watermark says up to when all evidence of a shard is folded into the records.
type Watermark func(ctx context.Context, s message.Shard) (time.Time, error)

// LastHeard says when a webhook of Meta's last came at all, and when the last status of a
// number was made.
type LastHeard func(ctx context.Context, number string) (any, status time.Time, err error)

// Sweeper takes up what was left undone: attempts of dead workers, doubts whose window has
// passed, deadlines. Each worker runs one; they may all do the same work without harm.
type Sweeper struct {
	Worker     string
	Policy     func(number string, c message.Class) message.Policy
	Shards     message.Shards
	Records    records
	Requeue    Requeue
	Lost       func(ctx context.Context, some []message.Open) ([]message.Open, error) // those whose task is gone
	Hands      func(ctx context.Context) ([]Hand, error)
	Suspects   func() []string // messages that were found in an attempt when their task came up, since it was last called
	Holds      func(ctx context.Context) ([]message.Hold, error)
	Watermark  Watermark
	LastHeard  LastHeard
	Sends      func() int                                   // requests of this worker in the last minute
	Now        func(ctx context.Context) (time.Time, error) // the store's clock
	Log        *slog.Logger
	Registerer prometheus.Registerer

	metrics    *sweeps
	walk       walk
	forgetting message.Shard // whose records were looked through last
	resends    minute        // by policy, without evidence
	// since is when this worker's view of the others' beats became unbroken. After the store
	// was away, or this worker stood still, everybody's beat looks old, and nobody is dead.
	since  time.Time
	beaten time.Time // when this worker's last beat was answered
}

// Run sweeps until ctx ends, which must be after the worker's last attempt: whoever has left
// has no attempt under way.
func (s *Sweeper) Run(ctx context.Context) error {
	s.metrics = newSweeps(s.Registerer)
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		err := s.beat(ctx)
		if err == nil {
			err = s.sweep(ctx)
		}
		if err != nil && ctx.Err() == nil {
			s.Log.Error("sweep", "err", err)
		}
		select {
		case <-ctx.Done():
			leave, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			s.Records.Leave(leave, s.Worker) // else its beat grows old by itself
			return nil
		case <-tick.C:
		}
	}
}

// beat says that this worker lives, and notes when two beats were too far apart.
func (s *Sweeper) beat(ctx context.Context) error {
	err := s.Records.Beat(ctx, s.Worker)
	now := time.Now()
	if err != nil || now.Sub(s.beaten) > 2*beatEvery {
		s.since = now
	}
	if err == nil {
		s.beaten = now
	}
	return err
}

// sweep goes on to the next shard after an error: one node away must not stop the others.
func (s *Sweeper) sweep(ctx context.Context) error {
	// Hands first: who has tasks had sent a heartbeat before.
	hands, handsErr := s.Hands(ctx)
	alive, err := s.Records.Alive(ctx, DeadAfter)
	if err != nil {
		return err
	}
	now, err := s.Now(ctx)
	if err != nil {
		return fmt.Errorf("read the store's clock: %w", err)
	}
	unsettled, err := s.Records.Unsettled(ctx, now)
	if err != nil {
		return err
	}
	errs := []error{handsErr, s.abandoned(ctx, hands, alive, now), s.suspects(ctx, alive, now), s.lost(ctx, alive, now), s.forget(ctx, alive)}
	for _, u := range unsettled {
		if time.Since(s.beaten) > beatEvery { // there is so much to sweep
			if err := s.beat(ctx); err != nil {
				return errors.Join(append(errs, err)...)
			}
		}
		if u.Doubts {
			errs = append(errs, s.doubts(ctx, u.Shard, now))
		}
		if u.Overdue {
			errs = append(errs, s.overdue(ctx, u.Shard, now))
		}
	}
	return errors.Join(errs...)
}

// abandoned takes up what dead workers have in hand: their attempts are in doubt, and their tasks go
// back to their queues.
func (s *Sweeper) abandoned(ctx context.Context, hands []Hand, alive map[string]bool, now time.Time) error {
	var errs []error
	for _, h := range hands {
		if !s.dead(h.Worker, alive) {
			continue
		}
		err := s.doubt(ctx, h.Shard, h.IDs, alive, now)
		if err == nil {
			err = h.Return(ctx)
		}
		errs = append(errs, err) // one node away must not stop the others
	}
	return errors.Join(errs...)
}

// suspects makes doubts of attempts that came up again with their task, and that nobody works on.
func (s *Sweeper) suspects(ctx context.Context, alive map[string]bool, now time.Time) error {
	by := map[message.Shard][]string{}
	for _, id := range s.Suspects() {
		number, _ := message.Number(id)
		shard := s.Shards.Of(number)
		by[shard] = append(by[shard], id)
	}
	var errs []error
	for shard, ids := range by {
		errs = append(errs, s.doubt(ctx, shard, ids, alive, now))
	}
	return errors.Join(errs...)
}

func (s *Sweeper) doubt(ctx context.Context, shard message.Shard, ids []string, alive map[string]bool, now time.Time) error {
	for some := range slices.Chunk(ids, sweepMost) {
		opens, err := s.Records.Opens(ctx, shard, some)
		if err != nil {
			return err
		}
		for _, o := range opens {
			if err := s.doubtIfAbandoned(ctx, o, alive, now); err != nil {
				return err
			}
		}
	}
	return nil
}

// dead tells whether a worker that was not named among the living is dead.
func (s *Sweeper) dead(worker string, alive map[string]bool) bool {
	return !alive[worker] && time.Since(s.since) > DeadAfter
}

// doubtIfAbandoned makes a doubt of an attempt whose owner is dead, or should be done long since.
func (s *Sweeper) doubtIfAbandoned(ctx context.Context, o message.Open, alive map[string]bool, now time.Time) error {
	if o.State != message.Attempting {
		return nil
	}
	m := message.Move{To: message.InDoubt, In: s.Policy(o.Message.From, o.Message.Class).DoubtWindow}
	switch {
	case s.dead(o.Worker, alive) && now.Sub(o.Since) > DeadAfter:
		// A younger attempt proves that its owner lived: it came after alive was read.
		m.Reason = message.ReasonWorkerDied
	case now.Sub(o.Since) > attemptMax+beatEvery:
		m.Reason = message.ReasonNoAnswer
	default:
		return nil
	}
	return s.move(ctx, o, m)
}

// forget drops the records of one shard whose lives are over, in each pass of another. One living
// worker does so for all: the first by name.
func (s *Sweeper) forget(ctx context.Context, alive map[string]bool) error {
	if !s.firstByName(alive) {
		return nil
	}
	s.forgetting = (s.forgetting + 1) % message.Shard(s.Shards)
	_, err := s.Records.Forget(ctx, s.forgetting)
	return err
}

func (s *Sweeper) firstByName(alive map[string]bool) bool {
	for worker := range alive {
		if worker < s.Worker {
			return false
		}
	}
	return true
}

// overdue ends messages whose deadline passed while they waited.
func (s *Sweeper) overdue(ctx context.Context, shard message.Shard, now time.Time) error {
	late, err := s.Records.Overdue(ctx, shard, now, sweepMost)
	if err != nil {
		return err
	}
	if len(late) == 0 {
		return nil
	}
	holds, err := s.Holds(ctx)
	if err != nil {
		return err
	}
	for _, o := range late {
		m := message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true}
		switch {
		case slices.ContainsFunc(holds, func(h message.Hold) bool { return h.Concerns(o.Message) }):
			m.Reason = message.ReasonLateHeld
		case o.N > 0:
			m.Reason = message.ReasonLateRetry
		}
		if err := s.move(ctx, o, m); err != nil {
			return err
		}
	}
	return nil
}

func (s *Sweeper) move(ctx context.Context, o message.Open, m message.Move) error {
	moved, err := s.Records.Sweep(ctx, o, m)
	if moved {
		s.note(o, m)
	}
	return err
}

func (s *Sweeper) note(o message.Open, m message.Move) {
	if m.To == message.Expired {
		s.metrics.expired.WithLabelValues(stages[m.Reason]).Inc()
	}
	s.metrics.moves.WithLabelValues(string(o.State), string(m.To)).Inc()
	s.Log.Info("swept", "msg_id", o.ID, "phone_number_id", o.Message.From, "class", o.Message.Class,
		"attempt", o.N, "from", o.State, "state", m.To, "reason", m.Reason)
}
