package feed

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"sluice/internal/events"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// page is the answer of GET /v1/events without a stream. It is written by hand, with the events as they are stored.
type page struct {
	Events []message.Event `json:"events" doc:"The events, in order for each phone number."`
	Cursor string          `json:"cursor" doc:"The position after these events: the cursor of the next request."`
	More   bool            `json:"more" doc:"true: further events may be available now, ask again at once."`
}

// page answers with up to limit events, and waits for the first one if there is none.
func (f *Feed) page(w http.ResponseWriter, r *http.Request, q query, at cursor) {
	defer f.metrics.enter("poll")()
	control := http.NewResponseController(w)
	deadline := time.Now().Add(q.wait)
	// If the connection does not support deadlines, those of the server apply.
	control.SetReadDeadline(deadline.Add(storeTimeout + writeTimeout))
	control.SetWriteDeadline(deadline.Add(storeTimeout + writeTimeout))
	timer := time.NewTimer(q.wait)
	defer timer.Stop()
	in := f.newReader(q, at, max(25, q.limit/max(1, len(q.keys))))
	for waits := q.wait > 0; ; {
		var changed <-chan struct{}
		if waits {
			changed = f.o.Tail.Changed()
		}
		lines, ended, err := in.read(r.Context(), q.limit)
		if err != nil {
			f.failed(w, err)
			return
		}
		if len(lines) > 0 || !ended || !waits {
			f.metrics.sent(lines, f.now())
			writePage(w, lines, in.encoded(), !ended)
			return
		}
		select {
		case <-changed:
		case <-timer.C:
			waits = false
		case <-f.stopped:
			waits = false
		case <-f.o.Left(r.Context()):
			waits = false
		}
	}
}

// writePage answers with lines.
func writePage(w http.ResponseWriter, lines []events.Line, cursor string, more bool) {
	var b bytes.Buffer
	b.WriteString(`{"events":[`)
	for i, l := range lines {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(l.Text)
	}
	b.WriteString(`],"cursor":"` + cursor + `","more":`)
	if more {
		b.WriteString("true}\n")
	} else {
		b.WriteString("false}\n")
	}
	httpapi.WriteBytes(w, "application/json", http.StatusOK, b.Bytes())
}

// failed answers a request whose events cannot be read.
func (f *Feed) failed(w http.ResponseWriter, err error) {
	p := f.problem(err)
	p.RequestID = w.Header().Get("X-Request-Id")
	p.Write(w)
}

// problem returns the problem document of an error of a reader.
func (f *Feed) problem(err error) httpapi.Failure {
	old, is := errors.AsType[*tooOld](err)
	if !is {
		return f.unavailable(err).Document()
	}
	f.metrics.tooOld.Inc()
	f.o.Log.Warn("cursor of a consumer of events is too old", slog.Time("first", old.at))
	p := httpapi.Refuse("cursor_too_old").Document()
	p.FirstCursor, p.FirstAt = old.first.encode(f.o.Tail.Shards()), old.at
	return p
}
