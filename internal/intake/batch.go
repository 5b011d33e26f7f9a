package intake

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// batchWindow is how many lines of one batch may be under way: enough to fill the round
	// trips to the store, few enough to bound what a caller can make us keep.
	batchWindow = 2048
	batchMost   = 10 * time.Minute // a whole batch
	batchIdle   = 30 * time.Second // until more of the body comes, and until its caller takes more of the answer
)

// batchMedia are the names that go about for lines of JSON.
var batchMedia = []string{"application/x-ndjson", "application/ndjson", "application/jsonl"}

// verdict is what is answered to a line of a batch.
type verdict struct {
	Line   int `json:"line" doc:"The number of the line, from 1."`
	Status int `json:"status" doc:"What POST /v1/messages would have answered to it."`
	*acceptance
	Problem *httpapi.Failure `json:"problem,omitempty" doc:"What is wrong with it, when it was not accepted."`
}

// line is one that is under way until done is closed.
type line struct {
	verdict
	done chan struct{}
}

// batch serves POST /v1/messages/batch. It reads, accepts and answers at the same time: lines
// are accepted together, as many as batchWindow, and answered in their order, each as soon as
// it and those before it are durable.
func (in *Intake) batch(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused == nil {
		refused = checkBatch(r.Header)
	}
	if refused != nil {
		in.metrics.messages.WithLabelValues(result(refused.Status())).Inc()
		refused.Write(w)
		return
	}
	c := http.NewResponseController(w)
	// Where the connection cannot, HTTP/2 say needs nothing of it, the server says so by an error
	// that is none to us.
	c.EnableFullDuplex()
	w.Header().Set("Content-Type", batchMedia[0])
	w.WriteHeader(http.StatusOK)
	c.Flush()

	ctx, cancel := context.WithCancel(r.Context())
	body := &patient{Reader: r.Body, control: c, end: time.Now().Add(batchMost), stop: make(chan struct{})}
	lines := make(chan *line, batchWindow)
	var reading sync.WaitGroup
	read := make(chan struct{})
	reading.Go(func() { defer close(lines); in.readLines(ctx, body, key, lines); close(read) })
	reading.Go(func() { // wakes the reader when there is no use in more lines
		select {
		case <-ctx.Done():
		case <-in.stopped:
		case <-read:
		}
		close(body.stop)
		select {
		case <-read: // now the server itself reads, and takes a deadline for the end of the connection
		default:
			c.SetReadDeadline(time.Now())
		}
	})
	writeVerdicts(w, c, cancel, lines)
	cancel()
	reading.Wait()
}

// checkBatch refuses bodies that are no plain lines of JSON.
func checkBatch(h http.Header) refusal {
	if media, _, err := mime.ParseMediaType(h.Get("Content-Type")); err != nil || !slices.Contains(batchMedia, media) {
		p := httpapi.Problem("", "unsupported_media_type")
		p.Detail, p.Fix = "A batch has one JSON object on each line.", "Send the header Content-Type: "+batchMedia[0]+"."
		return refusal{p}
	}
	if encoding := h.Get("Content-Encoding"); encoding != "" && encoding != "identity" {
		return refuse("encoding_not_supported")
	}
	if h.Get("Idempotency-Key") != "" {
		return refuseAt("Idempotency-Key", "key_of_batch")
	}
	return nil
}

// readLines starts the acceptance of each line and sends the lines on in their order. Blank
// lines count and are not answered.
func (in *Intake) readLines(ctx context.Context, body *patient, key httpapi.Key, lines chan<- *line) {
	b := bufio.NewReaderSize(body, maxBody+1)
	for n := 1; ; n++ {
		text, err := b.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		text = bytes.TrimSpace(text)
		l := &line{verdict: verdict{Line: n}, done: make(chan struct{})}
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			if refused := in.unread(err); refused != nil {
				l.refuse(refused)
				lines <- l
			}
			return
		case long:
			in.metrics.messages.WithLabelValues(resultInvalid).Inc()
			l.refuse(refuse("body_too_large"))
			lines <- l
		case len(text) > 0:
			lines <- l
			in.takeLine(ctx, key, bytes.Clone(text), l)
		}
		if err != nil {
			return
		}
	}
}

// takeLine reads a line, and hands its message over while the next is read.
func (in *Intake) takeLine(ctx context.Context, key httpapi.Key, text []byte, l *line) {
	document, refused := strict(text)
	if refused != nil {
		in.answerLine(l, message.Acceptance{}, refused)
		return
	}
	e := open(document)
	m := e.order(nil)
	go func() {
		a, refused := in.hand(ctx, http.Header{}, key, e, m, time.Now())
		in.answerLine(l, a, refused)
	}()
}

func (in *Intake) answerLine(l *line, a message.Acceptance, refused refusal) {
	switch {
	case refused != nil:
		in.metrics.messages.WithLabelValues(result(refused.Status())).Inc()
		l.refuse(refused)
		return
	case a.Duplicate:
		in.metrics.messages.WithLabelValues(resultDuplicate).Inc()
		l.Status = http.StatusOK
	default:
		in.metrics.messages.WithLabelValues(resultAccepted).Inc()
		l.Status = http.StatusAccepted
	}
	shown := show(a)
	l.acceptance = &shown
	close(l.done)
}

// refuse ends a line that was not accepted.
func (l *line) refuse(refused refusal) {
	f := refused.Document()
	l.Status, l.Problem = f.Status, &f
	close(l.done)
}

// writeVerdicts writes each line's verdict, and lets its caller have them when there is
// nothing to add at once. When he is gone it ends the batch, and waits for what is under way.
func writeVerdicts(w http.ResponseWriter, c *http.ResponseController, cancel func(), lines <-chan *line) {
	out := bufio.NewWriterSize(w, 32<<10)
	e := json.NewEncoder(out)
	flush := func() {
		c.SetWriteDeadline(time.Now().Add(batchIdle))
		if out.Flush() != nil || c.Flush() != nil {
			cancel()
		}
	}
	defer flush()
	for {
		var l *line
		select {
		case l = <-lines:
		default:
			flush()
			l = <-lines
		}
		if l == nil {
			return
		}
		select {
		case <-l.done:
		default:
			flush()
			<-l.done
		}
		if e.Encode(l.verdict) != nil {
			cancel()
		}
	}
}

// patient reads a body for as long as something comes.
type patient struct {
	io.Reader
	control *http.ResponseController
	end     time.Time
	stop    chan struct{} // closed: no more is read
}

// Read gives the caller batchIdle for it, and not more than the batch's time.
func (p *patient) Read(b []byte) (int, error) {
	deadline := time.Now().Add(batchIdle)
	if deadline.After(p.end) {
		deadline = p.end
	}
	p.control.SetReadDeadline(deadline)
	select {
	case <-p.stop:
		return 0, errStopped
	default:
		n, err := p.Reader.Read(b)
		if err == io.EOF { // from here on the server waits for the next request
			p.control.SetReadDeadline(time.Time{})
		}
		return n, err
	}
}

var errStopped = errors.New("stopped")

// unread is what is said to the line that could not be read; nil when nobody hears it. The
// server ends the request of a body that it could not read, so its end says nothing.
func (in *Intake) unread(err error) refusal {
	select {
	case <-in.stopped:
		return refuse("stopping")
	default:
	}
	if timeout, ok := errors.AsType[net.Error](err); ok && timeout.Timeout() {
		return refuse("timeout")
	}
	return nil
}
