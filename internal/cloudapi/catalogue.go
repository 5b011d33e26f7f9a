package cloudapi

import (
	"slices"
	"strconv"
	"time"

	"sluice/internal/message"
)

// Scope is what an error is about, and so which other messages will fail too.
type Scope string

// The scopes, from the narrowest to the widest.
const (
	ScopeMessage   Scope = "message"   // this message only
	ScopeRecipient Scope = "recipient" // all messages to this recipient
	ScopePair      Scope = "pair"      // messages from this number to this recipient
	ScopeTemplate  Scope = "template"  // messages with this template or its flow
	ScopeNumber    Scope = "number"    // all messages from this number
	ScopeApp       Scope = "app"       // all messages of this app or account
)

// Source is where Meta reports an error.
type Source string

// The sources of errors.
const (
	FromAnswer  Source = "answer"  // in the answer to the POST
	FromWebhook Source = "webhook" // in a failed status
	FromBoth    Source = "both"
	FromInbound Source = "inbound" // in an inbound message; no message of Sluice failed
)

// NoCode is the Code of the entries of Fallbacks. It is not 0, because 0 is one of Meta's codes.
const NoCode = -1

// Entry describes one of Meta's error codes.
type Entry struct {
	Code       int           // Meta's error.code, or NoCode
	Subcode    int           // for the code with two meanings; 0: any subcode
	Last       int           // for a range, its last code; 0: not a range
	Title      string        // Meta's title
	Meaning    string        // what the code means
	Advice     string        // what an operator does about it
	Status     int           // the HTTP status that Meta documents; 0: none. Not used to classify known codes
	Kind       message.Kind  // the outcome of an attempt with this code
	Scope      Scope         // what the error is about
	From       Source        // where Meta reports it
	Endless    bool          // with Kind Held: the fault is permanent until an operator corrects it
	RetryAfter time.Duration // the minimum wait before the next attempt; 0: by the schedule of retries
	Needs      message.Route // the route that the message needs, if it is on another one, or message.OtherVersion; empty: the route is not the cause
}

// Name returns the code as a text: "131026", "100/33", "200-299". It is "other" for an entry without a code.
func (e Entry) Name() string {
	switch {
	case e.Code == NoCode:
		return "other"
	case e.Last != 0:
		return strconv.Itoa(e.Code) + "-" + strconv.Itoa(e.Last)
	case e.Subcode != 0:
		return strconv.Itoa(e.Code) + "/" + strconv.Itoa(e.Subcode)
	}
	return strconv.Itoa(e.Code)
}

// Lookup returns the entry of a code, or of the range that has it. It is false for unknown codes.
func Lookup(code int) (Entry, bool) {
	return lookup(code, 0)
}

// Passes reports whether a code is for a temporary fault. After an answer with such a code Sluice retries. In a
// failed status it means that Meta accepted the message and did not deliver it.
func Passes(code int) bool {
	e, _ := Lookup(code)
	return e.Kind == message.Throttled || e.Kind == message.Transient || e.Kind == message.ServerError
}

// lookup prefers an entry with the subcode. Without one it returns the entry of the code: Meta has deprecated
// subcodes.
func lookup(code, subcode int) (Entry, bool) {
	var found Entry
	ok := false
	for _, e := range byCode[code] {
		if e.Subcode == 0 {
			found, ok = e, true
		}
		if subcode != 0 && e.Subcode == subcode {
			return e, true
		}
	}
	return found, ok
}

// Catalogue returns the entries of all known codes, in ascending order. The caller may change the slice.
func Catalogue() []Entry { return slices.Clone(codes) }

// Fallbacks returns the entries for answers without a known code, in the order in which they are tried. The caller
// may change the slice.
func Fallbacks() []Entry {
	return []Entry{tooManyRequests, unauthorized, unknownServerError, unknownTransient, unknownCode, gatewayError, notMeta, unreadable, notMeta2xx}
}

// byCode indexes codes. A range has an entry for each of its codes.
var byCode = func() map[int][]Entry {
	m := map[int][]Entry{}
	for _, e := range codes {
		for code := e.Code; code <= max(e.Code, e.Last); code++ {
			m[code] = append(m[code], e)
		}
	}
	return m
}()
