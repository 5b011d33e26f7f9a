// Package outbox accepts messages that callers wrote to a table of their own PostgreSQL, in one transaction with what
// the message is about. So a message is sent if that transaction was committed, and only then.
package outbox

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/postgres"
	"sluice/internal/retry"
)

// Options configure a Reader.
type Options struct {
	URL   string        // of the database
	Table string        // its name, or schema.name
	Poll  time.Duration // between two queries when no row is pending
	// Accept accepts the orders of rows, in their order, and returns a result for each. With an error it accepted none.
	Accept     func(ctx context.Context, orders []message.Order) ([]message.OrderResult, error)
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

const (
	// MaxText is the maximum number of characters that are read of a message: more than the bytes that a request may have,
	// so that a longer one is refused.
	MaxText = 256<<10 + 1
	// batch is the maximum number of rows that are accepted together.
	batch = 256
	// callTimeout is the time limit of a step. It leaves Accept more than its 5 s.
	callTimeout = 10 * time.Second
)

// pauses are the pauses after failures in a row.
var pauses = retry.Pauses{First: 200 * time.Millisecond, Max: 15 * time.Second, Jitter: 0.2}

// Reader accepts the rows of a table. Of all readers of a table one works at a time, and the others are ready to
// replace it. So rows are accepted in the order of their ids, and a message can wait for one of an earlier row.
type Reader struct {
	o       Options
	config  *pgx.ConnConfig
	sql     statements
	conn    *pgx.Conn // nil: not connected
	metrics *metrics
}

// New returns a Reader. It does not connect. Its error does not quote the URL, which can have a password.
func New(o Options) (*Reader, error) {
	config, err := postgres.Parse("outbox", o.URL)
	if err != nil {
		return nil, err
	}
	return &Reader{o: o, config: config, sql: newStatements(o.Table), metrics: newMetrics(o.Registerer)}, nil
}

// Run accepts rows until ctx ends. It blocks, logs and repeats what fails, and returns nil.
func (r *Reader) Run(ctx context.Context) error {
	defer r.disconnect()
	failures := 0
	for {
		done, err := r.step(ctx)
		pause := r.o.Poll
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			if failures++; done > 0 {
				failures = 1
			}
			pause = pauses.After(failures)
			r.o.Log.Error("cannot accept outbox rows", "table", r.o.Table, "retry_seconds", pause.Seconds(), "err", err)
		case done == batch: // more rows may be pending
			pause = 0
			fallthrough
		default:
			if failures > 0 {
				r.o.Log.Info("outbox rows are accepted again", "table", r.o.Table)
			}
			failures = 0
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
	}
}

// step accepts the first pending rows, and returns how many rows are done.
func (r *Reader) step(ctx context.Context) (done int, err error) {
	pending, err := r.peek(ctx)
	if err != nil {
		return 0, r.databaseFailed(err)
	}
	if !pending {
		return 0, nil
	}
	// A stop does not interrupt a step: rows that were accepted and not marked would be accepted again.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), callTimeout)
	defer cancel()
	var marks marks
	var unavailable error
	err = pgx.BeginFunc(ctx, r.conn, func(tx pgx.Tx) error {
		ids, orders, err := r.read(ctx, tx)
		if err != nil || len(ids) == 0 {
			return err
		}
		var results []message.OrderResult
		if results, unavailable = r.o.Accept(ctx, orders); unavailable != nil {
			return nil
		}
		marks, unavailable = marksOf(ids, results)
		return r.mark(ctx, tx, marks)
	})
	if err != nil {
		return 0, r.databaseFailed(err)
	}
	r.metrics.done(marks)
	if unavailable != nil {
		r.metrics.failures[causeStorage].Inc()
	}
	return len(marks.ids), unavailable
}

// errUnavailable is the error of rows that stay pending.
var errUnavailable = errors.New("storage is unavailable or nearly full: rows stay pending")

// marksOf returns the marks of the rows that are done, and errUnavailable if some stay pending. A message that waits
// for another one stays pending too then: that one may be among them.
func marksOf(ids []int64, results []message.OrderResult) (marks, error) {
	var err error
	for _, v := range results {
		if v.Retry {
			err = errUnavailable
		}
	}
	var all marks
	for i, v := range results {
		if v.Retry || err != nil && v.Code == "after_not_found" {
			continue
		}
		all.add(ids[i], v)
	}
	return all, err
}

// databaseFailed counts a failure of the database, and ends the connection.
func (r *Reader) databaseFailed(err error) error {
	r.metrics.failures[causeDatabase].Inc()
	r.metrics.up.Set(0)
	r.disconnect()
	return explain(err)
}
