package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"sluice/client"
	"sluice/internal/importfile"
)

const (
	// maxShown is how many refused rows are printed if a file has their results.
	maxShown = 20
	// maxUnanswered is how many bytes of rows are sent before their results. More only wait in buffers of the connection, and in our memory.
	maxUnanswered = 1 << 20
	// answerWithin is how long a request waits for a result when it may send no more. Then it ends: a proxy may pass on only whole requests.
	answerWithin = 10 * time.Second
	// flushEvery is how long results wait in memory at most.
	flushEvery = time.Second
)

// importer sends the rows of a file. When the API is unavailable, it waits and sends again what has no result: each row has a
// key, so the API accepts it once.
type importer struct {
	call     func(ctx context.Context, lines io.Reader, f func(client.LineResult) error) error // sends lines
	rows     chan importfile.Row                                                               // of the file
	ids      io.Writer                                                                         // for the ids; nil: they are not printed
	results  *importfile.Results                                                               // nil: they are not stored
	progress *progress                                                                         // and the messages to the user
	pause    func(context.Context) error                                                       // waits before the next try

	answered bool // the API has answered a row

	mu sync.Mutex // guards what follows, the results, the progress, and the batch

	counts  map[string]int // of rows by importfile.Result.Result, in this run
	skipped int            // rows that had a result before
	codes   map[string]*refusals

	failed  error // of reading the file
	ended   bool  // the file has no more rows
	last    int   // the line of the row that was sent last
	again   []importfile.Row
	waiting time.Time // since when the API accepts no messages; zero: it does
}

// refusals are the rows that were refused with the same code.
type refusals struct {
	count int
	first []int // lines
}

func newImporter(call func(context.Context, io.Reader, func(client.LineResult) error) error, p *progress) *importer {
	return &importer{call: call, progress: p, rows: make(chan importfile.Row, 64), pause: pause, counts: map[string]int{}, codes: map[string]*refusals{}}
}

// said says what became of the rows. The caller holds mu.
func (im *importer) said() string {
	return fmt.Sprintf("%d accepted, %d accepted before, %d refused", im.counts[importfile.Accepted], im.counts[importfile.Duplicate], im.counts[importfile.Refused])
}

// reportCodes prints how many rows were refused with each code. The caller holds mu.
func (im *importer) reportCodes(out io.Writer) {
	codes := slices.SortedFunc(maps.Keys(im.codes), func(a, b string) int {
		if n := im.codes[b].count - im.codes[a].count; n != 0 {
			return n
		}
		return strings.Compare(a, b)
	})
	for _, code := range codes {
		r := im.codes[code]
		fmt.Fprintf(out, "refused with %s: %d, first lines %s\n", code, r.count, strings.Trim(fmt.Sprint(r.first), "[]"))
	}
}

// read sends the rows of the file into the channel.
func (im *importer) read(ctx context.Context, file *importfile.File) {
	defer close(im.rows)
	for {
		row, err := file.Next()
		mistake, wrong := errors.AsType[importfile.RowError](err)
		switch {
		case err != nil && !wrong:
			im.fail(err)
			return
		case im.results != nil && im.results.Has(row):
			im.mu.Lock()
			im.skipped++
			im.mu.Unlock()
		case wrong:
			im.mu.Lock()
			err = im.refuse(row, "row_invalid", mistake)
			im.mu.Unlock()
			if err != nil {
				im.fail(err)
				return
			}
		default:
			select {
			case <-ctx.Done():
				return
			case im.rows <- row:
			}
		}
	}
}

// fail records why the file cannot be read further; io.EOF is its normal end.
func (im *importer) fail(err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	im.failed = err
}

// run calls the API until each row is accepted or refused.
func (im *importer) run(ctx context.Context) error {
	defer im.keepFlushing(ctx)()
	for {
		b := &batch{im: im, stop: make(chan struct{}), mayRead: sync.NewCond(&im.mu)}
		err := im.call(ctx, b, b.result)
		refusal, answered := errors.AsType[*client.Problem](err)
		first := b.close()
		switch {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case b.broken != nil:
			return b.broken
		case answered && refusal.Status < http.StatusInternalServerError, err != nil && !answered && !im.answered && im.waiting.IsZero():
			return err
		case b.unavailable != nil:
			err = b.unavailable
		case err == nil && first == 0:
			im.mu.Lock()
			defer im.mu.Unlock()
			return im.failed
		case err == nil: // the API ends a batch after 10 minutes
			continue
		}
		im.wait(first, err)
		if err := im.pause(ctx); err != nil {
			return err
		}
	}
}

// keepFlushing writes the results to their file while the import runs, also while no others come. The function that it returns ends that.
func (im *importer) keepFlushing(ctx context.Context) (end func()) {
	if im.results == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var flushing sync.WaitGroup
	flushing.Go(func() {
		for every := time.NewTicker(flushEvery); ; {
			select {
			case <-ctx.Done():
				return
			case <-every.C:
				im.mu.Lock()
				im.results.Flush() // an error comes again with the next result
				im.mu.Unlock()
			}
		}
	})
	return func() { cancel(); flushing.Wait() }
}

// wait says once that the API accepts no messages.
func (im *importer) wait(first int, err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.waiting.IsZero() {
		im.waiting = time.Now()
		text, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(im.progress, "line %d: %s. The import waits and goes on when the API accepts messages again\n", first, strings.TrimRight(text, "."))
	}
}

// done counts and stores the result of a row. The caller holds mu.
func (im *importer) done(row importfile.Row, r importfile.Result) error {
	im.counts[r.Result]++
	if im.progress.report(time.Now(), row.Line, im.counts, im.said()); im.results == nil {
		return nil
	}
	r.Line, r.Key = row.Line, row.Key
	return im.results.Add(r)
}

// refuse counts a row as refused. The caller holds mu.
func (im *importer) refuse(row importfile.Row, code string, why error) error {
	r := im.codes[code]
	if r == nil {
		r = &refusals{}
		im.codes[code] = r
	}
	if r.count++; len(r.first) < 5 {
		r.first = append(r.first, row.Line)
	}
	switch n := im.counts[importfile.Refused]; {
	case im.results == nil || n < maxShown:
		fmt.Fprintf(im.progress, "line %d: %v\n", row.Line, why)
	case n == maxShown:
		fmt.Fprintln(im.progress, "More rows were refused. The file of results has all of them")
	}
	return im.done(row, importfile.Result{Result: importfile.Refused, Code: code, Text: why.Error()})
}

// batch is one call of the API: it is the request's body, and handles the results of its lines.
type batch struct {
	im      *importer
	reading sync.Mutex    // held while Read runs
	stop    chan struct{} // closed: Read ends
	mayRead *sync.Cond    // of the importer's mu: the next row may be sent, or Read ends

	// These are guarded by the importer's mu.
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

// send adds a row to those without a result. The caller holds the importer's mu.
func (b *batch) send(row importfile.Row) {
	b.sent = append(b.sent, row)
	b.unanswered += len(row.Body)
}

// answered returns the first row without a result, which has one now. The caller holds the importer's mu.
func (b *batch) answered() importfile.Row {
	row := b.sent[0]
	b.sent[0] = importfile.Row{} // its body is not needed any more
	b.sent = b.sent[1:]
	b.unanswered -= len(row.Body)
	b.mayRead.Signal()
	return row
}

// end makes Read return. The caller holds the importer's mu.
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
		fmt.Fprintf(im.progress, "line %d: accepted after %s, the import goes on\n", row.Line, time.Since(im.waiting).Round(time.Second))
		im.waiting = time.Time{}
	}
	if im.ids != nil {
		fmt.Fprintf(im.ids, "%d %s\n", row.Line, v.ID)
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
