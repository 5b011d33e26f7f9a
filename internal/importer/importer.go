// Package importer runs an import: it sends the rows of a file through the API of callers, or checks them there, and reports how far
// it is. sluice import and the console run the same imports.
package importer

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
	// maxShown is how many refused rows are noted if a file has their results.
	maxShown = 20
	// maxUnanswered is how many bytes of rows are sent before their results. More only wait in buffers of the connection, and in our memory.
	maxUnanswered = 1 << 20
	// answerWithin is how long a request waits for a result when it may send no more. Then it ends: a proxy may pass on only whole requests.
	answerWithin = 10 * time.Second
	// flushEvery is how long results wait in memory at most.
	flushEvery = time.Second
	// tryEvery is the time between two tries while the API accepts no messages.
	tryEvery = 2 * time.Second
)

// Options are what an Import works with. API and File are required.
type Options struct {
	API     *client.Client      // makes each call once: client.WithRetryFor(0)
	File    *importfile.File    // with the rows
	Size    int64               // of the file, in bytes; 0: it is not known
	MaxRows int                 // a file with more rows ends the import with an error; 0: no limit
	DryRun  bool                // the rows are checked, and nothing is sent
	Results *importfile.Results // gets the result of each row, of a dry run only the refused ones; nil: they are not stored. Run closes it
	IDs     io.Writer           // gets the line and the message id of each accepted row; nil: they are not written
	Notes   io.Writer           // gets messages to the user, each in whole lines; nil: they are lost
}

// Import is one import of a file. Create it with New, and call Run once. The other methods are safe for concurrent use. When the API is
// unavailable, an Import waits and sends again what has no result: each row has a key, so the API accepts it once.
type Import struct {
	o     Options
	notes io.Writer
	call  func(ctx context.Context, lines io.Reader, f func(client.LineResult) error) error // sends or checks lines
	rows  chan importfile.Row                                                               // of the file
	pause func(context.Context) error                                                       // waits before the next try

	answered bool // the API has answered a row

	mu sync.Mutex // guards what follows, the results, and the batch

	check    check
	progress Progress
	pace     pace
	codes    map[string]*refusals

	over    bool  // Run has ended
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

// New makes an import. It begins with Run.
func New(o Options) *Import {
	im := &Import{
		o: o, notes: o.Notes, rows: make(chan importfile.Row, 64), pause: pause,
		check: check{kinds: map[string]int{}, costs: map[string]*cost{}, waiting: map[string]*overBudget{}}, codes: map[string]*refusals{},
	}
	im.progress.Size = o.Size
	if im.notes == nil {
		im.notes = io.Discard
	}
	im.call = o.API.SendLines
	if o.DryRun {
		im.call = im.checkLines
	}
	return im
}

// Run reads and sends the rows until each is accepted or refused. It returns why it ended before: the cause of ctx, what is wrong with the
// file, or what the API refuses as a whole. Refused rows are no error. It does not wait for a read of the file that still blocks then.
func (im *Import) Run(ctx context.Context) error {
	go im.read(ctx)
	err := im.run(ctx)
	if im.o.DryRun && err == nil {
		err = im.check.media.run(ctx, im.o.API)
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	im.over, im.progress.Unusable = true, im.check.media.wrong
	if im.o.Results != nil {
		err = errors.Join(err, im.o.Results.Close())
	}
	return err
}

// errOver ends the reading of a file whose import has ended.
var errOver = errors.New("the import has ended")

// read sends the rows of the file into the channel.
func (im *Import) read(ctx context.Context) {
	defer close(im.rows)
	for n := 1; ; n++ {
		row, err := im.o.File.Next()
		mistake, wrong := errors.AsType[importfile.RowError](err)
		switch {
		case err != nil && !wrong:
			im.fail(err)
			return
		case im.o.MaxRows > 0 && n > im.o.MaxRows:
			im.fail(fmt.Errorf("line %d: the file has more than %d rows. The rows from this one on were not read. Divide the file, or use sluice import", row.Line, im.o.MaxRows))
			return
		case im.o.Results != nil && im.o.Results.Has(row):
			im.mu.Lock()
			im.progress.Skipped++
			im.mu.Unlock()
		case wrong:
			im.mu.Lock()
			err = errOver
			if !im.over {
				err = im.refuse(row, "row_invalid", mistake)
			}
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
func (im *Import) fail(err error) {
	if errors.Is(err, io.EOF) {
		return
	}
	im.mu.Lock()
	defer im.mu.Unlock()
	im.failed = err
}

// run calls the API until each row is accepted or refused.
func (im *Import) run(ctx context.Context) error {
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

// pause waits before the next try.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(tryEvery):
		return nil
	}
}

// keepFlushing writes the results to their file while the import runs, also while no others come. The function that it returns ends that.
func (im *Import) keepFlushing(ctx context.Context) (end func()) {
	if im.o.Results == nil {
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
				im.o.Results.Flush() // an error comes again with the next result
				im.mu.Unlock()
			}
		}
	})
	return func() { cancel(); flushing.Wait() }
}

// wait says once that the API accepts no messages.
func (im *Import) wait(first int, err error) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.waiting.IsZero() {
		im.waiting = time.Now()
		text, _, _ := strings.Cut(err.Error(), "\n")
		fmt.Fprintf(im.notes, "line %d: %s. The import waits and goes on when the API accepts messages again\n", first, strings.TrimRight(text, "."))
	}
}

// done counts and stores the result of a row. The caller holds mu.
func (im *Import) done(row importfile.Row, r importfile.Result) error {
	im.count(row.Line, r.Result)
	if im.o.Results == nil || im.o.DryRun && r.Result != importfile.Refused {
		return nil
	}
	r.Line, r.Key = row.Line, row.Key
	return im.o.Results.Add(r)
}

// refuse counts a row as refused. The caller holds mu.
func (im *Import) refuse(row importfile.Row, code string, why error) error {
	r := im.codes[code]
	if r == nil {
		r = &refusals{}
		im.codes[code] = r
	}
	if r.count++; len(r.first) < 5 {
		r.first = append(r.first, row.Line)
	}
	switch n := im.progress.Refused; {
	case im.o.Results == nil || n < maxShown:
		fmt.Fprintf(im.notes, "line %d: %v\n", row.Line, why)
	case n == maxShown:
		fmt.Fprintln(im.notes, "More rows were refused. The file of results has all of them")
	}
	return im.done(row, importfile.Result{Result: importfile.Refused, Code: code, Text: why.Error()})
}

// Report writes what became of the rows, in lines for people.
func (im *Import) Report(out io.Writer, now time.Time) {
	im.mu.Lock()
	defer im.mu.Unlock()
	if im.o.DryRun {
		im.check.report(out, im.progress, now)
	} else {
		fmt.Fprintln(out, im.progress)
	}
	if n := im.progress.Skipped; n > 0 {
		fmt.Fprintf(out, "%d rows had a result in %s before, and were skipped\n", n, im.o.Results.Name())
	}
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
