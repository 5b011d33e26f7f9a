package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"sluice/client"
)

const (
	// importPause is the time between two tries while the API accepts no messages.
	importPause = 2 * time.Second
	// importProgress is the time between two lines about the progress of a long import.
	importProgress = 10 * time.Second
)

type importCmd struct {
	API    string `default:"http://127.0.0.1:8080" env:"SLUICE_API" help:"Base URL of the API."`
	APIKey string `env:"SLUICE_API_KEY" required:"" help:"API key; better in the environment than on the command line."`
	File   string `arg:"" help:"NDJSON: a body of POST /v1/messages on each line. CSV: a message in each row. - for standard input."`
	Format string `enum:"ndjson,csv," default:"" help:"ndjson or csv. Default: csv if the name of the file ends in .csv, else ndjson."`
	From   string `env:"PHONE_NUMBER_ID" help:"CSV: phone number id of the sender, for rows without from."`
	Name   string `help:"CSV: name of the import, a part of the keys of rows without key. Set a new name to send the same rows again."`
	IDs    bool   `name:"ids" help:"Print each line's number with the id of its message."`
}

// Help returns the text after the help of the command.
func (importCmd) Help() string {
	return "While the API accepts no messages, the import waits and then goes on. After a break, import the same file again: a message whose key was accepted before is not sent again.\n\n" + csvHelp
}

// Run sends the lines, reports on standard error which were refused and why, and prints how many
// were accepted. While the API is unavailable it waits.
func (c importCmd) Run(ctx context.Context) error {
	in := os.Stdin
	if c.File != "-" {
		f, err := os.Open(c.File)
		if err != nil {
			return err
		}
		defer f.Close()
		in = f
	}
	im := &importer{api: once(c.API, c.APIKey), lines: make(chan line), errors: os.Stderr, pause: pause, progress: importProgress, said: time.Now()}
	if c.Format == "csv" || c.Format == "" && strings.EqualFold(filepath.Ext(c.File), ".csv") {
		rows, err := newCSV(in, c.From, c.Name)
		if err != nil {
			return err
		}
		go im.readRows(ctx, rows)
	} else {
		go im.read(ctx, in)
	}
	if c.IDs {
		im.ids = os.Stdout
	}
	err := im.run(ctx)
	im.mu.Lock() // after an error rows may still be read
	defer im.mu.Unlock()
	fmt.Println(im.counts())
	if err == nil && im.refused > 0 {
		err = errors.New("not all lines were accepted")
	}
	return err
}

// pause waits before the next try.
func pause(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(importPause):
		return nil
	}
}

// importer sends the lines of a file by POST /v1/messages/batch. When the API is unavailable, it waits and sends again
// what was not accepted.
type importer struct {
	api    *client.Client
	lines  chan line                   // of the file
	ids    io.Writer                   // for the ids; nil: they are not printed
	errors io.Writer                   // for messages to the user
	pause  func(context.Context) error // waits before the next try

	progress time.Duration // between two lines about the progress; 0: there are none
	said     time.Time     // when the last of them was printed, or the import began

	answered bool // the API has answered a line

	mu sync.Mutex // guards what follows, and the batch

	accepted, duplicates, refused int

	failed  error     // of reading the file
	ended   bool      // the file has no more lines
	last    int       // the line of the file that was sent last
	again   []line    // to be sent before further lines of the file
	waiting time.Time // since when the API accepts no messages; zero: it does
}

// counts says what became of the lines. The caller holds mu.
func (im *importer) counts() string {
	return fmt.Sprintf("%d accepted, %d accepted before, %d refused", im.accepted, im.duplicates, im.refused)
}

// report prints the progress when it is due. The caller holds mu.
func (im *importer) report(l line) {
	if im.progress > 0 && time.Since(im.said) >= im.progress {
		im.said = time.Now()
		fmt.Fprintf(im.errors, "line %d: %s so far\n", l.n, im.counts())
	}
}

// line is one line of the file.
type line struct {
	n    int // from 1
	text []byte
}

// repeatable reports whether the API accepts the line once, however often it is sent.
func (l line) repeatable() bool {
	var order struct {
		Key string `json:"key"`
	}
	return json.Unmarshal(l.text, &order) == nil && order.Key != ""
}

// read sends the lines of the file into the channel, without blank ones.
func (im *importer) read(ctx context.Context, file io.Reader) {
	defer close(im.lines)
	in := bufio.NewReader(file)
	for n := 1; ; n++ {
		text, err := in.ReadBytes('\n')
		if text = bytes.TrimSpace(text); len(text) > 0 && !im.send(ctx, line{n, text}) {
			return
		}
		if err != nil {
			im.fail(err)
			return
		}
	}
}

// send sends a line into the channel. It is false if ctx has ended.
func (im *importer) send(ctx context.Context, l line) bool {
	select {
	case <-ctx.Done():
		return false
	case im.lines <- l:
		return true
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

// run calls the API until each line is accepted or refused.
func (im *importer) run(ctx context.Context) error {
	for {
		b := &batch{im: im, stop: make(chan struct{})}
		err := im.api.SendLines(ctx, b, b.result)
		refusal, answered := errors.AsType[*client.Problem](err)
		unsure := err != nil && (!answered || refusal.Code == client.CodeUnknown) // the API may have accepted what it did not answer
		first := b.close(unsure)
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
			return im.failed
		case err == nil: // the API ends a batch after 10 minutes
			continue
		}
		if im.waiting.IsZero() {
			im.waiting = time.Now()
			fmt.Fprintf(im.errors, "line %d: %s. The import waits and goes on when the API accepts messages again\n", first, oneLine(err))
		}
		if err := im.pause(ctx); err != nil {
			return err
		}
	}
}

// oneLine returns the first line of an error.
func oneLine(err error) string {
	text, _, _ := strings.Cut(err.Error(), "\n")
	return strings.TrimRight(text, ".")
}

// refuse counts a line as refused. The caller holds mu.
func (im *importer) refuse(l line, why error) {
	im.refused++
	fmt.Fprintf(im.errors, "line %d: %v\n", l.n, why)
}

// batch is one call of the API: it is the request's body, and handles the results of its lines.
type batch struct {
	im      *importer
	reading sync.Mutex    // held while Read runs
	stop    chan struct{} // closed: Read ends

	// These are guarded by the importer's mu.
	rest        []byte // of the line that is being read
	sent        []line // without a result, in their order
	results     int
	later       []line // to be sent again
	unavailable error  // the first result that says so
	broken      error  // the answer is not one of Sluice's API
	closed      bool
}

// Read implements io.Reader. It ends when the API is unavailable.
func (b *batch) Read(p []byte) (int, error) {
	b.reading.Lock()
	defer b.reading.Unlock()
	if len(b.rest) == 0 {
		l, ok := b.next()
		if !ok {
			return 0, io.EOF
		}
		b.rest = append(l.text[:len(l.text):len(l.text)], '\n')
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// next returns the line that is sent next, and false when there is none for this batch.
func (b *batch) next() (l line, ok bool) {
	im := b.im
	im.mu.Lock()
	defer im.mu.Unlock()
	if b.closed || b.unavailable != nil {
		return line{}, false
	}
	if len(im.again) > 0 {
		l, im.again = im.again[0], im.again[1:]
		b.sent = append(b.sent, l)
		return l, true
	}
	im.mu.Unlock() // the file may be a pipe that is slow
	select {
	case l, ok = <-im.lines:
		im.mu.Lock()
		im.ended, im.last = !ok, max(im.last, l.n)
	case <-b.stop:
		im.mu.Lock()
	}
	if ok {
		b.sent = append(b.sent, l)
	}
	return l, ok
}

// end makes Read return. The caller holds the importer's mu.
func (b *batch) end() {
	if !b.closed {
		b.closed = true
		close(b.stop)
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
	l := b.sent[0]
	im.answered = true
	b.sent, b.results = b.sent[1:], v.Line
	defer im.report(l)
	switch {
	case v.Status == http.StatusServiceUnavailable:
		if b.unavailable == nil {
			b.unavailable = v.Problem
		}
		b.end()
		if v.Problem.Code != "overloaded" && !l.repeatable() {
			im.refuse(l, errUnsure)
		} else {
			b.later = append(b.later, l)
		}
		return nil
	case v.Problem != nil:
		im.refuse(l, v.Problem)
		return nil
	case v.Duplicate:
		im.duplicates++
	default:
		im.accepted++
	}
	if !im.waiting.IsZero() {
		fmt.Fprintf(im.errors, "line %d: accepted after %s, the import goes on\n", l.n, time.Since(im.waiting).Round(time.Second))
		im.waiting = time.Time{}
	}
	if im.ids != nil {
		fmt.Fprintf(im.ids, "%d %s\n", l.n, v.ID)
	}
	return nil
}

// errUnsure is the error of a line that may have been accepted, and that must not be sent again.
var errUnsure = errors.New("may or may not have been accepted, and is not sent again because it has no key. Find it by its ref with `sluice list`. With a key on each line a file can be imported again")

// close ends the batch. What has no result is sent again. Unsure means that the API may have accepted it. Close
// returns the number of the line that is sent next, 0 when all lines of the file have their results.
func (b *batch) close(unsure bool) int {
	im := b.im
	im.mu.Lock()
	b.end()
	im.mu.Unlock()
	b.reading.Lock()
	defer b.reading.Unlock()
	im.mu.Lock()
	defer im.mu.Unlock()
	for _, l := range b.sent {
		if unsure && !l.repeatable() {
			im.refuse(l, errUnsure)
		} else {
			b.later = append(b.later, l)
		}
	}
	if im.again = append(b.later, im.again...); len(im.again) > 0 {
		return im.again[0].n
	}
	if im.ended {
		return 0
	}
	return im.last + 1
}
