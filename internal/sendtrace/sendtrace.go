// Package sendtrace writes a file with the moments at which a worker sends, for load runs.
package sendtrace

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"sync"
	"time"
)

// Env is the environment variable that names the file, see docs/performance.md.
const Env = "SLUICE_TRACE_SENDS"

// Trace is that file. It has a line "<Unix nanoseconds> w <phone number id>" for a request that is
// about to be written, and "<Unix nanoseconds> t -" for a task that was fetched. A nil Trace writes
// nothing. It is safe for concurrent use.
type Trace struct {
	mu sync.Mutex
	f  *os.File
	w  *bufio.Writer
}

// Open creates the file. It returns nil for an empty name.
func Open(name string) (*Trace, error) {
	if name == "" {
		return nil, nil
	}
	f, err := os.Create(name)
	if err != nil {
		return nil, fmt.Errorf("trace of sends: %w", err)
	}
	return &Trace{f: f, w: bufio.NewWriterSize(f, 1<<20)}, nil
}

func (t *Trace) line(at time.Time, kind byte, number string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "%d %c %s\n", at.UnixNano(), kind, number)
}

// Wrote adds a line for a request of a number.
func (t *Trace) Wrote(number string, at time.Time) {
	if t != nil {
		t.line(at, 'w', number)
	}
}

// Fetched adds a line for a task that was fetched.
func (t *Trace) Fetched() {
	if t != nil {
		t.line(time.Now(), 't', "-")
	}
}

// Run waits until ctx ends, and closes the file.
func (t *Trace) Run(ctx context.Context) error {
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
