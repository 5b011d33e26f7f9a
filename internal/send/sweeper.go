package send

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

const (
	// heartbeatEvery is how often a worker sends its heartbeats, and sweeps.
	heartbeatEvery = 2 * time.Second
	// sweepMost is how many messages of a kind one pass changes in a shard.
	sweepMost = 500
)

// workers says which workers are alive.
type workers interface {
	Alive(ctx context.Context, shards []message.Shard, d time.Duration) []message.LiveWorkers
}

// openMessages reads the lists of messages that are not final. Results are valid also with an error, which is about
// other messages.
type openMessages interface {
	Unsettled(ctx context.Context, now map[message.Shard]time.Time) ([]message.Unsettled, error)
	ReadOpenAll(ctx context.Context, s message.Shard, ids []string) ([]message.Open, error)
	WindowEnded(ctx context.Context, s message.Shard, until time.Time, limit int) ([]message.Open, error)
	CountAwaiting(ctx context.Context, s message.Shard, after, before time.Time) (int64, error)
	Waiting(ctx context.Context, s message.Shard, offset, limit int) ([]message.Open, error)
	Parked(ctx context.Context, s message.Shard, before time.Time, limit int) ([]message.Open, error)
	Overdue(ctx context.Context, s message.Shard, now time.Time, limit int) ([]message.Open, error)
}

// transitions changes the state of messages.
type transitions interface {
	Sweep(ctx context.Context, o message.Open, m message.Move) (bool, error)
	Postpone(ctx context.Context, s message.Shard, ids []string, until time.Time) error
	Purge(ctx context.Context, s message.Shard) (int, error)
	Follow(ctx context.Context, s message.Shard, waiting []message.Open) error
}

// FetchedTasks are tasks that a worker has fetched and not finished.
type FetchedTasks struct {
	Worker string
	Shard  message.Shard
	IDs    []string // of their messages
	// Return puts the tasks back to the head of their queue, except those that have changed since.
	Return func(ctx context.Context) error
}

// Requeue queues an open message again and adds a task for it, in one transaction.
type Requeue func(ctx context.Context, o message.Open, m message.Move) error

// Watermark returns the time until which all statuses of a shard are applied to the records.
type Watermark func(ctx context.Context, s message.Shard) (time.Time, error)

// Channel says whether Meta's webhooks about a number reach us.
type Channel func(ctx context.Context, number string) (message.Channel, error)

// Sweeper completes what was left unfinished: attempts of dead workers, in-doubt windows that have ended, deadlines.
// Each worker runs one; several may do the same work without harm.
type Sweeper struct {
	Worker    string
	Policy    func(number string, c message.Class) message.Policy
	Shards    message.Shards
	Workers   workers
	Open      openMessages
	Changes   transitions
	Requeue   Requeue
	LostTasks func(ctx context.Context, some []message.Open) ([]message.Open, error) // those whose task is missing
	Fetched   func(ctx context.Context, shards []message.Shard) ([]FetchedTasks, error)
	Suspects  func(shards []message.Shard) []string // messages of some shards whose task was fetched during an attempt, since the last call
	Holds     func(ctx context.Context) ([]message.Hold, error)
	Watermark Watermark
	Channel   Channel
	Sends     func() int // requests of this worker in the last minute
	// View returns since when this worker's view of a shard is reliable. After an outage of Redis, or a pause of this
	// worker, the heartbeats of all workers look old, and none of them counts as dead.
	View       func(s message.Shard) ShardView
	Parts      [][]message.Shard // the shards, grouped by server
	Log        *slog.Logger
	Registerer prometheus.Registerer

	metrics *sweeperMetrics
	resends minute // by policy, without a status
}

// Run sweeps until ctx ends. The shards of a server are swept together, and a server that does not answer stops only
// its own sweep.
func (s *Sweeper) Run(ctx context.Context) error {
	s.metrics = newSweeperMetrics(s.Registerer)
	var wg sync.WaitGroup
	for _, shards := range s.Parts {
		wg.Go(func() { (&part{Sweeper: s, shards: shards}).run(ctx) })
	}
	wg.Wait()
	return nil
}

// part is the sweep of the shards of one server.
type part struct {
	*Sweeper
	shards []message.Shard
	cursor cursor
	purged int // index of the shard whose old records were deleted last
}

func (p *part) run(ctx context.Context) {
	tick := time.NewTicker(heartbeatEvery)
	defer tick.Stop()
	for {
		if err := p.sweep(ctx); err != nil && ctx.Err() == nil {
			p.metrics.failures.Inc()
			p.Log.Error("cannot sweep shards", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// view is what one pass knows about the workers of a shard.
type view struct {
	message.LiveWorkers
	own ShardView
}

// views reads the heartbeats in the shards of the part. Shards that cannot be read are left out.
func (p *part) views(ctx context.Context) (map[message.Shard]view, error) {
	var errs []error
	seen := map[message.Shard]view{}
	for i, l := range p.Workers.Alive(ctx, p.shards, message.DeadAfter) {
		if l.Err != nil {
			errs = append(errs, l.Err)
			continue
		}
		seen[p.shards[i]] = view{l, p.View(p.shards[i])}
	}
	return seen, errors.Join(errs...)
}

// sweep continues with the next shard, and with the next message, after an error.
func (p *part) sweep(ctx context.Context) error {
	// Fetched tasks first: a worker with tasks has sent a heartbeat before.
	fetched, fetchErr := p.Fetched(ctx, p.shards)
	seen, err := p.views(ctx)
	errs := []error{fetchErr, err, p.abandoned(ctx, fetched, seen), p.suspects(ctx, seen), p.lostTasks(ctx, seen), p.purge(ctx, seen)}
	now := map[message.Shard]time.Time{}
	for shard, v := range seen {
		now[shard] = v.Now
	}
	unsettled, err := p.Open.Unsettled(ctx, now)
	errs = append(errs, err)
	for _, u := range unsettled {
		if u.InDoubt {
			errs = append(errs, p.windowsEnded(ctx, u.Shard, now[u.Shard]))
		}
		if u.Overdue {
			errs = append(errs, p.overdue(ctx, u.Shard, now[u.Shard]))
		}
		if u.ParkedTooLong {
			errs = append(errs, p.parked(ctx, u.Shard, now[u.Shard]))
		}
	}
	return errors.Join(errs...)
}

// abandoned reclaims the tasks of dead workers: their attempts are in doubt, and the tasks go back to their queues.
func (p *part) abandoned(ctx context.Context, fetched []FetchedTasks, seen map[message.Shard]view) error {
	var errs []error
	for _, f := range fetched {
		v, ok := seen[f.Shard]
		if !ok || !v.dead(f.Worker) {
			continue
		}
		err := p.reclaimAll(ctx, f.Shard, f.IDs, v)
		if err == nil {
			err = f.Return(ctx)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

// suspects handles attempts whose task was fetched again: if no worker works on them, they are in doubt.
func (p *part) suspects(ctx context.Context, seen map[message.Shard]view) error {
	by := map[message.Shard][]string{}
	for _, id := range p.Suspects(p.shards) {
		number, _ := message.Number(id)
		shard := p.Shards.Of(number)
		by[shard] = append(by[shard], id)
	}
	var errs []error
	for shard, ids := range by {
		if v, ok := seen[shard]; ok {
			errs = append(errs, p.reclaimAll(ctx, shard, ids, v))
		}
	}
	return errors.Join(errs...)
}

func (p *part) reclaimAll(ctx context.Context, shard message.Shard, ids []string, v view) error {
	var errs []error
	for some := range slices.Chunk(ids, sweepMost) {
		opens, err := p.Open.ReadOpenAll(ctx, shard, some)
		errs = append(errs, err)
		for _, o := range opens {
			errs = append(errs, p.reclaim(ctx, o, v))
		}
	}
	return errors.Join(errs...)
}

// dead reports whether a worker is dead.
func (v view) dead(worker string) bool {
	return !v.Workers[worker] && !v.own.Unbroken.IsZero() && time.Since(v.own.Unbroken) > message.DeadAfter
}

// reclaim marks an attempt as in doubt if its owner is dead, or if it has run too long.
func (p *part) reclaim(ctx context.Context, o message.Open, v view) error {
	if o.State != message.Attempting {
		return nil
	}
	m := message.Move{To: message.InDoubt, In: p.Policy(o.Message.From, o.Message.Class).InDoubtWindow}
	const old = attemptMax + heartbeatEvery
	switch {
	case v.dead(o.Worker) && v.Now.Sub(o.Since) > message.DeadAfter:
		// A younger attempt proves that its owner was alive: it began after the heartbeats were read.
		m.Reason = message.ReasonWorkerDied
	case v.Now.Sub(o.Since) > old && !v.own.Steady.IsZero() && time.Since(v.own.Steady) > old:
		// If the clock was set forward since the attempt began, only the time since then is certain.
		m.Reason = message.ReasonNoAnswer
	default:
		return nil
	}
	return p.move(ctx, o, m)
}

// purge deletes the old records of one shard, in each pass of another shard. One live worker does this for all: the
// first by name.
func (p *part) purge(ctx context.Context, seen map[message.Shard]view) error {
	p.purged = (p.purged + 1) % len(p.shards)
	shard := p.shards[p.purged]
	if v, ok := seen[shard]; !ok || !p.firstByName(v) {
		return nil
	}
	_, err := p.Changes.Purge(ctx, shard)
	return err
}

func (s *Sweeper) firstByName(v view) bool {
	for worker, alive := range v.Workers {
		if alive && worker < s.Worker {
			return false
		}
	}
	return true
}

// overdue ends messages whose deadline passed while they waited.
func (s *Sweeper) overdue(ctx context.Context, shard message.Shard, now time.Time) error {
	late, err := s.Open.Overdue(ctx, shard, now, sweepMost)
	errs := []error{err}
	if len(late) == 0 {
		return err
	}
	holds, err := s.Holds(ctx) // without the holds the reason is less exact
	errs = append(errs, err)
	for _, o := range late {
		m := message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true}
		switch {
		case o.After.ID != "" && !o.After.Not:
			m.Reason = message.ReasonLateAfter
		case slices.ContainsFunc(holds, func(h message.Hold) bool { return h.Concerns(o.Message) }):
			m.Reason = message.ReasonLateHeld
		case o.N > 0:
			m.Reason = message.ReasonLateRetry
		}
		errs = append(errs, s.move(ctx, o, m))
	}
	return errors.Join(errs...)
}

// parked ends messages that have been parked for too long.
func (s *Sweeper) parked(ctx context.Context, shard message.Shard, now time.Time) error {
	old, err := s.Open.Parked(ctx, shard, now.Add(-message.ParkedFor), sweepMost)
	errs := []error{err}
	for _, o := range old {
		errs = append(errs, s.move(ctx, o, message.Move{To: message.Failed, Reason: message.ReasonUndetermined}))
	}
	return errors.Join(errs...)
}

func (s *Sweeper) move(ctx context.Context, o message.Open, m message.Move) error {
	moved, err := s.Changes.Sweep(ctx, o, m)
	if moved {
		s.note(o, m)
	}
	return err
}

func (s *Sweeper) note(o message.Open, m message.Move) {
	if m.To == message.Expired {
		s.metrics.expired.WithLabelValues(stages[m.Reason], string(o.Message.Class)).Inc()
	}
	s.metrics.moves.WithLabelValues(string(o.State), string(m.To)).Inc()
	s.Log.Info("sweeper changed state", "message_id", o.ID, "phone_number_id", o.Message.From, tracing.ID(o.Message.Trace), "class", o.Message.Class,
		"attempt", o.N, "from", o.State, "state", m.To, "reason", m.Reason)
}
