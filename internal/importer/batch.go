package importer

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"

	"sluice/client"
	"sluice/internal/importfile"
)

// batch is one call of the API: it is the request's body, and handles the results of its lines.
type batch struct {
	im      *Import
	reading sync.Mutex    // held while Read runs
	stop    chan struct{} // closed: Read ends
	mayRead *sync.Cond    // of the import's mu: the next row may be sent, or Read ends

	// These are guarded by the import's mu.
	rest        []byte           // of the line that is being read
	sent        []importfile.Row // without a result, in their order
	unanswered  int              // their bytes
	results     int
	later       []importfile.Row // to be sent again
	unavailable error            // the first result that says so
	broken      error            // the answer is not one of Sluice's API, or the results cannot be stored
	closed      bool
}

// Read implements io.Reader. It returns the rows that are ready, and waits for one if none is. It ends when the API is unavailable.
func (b *batch) Read(p []byte) (n int, err error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	for n < len(p) {
		if len(b.rest) == 0 {
			row, ok := b.next(n == 0)
			switch {
			case !ok && n == 0:
				return 0, io.EOF
			case !ok:
				return n, nil
			}
			b.rest = append(row.Body[:len(row.Body):len(row.Body)], '\n')
		}
		sent := copy(p[n:], b.rest)
		n, b.rest = n+sent, b.rest[sent:]
	}
	return n, nil
}

// next returns the row that is sent next, and false when there is none for this batch, or none yet if it should not wait.
func (b *batch) next(wait bool) (row importfile.Row, ok bool) {
	im := b.im
	im.mu.Lock()
	defer im.mu.Unlock()
	for wait && !b.closed && b.unanswered >= maxUnanswered {
		results := b.results
		silent := time.AfterFunc(answerWithin, func() {
			im.mu.Lock()
			defer im.mu.Unlock()
			if b.results == results {
				b.end()
			}
		})
		b.mayRead.Wait()
		silent.Stop()
	}
	if b.closed || b.unanswered >= maxUnanswered {
		return row, false
	}
	if len(im.again) > 0 {
		row, im.again = im.again[0], im.again[1:]
		b.send(row)
		return row, true
	}
	stop := b.stop
	if !wait {
		stop = closed
	}
	im.mu.Unlock() // the file may be a pipe that is slow
	received := true
	select {
	case row, ok = <-im.rows:
	default:
		select {
		case row, ok = <-im.rows:
		case <-stop:
			received = false
		}
	}
	im.mu.Lock()
	if received {
		im.ended, im.last = !ok, max(im.last, row.Line)
	}
	if ok {
		b.send(row)
	}
	return row, ok
}

// closed is a closed channel.
var closed = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// send adds a row to those without a result. The caller holds the import's mu.
func (b *batch) send(row importfile.Row) {
	b.sent = append(b.sent, row)
	b.unanswered += len(row.Body)
}

// answered returns the first row without a result, which has one now. The caller holds the import's mu.
func (b *batch) answered() importfile.Row {
	row := b.sent[0]
	b.sent[0] = importfile.Row{} // its body is not needed any more
	b.sent = b.sent[1:]
	b.unanswered -= len(row.Body)
	b.mayRead.Signal()
	return row
}

// end makes Read return. The caller holds the import's mu.
func (b *batch) end() {
	if !b.closed {
		b.closed = true
		close(b.stop)
		b.mayRead.Broadcast()
	}
}

// result handles what the API answers to a line.
func (b *batch) result(v client.LineResult) error {
	im := b.im
	im.mu.Lock()
	defer im.mu.Unlock()
	unread := v.Problem != nil && (v.Problem.Code == "timeout" || v.Problem.Code == "stopping")
	if unread && v.Problem.Code == "stopping" {
		b.unavailable = v.Problem
	}
	if unread { // it is the last result, and perhaps its line was not sent
		b.end()
		return nil
	}
	if len(b.sent) == 0 || v.Line != b.results+1 {
		b.broken = fmt.Errorf("the API answered line %d after %d of %d lines; is it Sluice's API?", v.Line, b.results, b.results+len(b.sent))
		return b.broken
	}
	row := b.answered()
	im.answered, b.results = true, v.Line
	switch {
	case v.Status == http.StatusServiceUnavailable:
		if b.unavailable == nil {
			b.unavailable = v.Problem
		}
		b.end()
		b.later = append(b.later, row)
		return nil
	case v.Problem != nil:
		b.broken = im.refuse(row, v.Problem.Code, v.Problem)
		return b.broken
	}
	if !im.waiting.IsZero() {
		fmt.Fprintf(im.notes, "line %d: accepted after %s, the import goes on\n", row.Line, time.Since(im.waiting).Round(time.Second))
		im.waiting = time.Time{}
	}
	if im.o.IDs != nil {
		fmt.Fprintf(im.o.IDs, "%d %s\n", row.Line, v.ID)
	}
	r := importfile.Result{ID: v.ID, Result: importfile.Accepted}
	if v.Duplicate {
		r.Result = importfile.Duplicate
	}
	b.broken = im.done(row, r)
	return b.broken
}

// close ends the batch. What has no result is sent again. Close returns the line of the row that is sent next, 0 when all rows of
// the file have their results.
func (b *batch) close() int {
	im := b.im
	im.mu.Lock()
	b.end()
	im.mu.Unlock()
	b.reading.Lock()
	defer b.reading.Unlock()
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.again = slices.Concat(b.later, b.sent, im.again); len(im.again) > 0 {
		return im.again[0].Line
	}
	if im.ended {
		return 0
	}
	return im.last + 1
}
