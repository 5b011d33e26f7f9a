package ops

import (
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// outputMost is how many bytes of log lines wait at most.
const outputMost = 1 << 20

// Output writes log lines to a stream from its own goroutine, so that the program goes on if the reader of the stream
// stops. It drops and counts lines for which there is no space. It is safe for concurrent use.
type Output struct {
	w       io.Writer
	dropped atomic.Int64

	mu      sync.Mutex
	waiting []byte
	missing int64         // lines dropped since the last write
	written chan struct{} // closed when all lines are written; nil: none wait
}

// NewOutput returns an Output to w.
func NewOutput(w io.Writer) *Output { return &Output{w: w} }

// Write adds one line and never blocks. Its error is always nil.
func (o *Output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.waiting)+len(line) > outputMost {
		o.missing++
		o.dropped.Add(1)
	} else {
		o.waiting = append(o.waiting, line...)
	}
	if o.written == nil {
		o.written = make(chan struct{})
		go o.write()
	}
	return len(line), nil
}

// Dropped returns how many lines were dropped.
func (o *Output) Dropped() int64 { return o.dropped.Load() }

// Flush waits until all lines are written, a second at most.
func (o *Output) Flush() {
	o.mu.Lock()
	written := o.written
	o.mu.Unlock()
	if written == nil {
		return
	}
	select {
	case <-written:
	case <-time.After(time.Second):
	}
}

// write writes until no lines wait.
func (o *Output) write() {
	var lines []byte
	for {
		o.mu.Lock()
		if len(o.waiting) == 0 && o.missing == 0 {
			close(o.written)
			o.written = nil
			o.mu.Unlock()
			return
		}
		lines, o.waiting = o.waiting, lines[:0]
		missing := o.missing
		o.missing = 0
		o.mu.Unlock()
		if missing > 0 {
			lines = fmt.Appendf(lines, `{"time":%q,"level":"WARN","msg":"log lines were dropped because the log was not read","lines":%d}`+"\n",
				time.Now().Format(time.RFC3339Nano), missing)
		}
		o.w.Write(lines) // an error cannot be logged
	}
}
