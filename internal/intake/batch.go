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
	// batchGroup is the maximum number of lines that are stored together. batchGroups is the maximum number of
	// groups of a batch in memory: enough to fill the round trips to Redis, and few enough to limit the memory
	// of a request.
	batchGroup  = 256
	batchGroups = 8
	maxBatch    = 10 * time.Minute // the time limit of a batch
	batchIdle   = 30 * time.Second // the time limit for the next bytes of the body, and for the caller to read the next bytes of the answer
)

// batchMedia are the media types of JSON lines.
var batchMedia = []string{"application/x-ndjson", "application/ndjson", "application/jsonl"}

// lineResult is the answer to a line of a batch.
type lineResult struct {
	Line   int `json:"line" doc:"The number of the line. The first line is 1."`
	Status int `json:"status" doc:"The HTTP status that POST /v1/messages would have for this line."`
	*acceptedMessage
	Problem *httpapi.Failure `json:"problem,omitempty" doc:"Why the line was not accepted."`
}

// batchKind is what is done with the lines of a batch.
type batchKind struct {
	handle func(context.Context, *group) // sets the results of the lines of a group
	count  func(result string)           // counts a line, or a batch, that was refused before
	finish func(*group)                  // completes the results of a group, in the order of the groups; nil: they are complete
}

// batch serves POST /v1/messages/batch. It stores the lines that have arrived in groups, and answers each line as soon as its
// message and those before it are durable.
func (in *Intake) batch(w http.ResponseWriter, r *http.Request) {
	in.serveLines(w, r, batchKind{handle: in.acceptGroup, count: in.metrics.count})
}

// checkBatch serves POST /v1/messages/batch/check. As with checkOnly, the metrics count nothing.
func (in *Intake) checkBatch(w http.ResponseWriter, r *http.Request) {
	forecast := in.forecast()
	in.serveLines(w, r, batchKind{in.checkGroup, func(string) {}, func(g *group) { forecast.showGroup(r.Context(), g, in.now()) }})
}

// serveLines reads, handles and answers the lines of a batch concurrently, up to batchGroups groups at once. It answers the lines in
// their order.
func (in *Intake) serveLines(w http.ResponseWriter, r *http.Request, kind batchKind) {
	key, refused := in.o.Keys.Authorize(r, httpapi.ScopeSend)
	if refused == nil {
		refused = checkBatchHeader(r.Header)
	}
	if refused != nil {
		kind.count(result(refused.Status()))
		refused.Write(w)
		return
	}
	c := http.NewResponseController(w)
	// HTTP/2 returns an error, because it is always full duplex.
	c.EnableFullDuplex()
	w.Header().Set("Content-Type", batchMedia[0])
	w.WriteHeader(http.StatusOK)
	c.Flush()

	ctx, cancel := context.WithCancel(r.Context())
	body := &batchBody{Reader: r.Body, control: c, end: time.Now().Add(maxBatch), stop: make(chan struct{})}
	groups := make(chan *group, batchGroups)
	var reading sync.WaitGroup
	read := make(chan struct{})
	reading.Go(func() { defer close(groups); in.readLines(ctx, body, key, kind, groups); close(read) })
	reading.Go(func() { // interrupts the reader when no more lines are needed
		select {
		case <-ctx.Done():
		case <-in.stopped:
		case <-read:
		}
		close(body.stop)
		select {
		case <-read: // now the server reads from the connection, and a deadline would end the connection
		default:
			c.SetReadDeadline(time.Now())
		}
	})
	writeResults(w, c, kind, cancel, groups)
	cancel()
	reading.Wait()
}

// checkBatchHeader refuses bodies that are not declared as JSON lines.
func checkBatchHeader(h http.Header) refusal {
	if refused := httpapi.CheckMedia(h, batchMedia...); refused != nil {
		if p := &refused[0]; p.Code == "unsupported_media_type" {
			p.Detail, p.Fix = "A batch has one JSON object on each line.", "Send the header Content-Type: "+batchMedia[0]+"."
		}
		return refused
	}
	if len(h.Values("Idempotency-Key")) > 0 { // an empty one too, because the caller relies on it
		return refuseAt("Idempotency-Key", "idempotency_key_not_allowed")
	}
	return nil
}

// readLines reads and checks lines, and starts to handle those that have arrived together as a group. It sends the
// groups in the order of their lines. Empty lines have a number but no result.
func (in *Intake) readLines(ctx context.Context, body *batchBody, key httpapi.Key, kind batchKind, groups chan<- *group) {
	b := bufio.NewReaderSize(body, maxBody+1)
	e := newEnvelope()
	defer e.free()
	g := newGroup()
	send := func() {
		if len(g.lines) > 0 {
			groups <- g
			go kind.handle(ctx, g)
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
			kind.count(resultInvalid)
			g.refuse(n, refuse("body_too_large"))
		case len(text) > 0:
			in.readLine(e, g, key, n, message.Order{Body: text}, kind.count)
		}
		if err != nil {
			return
		}
	}
}

// lineBuffered reports whether the next line has arrived completely.
func lineBuffered(b *bufio.Reader) bool {
	text, _ := b.Peek(b.Buffered())
	return bytes.IndexByte(text, '\n') >= 0
}

// readLine adds a line to a group, with its message or its refusal, which it counts.
func (in *Intake) readLine(e *envelope, g *group, key httpapi.Key, n int, o message.Order, count func(result string)) {
	e.reset()
	e.defaultKey = o.Key
	var m message.Message
	now := in.now()
	refused := e.read(o.Body)
	if refused == nil {
		m = e.readAll(nil, func() { e.open(e.body.Root()) })
		refused = in.check(e, &m, key, now)
	}
	if refused != nil {
		count(result(refused.Status()))
		g.refuse(n, refused)
		return
	}
	g.add(n, &m)
}

// writeResults writes the result of each line, and flushes when the next one is not ready. When the caller has
// disconnected it cancels the batch, and waits for the running groups.
func writeResults(w http.ResponseWriter, c *http.ResponseController, kind batchKind, cancel func(), groups <-chan *group) {
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
		if kind.finish != nil {
			kind.finish(g)
		}
		for i := range g.lines {
			if _, err := out.Write(append(g.lines[i].appendResult(out.AvailableBuffer()), '\n')); err != nil {
				cancel()
			}
		}
		g.free()
	}
}

// batchBody is the body of a batch. It has a time limit for each read instead of one for the whole body.
type batchBody struct {
	io.Reader
	control *http.ResponseController
	end     time.Time     // the time limit of the batch
	stop    chan struct{} // closed to end reading
}

// Read waits for at most batchIdle, and not beyond the time limit of the batch.
func (p *batchBody) Read(b []byte) (int, error) {
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
		if err == io.EOF { // the next read is for the next request
			p.control.SetReadDeadline(time.Time{})
		}
		return n, err
	}
}

var errStopped = errors.New("stopped")

// unread returns the refusal of a line that could not be read; nil when the caller has disconnected.
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
