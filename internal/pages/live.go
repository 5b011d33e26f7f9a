package pages

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"
)

// Times and limits of live pages.
const (
	liveEvery   = 2 * time.Second
	liveCheck   = 10 * time.Second // how often the session of a stream is checked
	liveQuiet   = 5 * time.Second  // a stream without changes gets the event alive after this time; static/console.js waits for it
	liveWrite   = 10 * time.Second // a browser must take a part of a stream within this time
	liveStreams = 250              // at a time
	livePages   = 20               // of them of one session
)

// live returns a handler of the live region of a page: a stream of server-sent events, each with the whole region. It
// ends when the browser leaves, when the session ends, and when the server stops.
func (p *Pages) live(pg page) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "text/event-stream; charset=utf-8")
		h.Set("X-Accel-Buffering", "no") // nginx sends each event at once
		out := http.NewResponseController(w)
		out.SetReadDeadline(time.Time{}) // there is no body, and the time limit of a request must not end the stream
		send := func(text []byte) bool {
			out.SetWriteDeadline(time.Now().Add(liveWrite))
			_, err := w.Write(text)
			return err == nil && out.Flush() == nil
		}
		var s session
		var checked time.Time
		// check reads the session again from time to time. It returns errSignedOut when the session has ended.
		check := func() error {
			if time.Since(checked) < p.check && !s.key.Expired(time.Now()) {
				return nil
			}
			c, err := r.Cookie(sessionCookie)
			if err != nil {
				return errSignedOut
			}
			now, err := p.sessions.get(r.Context(), c.Value, false)
			if err == nil {
				s = now
			}
			checked = time.Now()
			return err
		}
		end := func() { send([]byte("event: ended\ndata: \n\n")) } // static/console.js then loads the page again
		err := check()
		if errors.Is(err, errSignedOut) {
			end()
			return
		}
		if err != nil || !p.streams.enter(s.id) { // the browser tries again, ever more rarely
			w.Header().Set("Retry-After", "10")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		defer p.streams.leave(s.id)
		region := p.streams.open(s.key.Name + "\n" + s.key.Hash + "\n" + r.URL.RequestURI())
		defer p.streams.close(region)
		tick := time.NewTicker(liveEvery)
		defer tick.Stop()
		var last []byte
		for sent := time.Now(); ; {
			if errors.Is(check(), errSignedOut) { // another error ends nothing: the region shows it
				end()
				return
			}
			text := region.read(r.Context(), func(ctx context.Context) []byte { return event(p.region(ctx, r, pg, s)) })
			switch {
			case !bytes.Equal(text, last):
				last = text
			case time.Since(sent) > liveQuiet:
				text = []byte("event: alive\ndata: \n\n")
			default:
				text = nil
			}
			if text != nil {
				if !send(text) {
					return
				}
				sent = time.Now()
			}
			select {
			case <-tick.C:
			case <-p.stopped:
				return
			case <-p.o.Left(r.Context()):
				return
			case <-r.Context().Done():
				return
			}
		}
	}
}

// region renders the live region of a page.
func (p *Pages) region(ctx context.Context, r *http.Request, pg page, s session) []byte {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	at := r.Clone(ctx)
	at.URL.Path = root + r.URL.Path[len(root+"live/"):] // of the page itself, for its links
	v := &view{ctx, p, at, s}
	return p.render(pg.name, "live-content", frame{content: v.read(pg)})
}

// event returns a server-sent event with a text. A carriage return would end a line of the event too, and what follows it in a
// caller's text would be an event of its own.
func event(text []byte) []byte {
	text = bytes.ReplaceAll(text, []byte{'\r'}, []byte{' '})
	var b bytes.Buffer
	for line := range bytes.Lines(text) {
		if line = bytes.TrimRight(line, "\n"); len(bytes.TrimSpace(line)) > 0 {
			b.WriteString("data: ")
			b.Write(line)
			b.WriteByte('\n')
		}
	}
	b.WriteByte('\n')
	return b.Bytes()
}

// streams are the open streams of live pages. Viewers of the same page with the same API key share one reading.
type streams struct {
	most     int // streams at a time
	mu       sync.Mutex
	count    int
	sessions map[string]int // streams of each session
	regions  map[string]*region
}

// region is what all viewers of a live region see.
type region struct {
	name    string
	viewers int // guarded by streams.mu

	mu   sync.Mutex
	at   time.Time
	text []byte
}

// enter counts a stream of a session. It returns false if there are too many.
func (s *streams) enter(session string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.count >= s.most || s.sessions[session] >= livePages {
		return false
	}
	if s.sessions == nil {
		s.sessions = map[string]int{}
	}
	s.count++
	s.sessions[session]++
	return true
}

func (s *streams) leave(session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.count--
	if s.sessions[session]--; s.sessions[session] == 0 {
		delete(s.sessions, session)
	}
}

// open returns the region with a name, for one more viewer.
func (s *streams) open(name string) *region {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.regions == nil {
		s.regions = map[string]*region{}
	}
	if s.regions[name] == nil {
		s.regions[name] = &region{name: name}
	}
	s.regions[name].viewers++
	return s.regions[name]
}

// close forgets a region without viewers.
func (s *streams) close(r *region) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.viewers--; r.viewers == 0 {
		delete(s.regions, r.name)
	}
}

// read returns the text of the region. It calls render if the last text is old; other viewers wait for it.
func (r *region) read(ctx context.Context, render func(context.Context) []byte) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.at) >= liveEvery-liveEvery/10 {
		r.text, r.at = render(ctx), time.Now()
	}
	return r.text
}
