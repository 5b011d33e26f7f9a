package client

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/http"
	"slices"
	"sync"
	"time"
)

// SendLines sends the bodies of messages, one JSON object per line, in one request. It calls f with each result as it
// comes, in the order of the lines, while it still reads. It returns after the last result, or with the error of f. It
// repeats nothing: after an error other than a *Problem with a status below 500, the lines without a result may have been
// accepted.
func (c *Client) SendLines(ctx context.Context, lines io.Reader, f func(LineResult) error) error {
	return exchange(ctx, c, "/v1/messages/batch", lines, f)
}

// CheckLines checks the bodies of messages by the rules of SendLines, without sending or storing them. It calls f and returns as
// SendLines does. A line is not compared with the other lines.
func (c *Client) CheckLines(ctx context.Context, lines io.Reader, f func(CheckedLine) error) error {
	return exchange(ctx, c, "/v1/messages/batch/check", lines, f)
}

// exchange sends lines in one request, and calls f with each result as it comes.
func exchange[T any](ctx context.Context, c *Client, path string, lines io.Reader, f func(T) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	resp, err := c.roundTrip(ctx, http.MethodPost, path, "application/x-ndjson", io.NopCloser(lines))
	if err != nil {
		return err
	}
	defer func() {
		cancel() // of what is still being sent: with HTTP/2, Close waits for the end of the request
		resp.Body.Close()
	}()
	if resp.StatusCode != http.StatusOK {
		answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		if err != nil {
			return &callError{"read the answer to a batch", true, err}
		}
		return problemOf(resp, answer)
	}
	for results := json.NewDecoder(resp.Body); ; {
		var r T
		switch err := results.Decode(&r); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return &callError{"read the answer to a batch", true, err}
		}
		if err := f(r); err != nil {
			return err
		}
	}
}

// SendBatch sends many messages over one connection, and yields a result for each: Line is the number of the message. A
// result comes as soon as its message is stored, while messages are still read. Results come in the order of the
// messages, except those of messages that had to be repeated. A message that is refused does not affect the others: its
// result has a Problem.
//
// When the connection is lost, or Sluice is overloaded or unavailable, SendBatch waits and repeats the messages without a result. If it
// gives up, it yields an *UnsureError with these messages and ends. A call without time for retries (see [WithRetryFor])
// sends each message once.
//
// SendBatch reads messages in another goroutine. If the loop is left early, that goroutine ends when messages yields
// its next message or ends.
func (c *Client) SendBatch(ctx context.Context, messages iter.Seq[Message]) iter.Seq2[LineResult, error] {
	return func(yield func(LineResult, error) bool) {
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		b := &batch{c: c, lines: make(chan line), yield: yield}
		go b.read(ctx, messages)
		if err := b.run(ctx); err != nil && !errors.Is(err, errLeft) {
			yield(LineResult{}, err)
		}
	}
}

// errLeft means that the loop over the results was left.
var errLeft = errors.New("left")

// batch is a call of SendBatch.
type batch struct {
	c     *Client
	lines chan line
	yield func(LineResult, error) bool

	open []line    // without a result, and not in a request
	down time.Time // since when there are failures and no results; zero: there are none
}

// line is one message of a batch.
type line struct {
	n       int
	message Message
	text    []byte
	err     error // the message cannot be written as JSON
	unsure  bool  // it was sent, and may have been accepted
}

// read sends the messages into the channel.
func (b *batch) read(ctx context.Context, messages iter.Seq[Message]) {
	defer close(b.lines)
	n := 0
	for m := range messages {
		n++
		b.c.giveKey(&m)
		text, err := json.Marshal(m)
		select {
		case <-ctx.Done():
			return
		case b.lines <- line{n: n, message: m, text: append(text, '\n'), err: err}:
		}
	}
}

// run makes requests until each message has a result.
func (b *batch) run(ctx context.Context) error {
	for failures := 0; ; {
		if len(b.open) == 0 { // a request without a line would end while it waits for one
			select {
			case <-ctx.Done():
				return context.Cause(ctx)
			case l, ok := <-b.lines:
				if !ok {
					return nil
				}
				b.open = append(b.open, l)
			}
		}
		if l := b.open[0]; l.err != nil {
			return fmt.Errorf("write message %d: %w", l.n, l.err)
		}
		err := b.request(ctx)
		switch {
		case errors.Is(err, errLeft):
			return err
		case err != nil && (!temporary(err) || ctx.Err() != nil):
			return b.ended(err)
		case err == nil || len(b.open) == 0: // Sluice ends a request that is idle
			b.down = time.Time{}
			continue
		}
		if b.down.IsZero() {
			b.down, failures = time.Now(), 0
		}
		failures++
		pause := pauseAfter(failures, err)
		if time.Now().Add(pause).After(b.down.Add(b.c.retryFor)) {
			return b.ended(err)
		}
		if ended := sleep(ctx, pause); ended != nil {
			return b.ended(fmt.Errorf("%w. The last failure: %w", ended, err))
		}
	}
}

// ended returns the error of a batch that is given up.
func (b *batch) ended(err error) error {
	if !slices.ContainsFunc(b.open, func(l line) bool { return l.unsure }) {
		return err
	}
	e := &UnsureError{Err: err}
	for _, l := range b.open {
		e.Messages = append(e.Messages, l.message)
	}
	return e
}

// request makes one request, which ends when the messages end, or when Sluice accepts no more of them.
func (b *batch) request(ctx context.Context) error {
	body := &batchBody{b: b, next: b.open, stop: make(chan struct{})}
	err := b.c.SendLines(ctx, body, body.result)
	body.close()
	if err == nil && body.failure == nil && len(body.sent) > 0 {
		err = &callError{"read the answer to a batch", true, io.ErrUnexpectedEOF}
	}
	if _, refused := errors.AsType[*Problem](err); err != nil && (!refused || unsure(err)) {
		for i := range body.sent {
			body.sent[i].unsure = true
		}
	}
	b.open = slices.SortedFunc(slices.Values(slices.Concat(body.later, body.sent, body.next)), func(a, b line) int { return cmp.Compare(a.n, b.n) })
	if err == nil && body.failure != nil {
		err = body.failure
	}
	return err
}

// batchBody is the body of a request with messages, and handles their results.
type batchBody struct {
	b       *batch
	reading sync.Mutex // held while Read runs
	rest    []byte     // of the line that is being read

	mu      sync.Mutex // guards what follows
	stop    chan struct{}
	stopped bool     // and stop is closed: no more lines are sent
	next    []line   // to be sent before further messages
	sent    []line   // without a result, in their order
	later   []line   // to be repeated, because Sluice accepted no messages
	results int      // of this request
	failure *Problem // the first result that says why no more lines are accepted
}

// Read returns the next lines.
func (p *batchBody) Read(to []byte) (int, error) {
	p.reading.Lock()
	defer p.reading.Unlock()
	if len(p.rest) == 0 {
		l, ok := p.line()
		if !ok {
			return 0, io.EOF
		}
		p.rest = l.text
	}
	n := copy(to, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// line returns the line that is sent next, and false if there is none for this request.
func (p *batchBody) line() (line, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.next) == 0 && !p.stopped {
		p.mu.Unlock()
		select {
		case l, ok := <-p.b.lines:
			p.mu.Lock()
			if ok {
				p.next = append(p.next, l)
			}
		case <-p.stop:
			p.mu.Lock()
		}
	}
	if p.stopped || len(p.next) == 0 || p.next[0].err != nil {
		return line{}, false
	}
	l := p.next[0]
	p.next = p.next[1:]
	p.sent = append(p.sent, l)
	return l, true
}

// end makes Read return. The caller holds mu.
func (p *batchBody) end() {
	if !p.stopped {
		p.stopped = true
		close(p.stop)
	}
}

// close ends the body, and waits until no Read runs.
func (p *batchBody) close() {
	p.mu.Lock()
	p.end()
	p.mu.Unlock()
	p.reading.Lock()
	defer p.reading.Unlock()
}

// result handles a result of Sluice.
func (p *batchBody) result(r LineResult) error {
	l, done, err := p.match(r)
	if !done {
		return err
	}
	p.b.down = time.Time{}
	r.Line = l.n
	if !p.b.yield(r, nil) {
		return errLeft
	}
	return nil
}

// match finds the line of a result. It returns false if that is not the last word about the line.
func (p *batchBody) match(r LineResult) (l line, done bool, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r.Problem != nil && (r.Problem.Code == "timeout" || r.Problem.Code == "stopping") { // Sluice ended the batch, and did not read this line
		p.failure = cmp.Or(p.failure, r.Problem)
		p.end()
		return l, false, nil
	}
	if len(p.sent) == 0 || r.Line != p.results+1 {
		return l, false, fmt.Errorf("read the answer to a batch: the result of line %d came after %d of %d lines. Check that the base URL is that of Sluice", r.Line, p.results, p.results+len(p.sent))
	}
	p.results++
	l, p.sent = p.sent[0], p.sent[1:]
	if r.Problem == nil || r.Status != http.StatusServiceUnavailable || p.b.c.retryFor == 0 {
		return l, true, nil
	}
	l.unsure = l.unsure || unsure(r.Problem)
	p.later = append(p.later, l)
	p.failure = cmp.Or(p.failure, r.Problem)
	p.end()
	return l, false, nil
}
