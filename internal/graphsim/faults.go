package graphsim

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"
)

// Faults are the random faults of messages. Rates are shares of all valid
// messages, 0 to 1. They exclude each other, so that together they are at most 1.
type Faults struct {
	Latency     Span    `json:"latency"`      // from arrival to answer; a message is accepted on arrival
	Throttle    float64 `json:"throttle"`     // refused as too fast: 400, code 130429
	ErrorBefore float64 `json:"error_before"` // not accepted; 500 with code 131000 or 131016, or a gateway's 502 in HTML
	ErrorAfter  float64 `json:"error_after"`  // accepted, but answered 500 with code 131000
	Lost        float64 `json:"lost"`         // accepted, and the connection closed without an answer
	Reset       float64 `json:"reset"`        // not accepted, and the connection reset
	Hang        float64 `json:"hang"`         // never answered; every other one is accepted
	Questions   Span    `json:"questions"`    // from arrival to answer of a read call about a number or an account
	Portal      float64 `json:"portal"`       // not accepted; a network's sign-in page, in HTML with 200
}

// Validate returns what is wrong with the rates, or nil.
func (f Faults) Validate() error {
	sum := 0.0
	for _, rate := range []float64{f.Throttle, f.ErrorBefore, f.ErrorAfter, f.Lost, f.Reset, f.Hang, f.Portal} {
		if !(rate >= 0 && rate <= 1) {
			return fmt.Errorf("fault rate %v is not between 0 and 1", rate)
		}
		sum += rate
	}
	if sum > 1+1e-9 {
		return errors.New("fault rates add up to more than 1")
	}
	return nil
}

// Span is a random duration between Min and Max, evenly distributed. It is always Min if Max is not larger.
// As text it is "20ms" or "20ms..80ms".
type Span struct{ Min, Max time.Duration }

// MarshalText writes the span as text.
func (s Span) MarshalText() ([]byte, error) {
	if s.Max <= s.Min {
		return []byte(s.Min.String()), nil
	}
	return []byte(s.Min.String() + ".." + s.Max.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (s *Span) UnmarshalText(text []byte) error {
	low, high, two := strings.Cut(string(text), "..")
	if !two {
		high = low
	}
	least, err := time.ParseDuration(low)
	if err != nil {
		return fmt.Errorf("span: %w", err)
	}
	most, err := time.ParseDuration(high)
	if err != nil {
		return fmt.Errorf("span: %w", err)
	}
	if least < 0 || most < least {
		return fmt.Errorf("span %q is negative or upside down", text)
	}
	*s = Span{least, most}
	return nil
}

func (s Span) draw(r *rand.Rand) time.Duration {
	x := r.Float64() // also when constant, so that the next random number stays the same
	if s.Max <= s.Min {
		return s.Min
	}
	return s.Min + time.Duration(x*float64(s.Max-s.Min))
}

// The ways to end a call other than by an answer of the Graph API. They are labels too.
const (
	gateway = "gateway" // a gateway's 502 in HTML
	lost    = "lost"    // connection closed
	reset   = "reset"   // connection reset
	hang    = "hang"    // nothing, until the client leaves
	portal  = "portal"  // the sign-in page of a network: 200 in HTML
	empty   = "empty"   // a proxy's 204, without a body
	mute    = "mute"    // the Graph API's 200 that names no message: {"success": true}
	cut     = "cut"     // the Graph API's 200, its JSON cut off
)

// fate is the result of a valid message.
type fate struct {
	taken  bool   // it is accepted and gets a wamid
	code   int    // Graph error code of the answer; 0: success
	ending string // instead of an answer; empty: answered
	status string // message_status of a template; empty: accepted
	after  int    // with code: seconds in Retry-After; 0: no such header
	failed int    // Graph error code of a failed webhook; 0: it is delivered
	silent bool   // no webhook about it is sent
}

// allEndings are the ways to end a call other than by an answer of the Graph API.
var allEndings = []string{gateway, lost, reset, hang, portal, empty, mute, cut}

// magic is the beginning of the magic numbers. The six digits after it decide the result of their messages. No
// country has the code 999, so that no real number, and no sequence of invented ones, is magic by accident.
const magic = "99999"

// endings are the results of messages to magic numbers, by the last six digits.
var endings = map[string]fate{
	// Accepted, and reported as failed with the code in the number.
	"130472": {taken: true, failed: 130472},
	"131026": {taken: true, failed: 131026},
	"131047": {taken: true, failed: reengagement}, // a template is delivered
	"131049": {taken: true, failed: 131049},
	"131050": {taken: true, failed: 131050},
	"131053": {taken: true, failed: 131053},
	// Refused with the code in the number.
	"000190": {code: 190},
	"131009": {code: 131009},
	"131042": {code: 131042},
	"131056": {code: 131056},
	"132001": {code: 132001},
	"132015": {code: 132015},
	// Ambiguous answers and missing reports.
	"900001": {code: 131000},
	"900002": {ending: gateway},
	"900003": {taken: true, code: 131000},
	"900004": {taken: true, ending: lost},
	"900005": {ending: reset},
	"900006": {ending: hang},
	"900007": {taken: true, ending: hang},
	"900008": {taken: true, silent: true},
	"900009": {ending: portal},
	"900010": {ending: empty},
	"900011": {taken: true, ending: mute},
	"900012": {taken: true, ending: cut},
	"900013": {code: 987654},
	"900014": {taken: true, failed: 987654},
	"900015": {taken: true, status: heldForQuality, silent: true},
}

// decide chooses randomly the result of a message and how long its answer takes. It uses the same number of random
// numbers for every message, so that one more fault does not change the results of all later messages.
func (s *Sim) decide(recipient string) (fate, time.Duration) {
	s.mu.Lock()
	f, x, coin, latency := s.faults, s.chance.Float64(), s.chance.IntN(6), s.faults.Latency.draw(s.chance)
	s.mu.Unlock()

	if digits, is := strings.CutPrefix(recipient, magic); is {
		if known, ok := endings[digits]; ok {
			return known, latency
		}
	}
	before := []fate{{code: 131000}, {code: 131016}, {ending: gateway}}
	for _, fault := range []struct {
		rate float64
		fate fate
	}{
		{f.Throttle, fate{code: 130429}},
		{f.ErrorBefore, before[coin%len(before)]},
		{f.ErrorAfter, fate{taken: true, code: 131000}},
		{f.Lost, fate{taken: true, ending: lost}},
		{f.Reset, fate{ending: reset}},
		{f.Hang, fate{taken: coin%2 == 0, ending: hang}},
		{f.Portal, fate{ending: portal}},
	} {
		if x < fault.rate {
			return fault.fate, latency
		}
		x -= fault.rate
	}
	return fate{taken: true}, latency
}

// slowly waits for the latency of a read call. It returns false if the client left first.
func (s *Sim) slowly(ctx context.Context) bool {
	s.mu.Lock()
	span := s.faults.Questions
	s.mu.Unlock()
	return span == (Span{}) || wait(ctx, s.draw(span))
}

// draw returns a random duration from a span of a script.
func (s *Sim) draw(span Span) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return span.draw(s.chance)
}

// end ends a call without an answer of the Graph API.
func end(w http.ResponseWriter, r *http.Request, how string) {
	if how == gateway || how == portal || how == empty { // another server answers in place of Meta
		clear(w.Header())
	}
	switch how {
	case portal:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Server", "nginx")
		fmt.Fprint(w, "<html><head><title>Sign in to the network</title></head><body><form>...</form></body></html>\n")
	case empty:
		w.WriteHeader(http.StatusNoContent)
	case mute:
		writeJSON(w, http.StatusOK, map[string]bool{"success": true})
	case cut:
		w.Header().Set("Content-Type", "application/json; charset=UTF-8")
		w.Header().Set("Content-Length", "200")
		fmt.Fprint(w, `{"messaging_product":"whatsapp","contacts":[{"inp`) // net/http then closes the connection
	case gateway:
		w.Header().Set("Content-Type", "text/html")
		w.WriteHeader(http.StatusBadGateway)
		fmt.Fprint(w, "<html><head><title>502 Bad Gateway</title></head><body><h1>502 Bad Gateway</h1></body></html>\n")
	case hang:
		<-r.Context().Done()
	default:
		hangUp(w, how == reset)
	}
}

// hangUp closes the connection of a call, by a reset or normally.
func hangUp(w http.ResponseWriter, byReset bool) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler) // not HTTP/1: net/http ends the stream
	}
	if tcp, ok := conn.(*net.TCPConn); ok && byReset {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// wait waits for d. It returns false if ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
