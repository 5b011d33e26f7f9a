// Package tokenwatch watches the access tokens of numbers: it reports a new token, asks Meta when each token
// expires, and learns from Meta's answers to messages whether a token is valid.
package tokenwatch

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/observed"
)

const (
	// readEvery is how often the token files are read. While a number is held nothing is sent, so nothing
	// else reads its token.
	readEvery = 5 * time.Second
	// askEvery is how often Meta is asked about a token.
	askEvery = time.Hour
	// codeInvalid is Meta's error code for an access token that expired, was revoked, or is not valid.
	codeInvalid = 190
)

// Options say what a Watch works with. All fields are required.
type Options struct {
	Numbers    func() []string                                                   // the phone number ids
	Token      func(number string) (string, error)                               // reads the token of a number
	Ask        func(ctx context.Context, number string) (cloudapi.Token, error)  // asks Meta about the token of a number
	Changed    func(ctx context.Context, number string) error                    // is called for a new token; with an error again 5 s later
	Store      func(ctx context.Context, tokens map[string]observed.Token) error // stores what is known of the tokens of numbers, for operators
	Registerer prometheus.Registerer
	Log        *slog.Logger
}

// Watch watches access tokens. It is safe for concurrent use.
type Watch struct {
	Options
	expiry *prometheus.GaugeVec
	wake   chan struct{} // holds a token while Run is to look

	mu     sync.Mutex
	last   map[string]string         // the token of each number
	states map[string]*state         // by token: thousands of numbers may share one
	stored map[string]observed.Token // by number, what Store stored
}

// New returns a Watch, and registers its metric.
func New(o Options) *Watch {
	return &Watch{Options: o, expiry: newExpiry(o.Registerer), wake: make(chan struct{}, 1), last: map[string]string{}, states: map[string]*state{}, stored: map[string]observed.Token{}}
}

// state is what is known of a token.
type state struct {
	asked   time.Time      // when Meta was last asked about it; zero: ask at the next opportunity
	known   bool           // now says something
	at      time.Time      // since when
	now     cloudapi.Token // what Meta said last, in an answer about the token or to a message
	valid   cloudapi.Token // what Meta said last of it while it was valid
	answers int            // changes of now by answers to messages
}

func newExpiry(reg prometheus.Registerer) *prometheus.GaugeVec {
	g := prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "sluice_token_expiry_timestamp_seconds",
		Help: "Unix time at which the access token of the number expires, as Meta reports it. 0: the token is not valid. It becomes 0 when Meta refuses a message with code 190, and a date again when Meta accepts one. +Inf: the token does not expire.",
	}, []string{"phone_number_id"})
	reg.MustRegister(g)
	return g
}

// Look lets Run read the tokens now. It does not block.
func (w *Watch) Look() {
	select {
	case w.wake <- struct{}{}:
	default: // Run has yet to begin with an earlier call
	}
}

// Run watches until ctx ends, and returns nil.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(readEvery)
	defer tick.Stop()
	for {
		numbers := w.Numbers()
		for _, number := range numbers {
			w.check(ctx, number)
		}
		w.forget(numbers)
		w.store(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-w.wake:
		}
	}
}

// forget removes what is known of numbers that are not among those that there are.
func (w *Watch) forget(numbers []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	there := map[string]bool{}
	for _, n := range numbers {
		there[n] = true
	}
	for n := range w.last {
		if !there[n] {
			delete(w.last, n)
			w.expiry.DeleteLabelValues(n)
		}
	}
}

// Answered notes what Meta answered to a message of a number that was sent with a token: code 190 means that
// the token is not valid, an acceptance that it is. Other outcomes say nothing about it. It does not block.
func (w *Watch) Answered(number, token string, out message.Outcome) {
	valid := out.Kind == message.Accepted
	if !valid && out.Code != codeInvalid {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state(token)
	switch {
	case valid && (!s.known || s.now.Valid), !valid && s.known && !s.now.Valid:
		return // nothing new
	case valid:
		s.now, s.known, s.asked = s.valid, s.valid.Valid, time.Time{}
		w.Log.Info("access token is valid again", "phone_number_id", number)
	default:
		s.now, s.known = cloudapi.Token{}, true
		w.Log.Error("access token is not valid", "phone_number_id", number, "code", out.Code)
	}
	s.answers++
	s.at = time.Now()
	w.show(number, s)
	for other, its := range w.last {
		if its == token {
			w.show(other, s)
		}
	}
}

// check reports a new token of a number, and sets the metric of the number.
func (w *Watch) check(ctx context.Context, number string) {
	token, err := w.Token(number)
	if err != nil || token == "" {
		return // the sender logs the error
	}
	w.mu.Lock()
	last, known := w.last[number]
	w.mu.Unlock()
	if known && token != last {
		w.Log.Info("access token changed", "phone_number_id", number)
		if err := w.Changed(ctx, number); err != nil {
			w.Log.Error("cannot release the hold of a number with a new access token, will retry", "phone_number_id", number, "err", err)
			return
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last[number] = token
	s := w.state(token)
	if time.Since(s.asked) >= askEvery {
		w.ask(ctx, number, s)
	}
	w.show(number, s)
}

// ask asks Meta about the token of a number, and notes the answer unless the answer to a message is newer. The caller
// holds mu, which ask gives up while it waits.
func (w *Watch) ask(ctx context.Context, number string, s *state) {
	answers := s.answers
	s.asked = time.Now()
	w.mu.Unlock()
	got, err := w.Ask(ctx, number)
	w.mu.Lock()
	switch {
	case err != nil: // what was known may still be true
		w.Log.Warn("cannot read from Meta when an access token expires", "phone_number_id", number, "err", err)
		return
	case answers != s.answers:
		return
	case !got.Valid:
		w.Log.Error("access token is not valid", "phone_number_id", number)
	default:
		s.valid = got
	}
	s.now, s.known, s.at = got, true, time.Now()
}

// store stores what is known of the tokens of numbers, of those where it is new.
func (w *Watch) store(ctx context.Context) {
	fresh := map[string]observed.Token{}
	w.mu.Lock()
	for number, token := range w.last {
		s := w.states[token]
		if t := (observed.Token{Valid: s.now.Valid, Expires: s.now.Expires, At: s.at}); s.known && t != w.stored[number] {
			fresh[number] = t
		}
	}
	w.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	if err := w.Store(ctx, fresh); err != nil {
		if ctx.Err() == nil {
			w.Log.Warn("cannot store when access tokens expire, will retry", "err", err)
		}
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.Copy(w.stored, fresh)
}

// state returns what is known of a token. The caller holds mu.
func (w *Watch) state(token string) *state {
	s := w.states[token]
	if s == nil {
		s = &state{}
		w.states[token] = s
	}
	return s
}

// show sets the metric of a number. The caller holds mu.
func (w *Watch) show(number string, s *state) {
	switch {
	case !s.known:
		w.expiry.DeleteLabelValues(number)
	case !s.now.Valid:
		w.expiry.WithLabelValues(number).Set(0)
	case s.now.Expires.IsZero():
		w.expiry.WithLabelValues(number).Set(math.Inf(1))
	default:
		w.expiry.WithLabelValues(number).Set(float64(s.now.Expires.Unix()))
	}
}
