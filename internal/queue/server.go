package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/hibiken/asynq"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/store"
)

// ShutdownTimeout is how long running handlers may go on at a stop: longer than the longest
// attempt, shorter than a pod's grace period.
const ShutdownTimeout = 25 * time.Second

// Number is a phone number whose queues are drained.
type Number struct {
	ID   string // Meta's phone number id
	Rate int    // messages a second
}

// Handler handles one task: an attempt to send message id, for its k-th task. It waits for
// its slot by calling slot.Wait. It returns nil when the task is done with, or Later.
type Handler func(ctx context.Context, id string, k int, slot Slots) error

// Later is a Handler's word that the same task is to come again.
type Later struct{ In time.Duration }

func (l Later) Error() string { return fmt.Sprintf("again in %s", l.In) }

// Slots gives a handler the send slots of its task's number and class.
type Slots struct {
	line  *pacing.Line
	order int
}

// Wait blocks until a slot has come. Its error means that the worker stops.
func (s Slots) Wait(ctx context.Context) (pacing.Slot, error) { return s.line.Wait(ctx, s.order) }

// Server drains queues.
type Server struct {
	gate  *gate
	asynq *asynq.Server
	stop  context.CancelFunc
	h     Handler
}

// NewServer returns a server that drains the queues of numbers with h. Worker names this
// process among all others.
func NewServer(db *store.DB, shards message.Shards, worker string, numbers []Number, h Handler, log *slog.Logger) *Server {
	stopped, stop := context.WithCancel(context.Background())
	g := newGate(stopped, db, shards, worker, numbers, log)
	concurrency := 1
	for _, n := range g.numbers {
		concurrency += n.most
	}
	srv := asynq.NewServerFromRedisClient(g, asynq.Config{
		Concurrency:       concurrency, // never the limit: each number's tasks in hand are
		Queues:            map[string]int{virtual: 1},
		TaskCheckInterval: time.Millisecond, // the gate waits, not asynq
		ShutdownTimeout:   ShutdownTimeout,
		IsFailure:         func(error) bool { return false }, // attempts are counted in the record
		RetryDelayFunc: func(_ int, err error, _ *asynq.Task) time.Duration {
			later, ok := errors.AsType[Later](err)
			if !ok {
				return 5 * time.Second
			}
			if later.In == 0 {
				return 0
			}
			return later.In + time.Second // asynq counts in whole seconds, down
		},
		Logger:   logger{log},
		LogLevel: asynq.WarnLevel,
	})
	return &Server{gate: g, asynq: srv, stop: stop, h: h}
}

// Run drains until ctx ends, then takes nothing more, lets running handlers finish, hands
// back what was fetched and not begun, and returns.
func (s *Server) Run(ctx context.Context) error {
	defer s.stop()
	if err := s.asynq.Start(asynq.HandlerFunc(s.handle)); err != nil {
		return fmt.Errorf("start queue server: %w", err)
	}
	// Handlers that still run keep their tasks, or another worker would run them too.
	working, done := context.WithCancel(context.WithoutCancel(ctx))
	var renewals sync.WaitGroup
	renewals.Go(func() { s.gate.renewLeases(working) })
	context.AfterFunc(ctx, s.stop)
	s.gate.run()
	s.asynq.Shutdown()
	done()
	renewals.Wait()
	return nil
}

func (s *Server) handle(ctx context.Context, t *asynq.Task) error {
	queue, _ := asynq.GetQueueName(ctx)
	task, _ := asynq.GetTaskID(ctx)
	n := s.gate.queues[queue]
	if n == nil {
		return Later{In: time.Minute} // not ours: cannot come from the gate
	}
	defer n.release(task)
	id, k, ok := splitTaskID(task)
	if !ok {
		return nil // no task of ours: there is nothing to do for it
	}
	return s.h(ctx, id, k, Slots{n.line, slices.Index(n.names, queue)})
}

// logger takes asynq's log lines into ours.
type logger struct{ log *slog.Logger }

func (l logger) Debug(a ...any) { l.log.Debug("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Info(a ...any)  { l.log.Info("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Warn(a ...any)  { l.log.Warn("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Error(a ...any) { l.log.Error("asynq", "text", fmt.Sprint(a...)) }

// Fatal is what asynq calls before it would end the process; it never does so here.
func (l logger) Fatal(a ...any) { l.log.Error("asynq", "text", fmt.Sprint(a...)) }
