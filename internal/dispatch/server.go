// Package dispatch decides which tasks leave, and when: it assigns numbers to workers, fetches tasks of a
// number together with the send slots that they leave on, the most urgent class first, and passes them to
// asynq's server. What a hold, the pair limit or the record of its message keeps back is set aside.
package dispatch

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

// Handler handles one task: an attempt to send message id, for its k-th task. known is what
// Options.Candidates said that is known of the message when the task was fetched. It waits for
// its slot by calling slots.Wait. It returns nil when the task is finished, or Later.
type Handler func(ctx context.Context, id string, k int, known any, slots *Slots) error

// Later is the error of a Handler whose task is to come again.
type Later struct {
	In        time.Duration
	Hold      string // of holds.Name: it comes when that hold has ended, before all others that it keeps; empty: after In
	Recipient bool   // because of the pair limit: nothing else is sent to its recipient before
}

func (l Later) Error() string { return fmt.Sprintf("again in %s %s", l.In, l.Hold) }

// Slots gives a handler the send slots of its task's number and class. It belongs to that
// handler alone.
type Slots struct {
	n     *number
	class int
	came  time.Time // when the task was fetched
	since time.Time // when the last slot came; zero: none did

	current func() bool // the task was fetched in this era of its shard
}

// errEra means that a task returns to its queue.
var errEra = errors.New("task fetched before Redis lost writes")

// Wait blocks until a slot is about to come. Its error means that the worker stops, or that the task returns
// to its queue. connecting says that the last slot passed while there was no connection, which
// says nothing about this worker.
func (s *Slots) Wait(ctx context.Context, connecting bool) (ratelimit.Slot, error) {
	if !s.since.IsZero() {
		if !connecting {
			s.n.missed() // the last one
		}
		s.came = time.Now()
	}
	slot, err := s.n.schedule.WaitSince(ctx, s.class, s.came)
	s.since = time.Now()
	if err == nil && !s.current() {
		err = errEra
	}
	return slot, err
}

// Options say what a server sends. All fields but Era, Candidates, Fallbacks and Transactions are required.
type Options struct {
	Shards message.Shards
	Worker string                                       // names this process among all others
	Rate   func(number string) (perSecond int, ok bool) // a number's configured rate; false: it is not configured, and waits. May change
	// Alive returns the workers that have a heartbeat, by shard; a shard is absent that cannot be read, and
	// the error says why. Nothing of a shard is fetched before this worker has a heartbeat there.
	Alive func(ctx context.Context) (map[message.Shard][]string, error)
	// Era changes when Redis was found to have lost writes, and what that asked for is done: what was fetched before
	// gets no slot, and returns to its queue; a hold may keep it there. Nil: it never changes.
	Era     func(message.Shard) int64
	Handler Handler
	Log     *slog.Logger

	Candidates Candidates    // what may be sent; nil: every task
	Weigh      message.Weigh // nil: all weights are 1
	Limit      Limit         // the messaging limits of portfolios; nil: there are none
	Campaigns  Campaigns     // the settings of campaigns; nil: there are none
	Budgets    Budgets       // the budgets of clients and campaigns; nil: there are none

	// Fallbacks lets messages of a number whose template is held be sent with their fallback template, each by another task. It
	// returns for each message whether it did. Nil: it never does.
	Fallbacks func(ctx context.Context, number string, some []Candidate) []bool

	// Cancel cancels messages to recipients who opted out. It returns for each whether the message needs no task any more. Nil: no
	// candidate is Suppressed.
	Cancel func(ctx context.Context, some []Candidate) []bool

	Transactions *store.Transactions // that run on a full Redis too; nil: the server's own
}

// Server sends what is in the queues.
type Server struct {
	dispatcher *dispatcher
	queue      *queue.Server
	stop       context.CancelFunc
}

// NewServer returns a server. It sends nothing until Run.
func NewServer(db *store.DB, o Options) *Server {
	stopped, stop := context.WithCancel(context.Background())
	d := newDispatcher(stopped, db, o)
	return &Server{dispatcher: d, queue: queue.NewServer(queue.NewGate(db, d), retryDelay, o.Log), stop: stop}
}

// retryDelay is when a task comes again whose handler returned an error.
func retryDelay(err error) time.Duration {
	later, ok := errors.AsType[Later](err)
	switch {
	case !ok:
		return 5 * time.Second
	case later.In == 0 || later.Hold != "":
		return 0
	}
	return min(later.In, longest) + time.Second // asynq counts in whole seconds, down
}

// longest is by how much a task may be put off: a time far away must not become one in the past.
const longest = 10 * 365 * 24 * time.Hour

// Run checks asynq, see Check, and sends until ctx ends. Then it fetches nothing more, lets
// running handlers finish, returns what was fetched and not begun to the queues, and returns.
func (s *Server) Run(ctx context.Context) error {
	defer s.stop()
	if err := s.checked(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := s.queue.Start(s.dispatcher.handle); err != nil {
		return err
	}
	context.AfterFunc(ctx, s.stop)
	s.dispatcher.run()
	s.queue.Shutdown() // handlers that still run keep their tasks, or another worker would run them too
	s.dispatcher.finish()
	return nil
}

// checked checks asynq until there is a result: Redis may be away at first.
func (s *Server) checked(ctx context.Context) error {
	for {
		err := s.Check(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil || errors.Is(err, queue.ErrAsynq) {
			return err
		}
		s.dispatcher.o.Log.Warn("cannot check asynq, will retry", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

// Strays returns those of some fetches that have this worker's name and that it does not know: Redis
// lost that it had finished their tasks. Return them like those of a dead worker.
func (s *Server) Strays(fetches []queue.Fetch) []queue.Fetch { return s.dispatcher.strays(fetches) }
