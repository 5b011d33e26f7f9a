package queue

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

// ShutdownTimeout is how long running handlers may go on at a stop: longer than the longest
// attempt, shorter than a pod's grace period.
const ShutdownTimeout = 25 * time.Second

// concurrency is never the limit: the leased tasks of each number are.
const concurrency = 1 << 16

// ErrAsynq means that asynq, or what it keeps in Redis, is not as this package knows it.
var ErrAsynq = errors.New("this build knows asynq v0.26.0 only, and found another")

// Handler handles one task of a queue, by its asynq id. Its error means that the task runs again.
type Handler func(ctx context.Context, queue, id string, payload []byte) error

// Server is asynq's server.
type Server struct{ asynq *asynq.Server }

// NewServer returns asynq's server. It is given the client of a Gate. delay returns after which time a task
// runs again whose handler returned an error.
func NewServer(c redis.UniversalClient, delay func(error) time.Duration, log *slog.Logger) *Server {
	return &Server{asynq.NewServerFromRedisClient(c, asynq.Config{
		Concurrency:       concurrency,
		Queues:            map[string]int{virtual: 1},
		TaskCheckInterval: time.Millisecond, // the gate waits, not asynq
		ShutdownTimeout:   ShutdownTimeout,
		IsFailure:         func(error) bool { return false }, // attempts are counted in the record
		RetryDelayFunc:    func(_ int, err error, _ *asynq.Task) time.Duration { return delay(err) },
		Logger:            logger{log},
		LogLevel:          asynq.WarnLevel,
	})}
}

// Start starts the server. It handles tasks until Shutdown.
func (s *Server) Start(handle Handler) error {
	err := s.asynq.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		queue, _ := asynq.GetQueueName(ctx)
		id, _ := asynq.GetTaskID(ctx)
		return handle(ctx, queue, id, t.Payload())
	}))
	if err != nil {
		return fmt.Errorf("start queue server: %w", err)
	}
	return nil
}

// Shutdown lets running handlers finish, for ShutdownTimeout at most.
func (s *Server) Shutdown() { s.asynq.Shutdown() }

// logger passes asynq's log lines on to ours.
type logger struct{ log *slog.Logger }

func (l logger) Debug(a ...any) { l.log.Debug("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Info(a ...any)  { l.log.Info("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Warn(a ...any)  { l.log.Warn("asynq", "text", fmt.Sprint(a...)) }
func (l logger) Error(a ...any) { l.log.Error("asynq", "text", fmt.Sprint(a...)) }

// Fatal is what asynq calls before it would end the process; it never does so here.
func (l logger) Fatal(a ...any) { l.log.Error("asynq", "text", fmt.Sprint(a...)) }

// Counts are how many tasks of a queue asynq counts, by state.
type Counts struct{ Pending, Active, Scheduled, Retry, Archived, Completed int }

// Inspect returns what asynq's inspector counts in a queue.
func Inspect(db *store.DB, queue string) (Counts, error) {
	i, err := asynq.NewInspectorFromRedisClient(db).GetQueueInfo(queue)
	if err != nil {
		return Counts{}, fmt.Errorf("inspect queue: %w", err)
	}
	return Counts{i.Pending, i.Active, i.Scheduled, i.Retry, i.Archived, i.Completed}, nil
}
