package feed

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"sluice/internal/httpapi"
)

// stream answers with events as they are written, as server-sent events: https://html.spec.whatwg.org/#server-sent-events.
// It ends when the caller leaves or does not read, when its API key is not valid any more, and when the server stops.
func (f *Feed) stream(w http.ResponseWriter, r *http.Request, q query, at cursor) {
	defer f.metrics.enter("stream")()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream; charset=utf-8")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no") // nginx sends each event at once
	if r.Method == http.MethodHead {
		return
	}
	out := output{w: w, control: http.NewResponseController(w)}
	out.control.SetReadDeadline(time.Time{}) // there is no body, and the time limit of a request must not end the stream
	in := f.newReader(q, at, streamChunk)
	out.WriteString(": the events of Sluice\nretry: 2000\nid: " + in.encoded() + "\n\n")
	for out.flush() && f.o.Keys.Valid(q.key, httpapi.ScopeEvents) {
		changed := f.o.Tail.Changed()
		lines, ended, err := in.read(r.Context(), batchLines)
		if err != nil {
			text, _ := json.Marshal(f.problem(err)) // cannot fail for texts
			out.WriteString("event: problem\ndata: " + string(text) + "\n\n")
			out.flush()
			return
		}
		for i, l := range lines {
			if i == len(lines)-1 { // an id for each event would double the text
				out.WriteString("id: " + in.encoded() + "\n")
			}
			out.event(l.Text)
		}
		f.metrics.sent(lines, f.now())
		if !ended {
			select {
			case <-f.stopped:
				out.flush()
				return
			default:
				continue
			}
		}
		if len(lines) > 0 && !out.flush() {
			return
		}
		select {
		case <-changed:
		case <-time.After(time.Until(out.last.Add(f.keepAlive))):
			// The position moves past events that the filter does not select.
			out.WriteString(": keep-alive\nid: " + in.encoded() + "\n\n")
		case <-f.stopped:
			return
		case <-f.o.Left(r.Context()):
			return
		}
	}
}

// output collects text and writes it.
type output struct {
	bytes.Buffer
	w       http.ResponseWriter
	control *http.ResponseController
	last    time.Time // of the last flush that wrote something
}

// event adds an event as it is stored. A carriage return would end the line. In JSON it is white space.
func (o *output) event(text string) {
	o.WriteString("data: ")
	if strings.IndexByte(text, '\r') >= 0 {
		text = strings.ReplaceAll(text, "\r", " ")
	}
	o.WriteString(text)
	o.WriteString("\n\n")
}

// flush writes the text. It returns false if the caller has left, or does not read.
func (o *output) flush() bool {
	if o.Len() == 0 {
		return true
	}
	o.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	if _, err := o.w.Write(o.Bytes()); err != nil {
		return false
	}
	o.Reset()
	o.last = time.Now()
	return o.control.Flush() == nil
}
