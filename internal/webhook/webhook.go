// Package webhook receives Meta's webhooks. It verifies the signature, writes every item to the event stream,
// and answers 200 when all of them are durable. It changes no record: the reconciler does.
package webhook

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/tracing"
)

const (
	// maxBody is the maximum size of a POST. Meta's have at most 3 MB, see
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
	maxBody = 4 << 20
	// appendTimeout is the time limit for Redis. Meta retries a delivery whose answer is not 200.
	appendTimeout = 5 * time.Second
)

// stream stores events.
type stream interface {
	Append(ctx context.Context, events []message.Event) error
	Quarantine(ctx context.Context, body []byte, why string) error
}

// App has the secrets of a Meta app.
type App struct {
	Secrets     []string // app secrets that may sign, the current one first; the previous one during a rotation
	VerifyToken string   // the token of the handshake; empty: handshakes are refused
}

// Options configure a handler.
type Options struct {
	Apps func(name string) (App, bool) // returns the app of a path; called for each request, so apps may change
	// Track is called when a delivery arrives that may be from Meta, and done when it is answered: refused means
	// that nothing of it was stored, so Meta must retry it. May be nil.
	Track func() (done func(refused bool))
	// ClockOffset returns how far the clock of Redis is ahead of the clock of this machine; nil: not at all.
	ClockOffset func() time.Duration
	Tracer      *tracing.Tracer       // nil: no traces
	Registerer  prometheus.Registerer // nil: the metrics are not registered
	Log         *slog.Logger          // nil: no logs
}

type server struct {
	stream  stream
	apps    func(string) (App, bool)
	offset  func() time.Duration
	track   func() (done func(refused bool))
	log     *slog.Logger
	metrics metrics
	budget  budget
	logged  atomic.Int64 // Unix seconds of the last log line about a webhook without a valid signature
}

// overview is the answer to GET /. Anyone can read it.
const overview = `The webhook port of Sluice. Meta's webhooks for WhatsApp come here.

  GET  /webhooks/whatsapp/{app}  Meta's check of the verify token
  POST /webhooks/whatsapp/{app}  Meta's notifications, signed with the app secret

{app} is the name of the app in the configuration. docs/configuration.md and docs/reliability.md describe this port.
The API has a port of its own. It is described at /docs and /openapi.json there.
`

// NewHandler serves GET /, and GET and POST of /webhooks/whatsapp/{app}.
func NewHandler(s stream, o Options) http.Handler {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if o.ClockOffset == nil {
		o.ClockOffset = func() time.Duration { return 0 }
	}
	track := o.Track
	if track == nil {
		track = func() func(bool) { return func(bool) {} }
	}
	srv := &server{stream: s, apps: o.Apps, track: track, offset: o.ClockOffset, log: log, metrics: newMetrics(o.Registerer)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["X-Content-Type-Options"] = nosniff
		io.WriteString(w, overview)
	})
	mux.HandleFunc("GET /webhooks/whatsapp/{app}", srv.answer(srv.handshake))
	// Not in the trace of the caller: that is Meta, or a client without a valid signature.
	mux.HandleFunc("POST /webhooks/whatsapp/{app}", o.Tracer.Handler(http.MethodPost, "/webhooks/whatsapp/{app}", false, srv.answer(srv.receive)))
	return mux
}

var nosniff = []string{"nosniff"}

// answer finds the app of a request, answers with the status of its result, and counts the result.
func (s *server) answer(f func(http.ResponseWriter, *http.Request, App) result) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header()["X-Content-Type-Options"] = nosniff
		got := unknownApp
		if app, ok := s.apps(r.PathValue("app")); ok {
			got = f(w, r, app)
		}
		if got != handshakeDone {
			w.WriteHeader(got.status())
		}
		s.metrics.requests[got].Inc()
	}
}

// challenges are the challenges that handshake echoes. Meta's are digits.
var challenges = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// handshake answers Meta's check of the verify token, see
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/create-webhook-endpoint
func (s *server) handshake(w http.ResponseWriter, r *http.Request, app App) result {
	q := r.URL.Query()
	token := q["hub.verify_token"]
	if !slices.Equal(q["hub.mode"], []string{"subscribe"}) || len(token) != 1 || app.VerifyToken == "" || !same(token[0], app.VerifyToken) {
		return handshakeRefused
	}
	challenge := q["hub.challenge"]
	if len(challenge) != 1 || !challenges.MatchString(challenge[0]) {
		return challengeBad
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	io.WriteString(w, challenge[0])
	return handshakeDone
}

// same compares two strings in a time that does not depend on their contents or lengths.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// bodies pools buffers for bodies. No code keeps parts of a body after the answer.
var bodies = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// receive receives one notification. It verifies the signature before it parses the body.
func (s *server) receive(w http.ResponseWriter, r *http.Request, app App) (got result) {
	began := time.Now()
	signature := r.Header.Values(cloudapi.SignatureHeader)
	if len(signature) != 1 || !cloudapi.Signature(signature[0]) {
		return s.unsigned(r)
	}
	done := s.track()
	defer func() { done(got.refused()) }()
	b := &countedBody{Reader: http.MaxBytesReader(w, r.Body, maxBody), budget: &s.budget}
	defer b.release()
	buffer := bodies.Get().(*bytes.Buffer)
	defer func() {
		if buffer.Cap() <= smallBody {
			buffer.Reset()
			bodies.Put(buffer)
		}
	}()
	_, err := buffer.ReadFrom(b)
	body := buffer.Bytes()
	if err != nil {
		if errors.Is(err, errOverloaded) {
			return overloaded
		}
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return tooLarge
		}
		if e, ok := errors.AsType[net.Error](err); ok && e.Timeout() {
			return tooSlow
		}
		return unreadable
	}
	which, ok := cloudapi.Verify(signature[0], body, app.Secrets...)
	if !ok {
		return s.unsigned(r)
	}
	s.metrics.signedWith(which)
	got = s.store(r, body)
	if got.status() == http.StatusOK {
		s.metrics.ack.Observe(time.Since(began).Seconds())
	}
	return got
}

// store stores a signed notification durably.
func (s *server) store(r *http.Request, body []byte) result {
	ctx, cancel := context.WithTimeoutCause(r.Context(), appendTimeout, errors.New("redis took too long"))
	defer cancel()
	events, err := cloudapi.Events(body, time.Now().Add(s.offset()))
	got := accepted
	switch {
	case errors.Is(err, cloudapi.ErrOtherObject):
		return otherObject
	case err != nil:
		// After any status other than 200, Meta would retry it for days.
		got, err = quarantined, s.stream.Quarantine(ctx, body, err.Error())
	default:
		err = s.stream.Append(ctx, events)
	}
	if err != nil {
		s.log.Error("cannot store webhook, Meta will retry it", slog.String("app", r.PathValue("app")), slog.Any("err", err))
		return unavailable
	}
	s.metrics.wrote(events)
	return got
}

// unsigned counts a request without a valid signature. Anyone can send such requests, so it logs at most one
// line per minute.
func (s *server) unsigned(r *http.Request) result {
	s.metrics.badSignatures.Inc()
	now, last := time.Now().Unix(), s.logged.Load()
	if now >= last+60 && s.logged.CompareAndSwap(last, now) {
		s.log.Warn("webhook signature check failed; further failures of this minute are only counted", slog.String("app", r.PathValue("app")))
	}
	return badSignature
}
