package app

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"time"

	"sluice/internal/queue"
)

// traceEnv names a file into which a worker writes when each request was written and when a
// task came out of the queue: for load runs, see docs/performance.md.
const traceEnv = "SLUICE_TRACE_SENDS"

// trace is that file: a line "<Unix nanoseconds> w <phone number id>" for a request that is
// about to be written, "<Unix nanoseconds> t -" for a task. A nil trace writes nothing.
type trace struct {
	mu sync.Mutex
	f  *os.File
	w  *bufio.Writer
}

func openTrace(name string) (*trace, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("trace of sends: %w", err)
	}
	return &trace{f: f, w: bufio.NewWriterSize(f, 1<<20)}, nil
}

func (t *trace) line(at time.Time, kind byte, number string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%d %c %s\n", at.UnixNano(), kind, number)
}

// wrote is told of each request.
func (t *trace) wrote(number string, at time.Time) {
	if t != nil {
		t.line(at, 'w', number)
	}
}

// handler is told of each task that h gets.
func (t *trace) handler(h queue.Handler) queue.Handler {
	if t == nil {
		return h
	}
	return func(ctx context.Context, id string, k int, known any, slots *queue.Slots) error {
		t.line(time.Now(), 't', "-")
		return h(ctx, id, k, known, slots)
	}
}

// run keeps the file until ctx ends.
func (t *trace) run(ctx context.Context) error {
	<-ctx.Done()
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if err := t.w.Flush(); err != nil {
		return fmt.Errorf("trace of sends: %w", err)
	}
	return t.f.Close()
}
