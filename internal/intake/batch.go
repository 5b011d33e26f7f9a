package intake

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// batchGroup is how many lines are stored together at most, and batchGroups how many groups of
	// one batch may be on their way: enough to fill the round trips to the store, few enough to
	// bound what a caller can make us keep.
	batchGroup  = 256
	batchGroups = 8
	batchMost   = 10 * time.Minute // a whole batch
	batchIdle   = 30 * time.Second // until more of the body comes, and until its caller takes more of the answer
)

// batchMedia are the media types in use for lines of JSON.
var batchMedia = []string{"application/x-ndjson", "application/ndjson", "application/jsonl"}

// lineResult is the answer to a line of a batch.
type lineResult struct {
	Line   int `json:"line" doc:"The number of the line. The first line is 1."`
	Status int `json:"status" doc:"The HTTP status that POST /v1/messages would have for this line."`
	*acceptedMessage
	Problem *httpapi.Failure `json:"problem,omitempty" doc:"Why the line was not accepted."`
}

// batch serves POST /v1/messages/batch. It reads, accepts and answers at the same time: what has
// arrived goes to the store in groups, as many as batchGroups at once, and lines are answered in
// their order, each as soon as it and those before it are durable.
func (in *Intake) batch(w http.ResponseWriter, r *http.Request) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused == nil {
		refused = checkBatch(r.Header)
	}
	if refused != nil {
		in.metrics.count(result(refused.Status()))
		refused.Write(w)
		return
	}
	c := http.NewResponseController(w)
	// Where the connection cannot, as HTTP/2 needs nothing of it, the server returns an error that
	// does not matter here.
	c.EnableFullDuplex()
	w.Header().Set("Content-Type", batchMedia[0])
	w.WriteHeader(http.StatusOK)
	c.Flush()

	ctx, cancel := context.WithCancel(r.Context())
	body := &patient{Reader: r.Body, control: c, end: time.Now().Add(batchMost), stop: make(chan struct{})}
	groups := make(chan *group, batchGroups)
	var reading sync.WaitGroup
	read := make(chan struct{})
	reading.Go(func() { defer close(groups); in.readLines(ctx, body, key, groups); close(read) })
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
	writeVerdicts(w, c, cancel, groups)
	cancel()
	reading.Wait()
}

// checkBatch refuses bodies that are no plain lines of JSON.
func checkBatch(h http.Header) refusal {
	if refused := httpapi.CheckMedia(h, batchMedia...); refused != nil {
		if p := &refused[0]; p.Code == "unsupported_media_type" {
			p.Detail, p.Fix = "A batch has one JSON object on each line.", "Send the header Content-Type: "+batchMedia[0]+"."
		}
		return refused
	}
	if len(h.Values("Idempotency-Key")) > 0 { // blank too: its caller relies on it
		return refuseAt("Idempotency-Key", "idempotency_key_not_allowed")
	}
	return nil
}

// readLines reads lines, checks each, and starts the acceptance of those that have arrived: of a
// single line at once, of many as a group. It sends the groups on in the order of their lines.
// Blank lines count and are not answered.
func (in *Intake) readLines(ctx context.Context, body *patient, key httpapi.Key, groups chan<- *group) {
	b := bufio.NewReaderSize(body, maxBody+1)
	e := newEnvelope()
	defer e.free()
	g := newGroup()
	send := func() {
		if len(g.lines) > 0 {
			groups <- g
			go in.acceptGroup(ctx, g)
			g = newGroup()
		}
	}
	defer func() { send(); g.free() }()
	for n := 1; ; n++ {
		if len(g.lines) == batchGroup || !lineBuffered(b) {
			send()
		}
		text, err := b.ReadSlice('\n')
		long := errors.Is(err, bufio.ErrBufferFull)
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = b.ReadSlice('\n')
		}
		text = bytes.TrimSpace(text)
		switch {
		case err != nil && !errors.Is(err, io.EOF):
			if refused := in.unread(err); refused != nil {
				g.refuse(n, refused)
			}
			return
		case long:
			in.metrics.count(resultInvalid)
			g.refuse(n, refuse("body_too_large"))
		case len(text) > 0:
			in.readLine(e, g, key, n, text)
		}
		if err != nil {
			return
		}
	}
}

// lineBuffered tells whether the next line has arrived whole.
func lineBuffered(b *bufio.Reader) bool {
	text, _ := b.Peek(b.Buffered())
	return bytes.IndexByte(text, '\n') >= 0
}

// readLine adds a line to a group, with its message unless the line is refused.
func (in *Intake) readLine(e *envelope, g *group, key httpapi.Key, n int, text []byte) {
	e.reset()
	var m message.Message
	now := in.now()
	refused := e.read(text)
	if refused == nil {
		e.open(e.body.Root())
		m = e.order(nil)
		refused = in.check(e, &m, key, now)
	}
	if refused != nil {
		in.metrics.count(result(refused.Status()))
		g.refuse(n, refused)
		return
	}
	g.add(n, &m)
}

// writeVerdicts writes each line's verdict, and flushes when there is nothing to add at once. When
// the caller is gone it ends the batch, and waits for what is under way.
func writeVerdicts(w http.ResponseWriter, c *http.ResponseController, cancel func(), groups <-chan *group) {
	out := bufio.NewWriterSize(w, 32<<10)
	flush := func() {
		c.SetWriteDeadline(time.Now().Add(batchIdle))
		if out.Flush() != nil || c.Flush() != nil {
			cancel()
		}
	}
	defer flush()
	for {
		var g *group
		select {
		case g = <-groups:
		default:
			flush()
			g = <-groups
		}
		if g == nil {
			return
		}
		select {
		case <-g.done:
		default:
			flush()
			<-g.done
		}
		for i := range g.lines {
			if _, err := out.Write(append(g.lines[i].appendVerdict(out.AvailableBuffer()), '\n')); err != nil {
				cancel()
			}
		}
		g.free()
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
