package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/store"
)

// ShutdownTimeout is how long running handlers may go on at a stop: longer than the longest
// attempt, shorter than a pod's grace period.
const ShutdownTimeout = 25 * time.Second

// Handler handles one task: an attempt to send message id, for its k-th task. Known is what
// Options.Candidates said that is known of the message when the task was fetched. It waits for
// its slot by calling slots.Wait. It returns nil when the task is done with, or Later.
type Handler func(ctx context.Context, id string, k int, known any, slots *Slots) error

// Later is a Handler's word that the same task is to come again.
type Later struct {
	In        time.Duration
	Hold      string // as Name says: it comes when that hold has ended, before all others that it keeps; empty: after In
	Recipient bool   // because its recipient has had enough for now: nothing else goes there either
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

// errEra means that a task goes back to its queue.
var errEra = errors.New("task fetched before Redis lost writes")

// Wait blocks until a slot is about to come. Its error means that the worker stops, or that the task goes
// back to its queue. Connecting says that the last slot passed while there was no connection, which
// tells nothing about this worker.
func (s *Slots) Wait(ctx context.Context, connecting bool) (pacing.Slot, error) {
	if !s.since.IsZero() {
		if !connecting {
			s.n.missed() // the last one
		}
		s.came = time.Now()
	}
	slot, err := s.n.line.WaitSince(ctx, s.class, s.came)
	s.since = time.Now()
	if err == nil && !s.current() {
		err = errEra
	}
	return slot, err
}

// Options say what a server drains. All fields but Candidates and Transactions are required.
type Options struct {
	Shards message.Shards
	Worker string                                       // names this process among all others
	Rate   func(number string) (perSecond int, ok bool) // a number's configured rate; false: it is not configured, and waits. May change
	// Alive returns the workers that have a heartbeat, by shard; a shard is absent that cannot be read, which
	// the error tells. Nothing of a shard is fetched before this worker has a heartbeat there.
	Alive func(ctx context.Context) (map[message.Shard][]string, error)
	// Era changes when Redis was found to have lost writes, and what that asked for is done: what was fetched before
	// gets no slot, and goes back to its queue; a hold may keep it there. Nil: it never changes.
	Era     func(message.Shard) int64
	Handler Handler
	Log     *slog.Logger

	Candidates   Candidates          // what may be sent; nil: every task
	Transactions *store.Transactions // that run on a full Redis too; nil: the server's own
}

// concurrency is never the limit: each number's tasks in hand are.
const concurrency = 1 << 16

// Server drains queues.
type Server struct {
	gate  *gate
	asynq *asynq.Server
	stop  context.CancelFunc
}

// NewServer returns a server. It drains nothing until Run.
func NewServer(db *store.DB, o Options) *Server {
	stopped, stop := context.WithCancel(context.Background())
	g := newGate(stopped, db, o)
	return &Server{gate: g, asynq: asynqServer(g, o.Log), stop: stop}
}

func asynqServer(c redis.UniversalClient, log *slog.Logger) *asynq.Server {
	return asynq.NewServerFromRedisClient(c, asynq.Config{
		Concurrency:       concurrency,
		Queues:            map[string]int{virtual: 1},
		TaskCheckInterval: time.Millisecond, // the gate waits, not asynq
		ShutdownTimeout:   ShutdownTimeout,
		IsFailure:         func(error) bool { return false }, // attempts are counted in the record
		RetryDelayFunc:    retryDelay,
		Logger:            logger{log},
		LogLevel:          asynq.WarnLevel,
	})
}

func retryDelay(_ int, err error, _ *asynq.Task) time.Duration {
	later, ok := errors.AsType[Later](err)
	switch {
	case !ok:
		return 5 * time.Second
	case later.In == 0 || later.Hold != "":
		return 0
	}
	return min(later.In, longest) + time.Second // asynq counts in whole seconds, down
}

// longest is what a task may be put off by: a time far away must not become one in the past.
const longest = 10 * 365 * 24 * time.Hour

// Run probes asynq, see Probe, and drains until ctx ends. Then it takes nothing more, lets
// running handlers finish, hands back what was fetched and not begun, and returns.
func (s *Server) Run(ctx context.Context) error {
	defer s.stop()
	if err := s.probed(ctx); err != nil || ctx.Err() != nil {
		return err
	}
	if err := s.asynq.Start(asynq.HandlerFunc(s.handle)); err != nil {
		return fmt.Errorf("start queue server: %w", err)
	}
	context.AfterFunc(ctx, s.stop)
	s.gate.run()
	s.asynq.Shutdown() // handlers that still run keep their tasks, or another worker would run them too
	s.gate.finish()
	return nil
}

// probed probes asynq until that says something: Redis may be away just then.
func (s *Server) probed(ctx context.Context) error {
	for {
		err := s.Probe(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil || errors.Is(err, ErrAsynq) {
			return err
		}
		s.gate.o.Log.Warn("cannot check asynq, will retry", "err", err)
		select {
		case <-ctx.Done():
		case <-time.After(500 * time.Millisecond):
		}
	}
}

func (s *Server) handle(ctx context.Context, at *asynq.Task) (err error) {
	queue, _ := asynq.GetQueueName(ctx)
	id, _ := asynq.GetTaskID(ctx)
	n := s.gate.number(numberOf(queue))
	if n == nil {
		return nil // it cannot be: a number with tasks in hand is not let go
	}
	t := n.task(id)
	if t == nil {
		return nil
	}
	panicked := true
	defer func() {
		if panicked {
			n.returned(t, errPanic)
		}
	}()
	if t.Message != "" { // else it is no task of ours: there is nothing to do for it
		slots := &Slots{n: n, class: t.class, came: t.came, current: func() bool { return s.gate.era(n.shard) == t.era }}
		err = s.gate.o.Handler(ctx, t.Message, t.K, t.known, slots)
		if !slots.since.IsZero() {
			n.answered(time.Since(slots.since))
		}
	}
	panicked = false
	n.returned(t, err)
	return err
}

// errPanic stands for the error of a handler that panicked.
var errPanic = errors.New("the handler panicked")

// logger takes asynq's log lines into ours.
type logger struct{ log *slog.Logger }

func (l logger) Debug(a ...any) { l.log.Debug("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Info(a ...any)  { l.log.Info("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Warn(a ...any)  { l.log.Warn("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Error(a ...any) { l.log.Error("asynq", "text", fmt.Sprint(a...)) }

// Fatal is what asynq calls before it would end the process; it never does so here.
func (l logger) Fatal(a ...any) { l.log.Error("asynq", "text", fmt.Sprint(a...)) }

// join makes one text of the parts of a script.
func join(parts []string) string { return strings.Join(parts, "") }
