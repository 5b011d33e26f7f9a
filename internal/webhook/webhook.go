// Package webhook takes Meta's webhooks in: it checks that Meta sent them, writes everything
// they tell to the event stream, and answers 200 once that is durable. It decides nothing.
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
)

const (
	// maxBody bounds a POST. Meta's are 3 MB at most, see
	// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/overview
	maxBody = 4 << 20
	// appendTimeout bounds the wait for Redis. Meta repeats what was not answered with 200.
	appendTimeout = 5 * time.Second
)

// stream is where the events go.
type stream interface {
	Append(ctx context.Context, events []message.Event) error
	Quarantine(ctx context.Context, body []byte, why string) error
}

// App is what a Meta app shares with us.
type App struct {
	Secrets     []string // app secrets that may sign, the current one first; a second one while rotating
	VerifyToken string   // proves a handshake; empty: no handshake is answered
}

// Options say whose webhooks are taken.
type Options struct {
	Apps  func(name string) (App, bool)    // the app of a path; asked at every request, so it may change
	Track func() (done func(refused bool)) // called when a delivery that may be Meta's arrives, and done when it is answered: whether its repeat is needed; nil: nobody asks
	// ClockOffset is how far the store's clock is ahead of this machine's; nil: not at all.
	ClockOffset func() time.Duration
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
	crowd   crowd
	told    atomic.Int64 // when a webhook without a valid signature was last in the log, Unix seconds
}

// overview is the answer of GET /. The world can read it.
const overview = `The webhook port of Sluice. Meta's webhooks for WhatsApp come here.

  GET  /webhooks/whatsapp/{app}  Meta's check of the verify token
  POST /webhooks/whatsapp/{app}  Meta's notifications, signed with the app secret

{app} is the name of the app in the configuration. docs/configuration.md and docs/reliability.md describe this port.
The API has a port of its own. It is described at /docs and /openapi.json there.
`

// NewHandler serves GET / and GET and POST of /webhooks/whatsapp/{app}.
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
	mux.HandleFunc("POST /webhooks/whatsapp/{app}", srv.answer(srv.receive))
	return mux
}

var nosniff = []string{"nosniff"}

// answer finds the app of a request, and counts what became of the request.
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

// challenges are what we are ready to echo; Meta's are digits.
var challenges = regexp.MustCompile(`^[A-Za-z0-9_-]{1,256}$`)

// handshake proves to Meta that the address is ours, see
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

// same compares in a time that tells neither where the two differ nor their lengths.
func same(a, b string) bool {
	x, y := sha256.Sum256([]byte(a)), sha256.Sum256([]byte(b))
	return subtle.ConstantTimeCompare(x[:], y[:]) == 1
}

// bodies are buffers for bodies. Nothing keeps parts of a body once it is answered.
var bodies = sync.Pool{New: func() any { return &bytes.Buffer{} }}

// receive takes one notification. Nothing of the body is looked at before its signature.
func (s *server) receive(w http.ResponseWriter, r *http.Request, app App) (got result) {
	began := time.Now()
	signature := r.Header.Values(cloudapi.SignatureHeader)
	if len(signature) != 1 || !cloudapi.Signature(signature[0]) {
		return s.unsigned(r)
	}
	done := s.track()
	defer func() { done(got.repeated()) }()
	b := &stranger{Reader: http.MaxBytesReader(w, r.Body, maxBody), crowd: &s.crowd}
	defer b.forget()
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
		if errors.Is(err, errCrowded) {
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
	got = s.keep(r, body)
	if got.status() == http.StatusOK {
		s.metrics.ack.Observe(time.Since(began).Seconds())
	}
	return got
}

// keep makes a genuine notification durable.
func (s *server) keep(r *http.Request, body []byte) result {
	ctx, cancel := context.WithTimeoutCause(r.Context(), appendTimeout, errors.New("redis took too long"))
	defer cancel()
	events, err := cloudapi.Events(body, time.Now().Add(s.offset()))
	got := accepted
	switch {
	case errors.Is(err, cloudapi.ErrOtherObject):
		return otherObject
	case err != nil:
		// Anything but 200 would make Meta repeat it for days.
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

// unsigned counts what Meta did not sign. Anybody can send that, so the log has one line of it a
// minute at most.
func (s *server) unsigned(r *http.Request) result {
	s.metrics.badSignatures.Inc()
	now, last := time.Now().Unix(), s.told.Load()
	if now >= last+60 && s.told.CompareAndSwap(last, now) {
		s.log.Warn("webhook signature check failed; further failures of this minute are only counted", slog.String("app", r.PathValue("app")))
	}
	return badSignature
}
