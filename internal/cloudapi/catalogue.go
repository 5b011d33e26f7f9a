package cloudapi

import (
	"slices"
	"strconv"
	"time"

	"sluice/internal/message"
)

// Scope says what an error is about, and so what else will meet it.
type Scope string

// The scopes, from the narrowest to the widest.
const (
	ScopeMessage   Scope = "message"   // this message only
	ScopeRecipient Scope = "recipient" // any message to this person or group
	ScopePair      Scope = "pair"      // messages from this number to this person
	ScopeTemplate  Scope = "template"  // messages made from this template, or with its flow
	ScopeNumber    Scope = "number"    // everything from this number
	ScopeApp       Scope = "app"       // everything sent with this app or account
)

// Source says where Meta gives an error.
type Source string

// The sources of errors.
const (
	FromAnswer  Source = "answer"  // in the answer to the POST
	FromWebhook Source = "webhook" // later, in a failed status
	FromBoth    Source = "both"
	FromInbound Source = "inbound" // with a message a person sent us; nothing of ours failed
)

// NoCode is the Code of an entry of Fallbacks. Zero would not do: 0 is one of Meta's codes.
const NoCode = -1

// Entry is what we know of one of Meta's error codes.
type Entry struct {
	Code       int           // Meta's error.code, or NoCode
	Subcode    int           // for the one code that means two things; 0: any subcode
	Last       int           // for a range, its last code; 0: not a range
	Title      string        // Meta's name for it
	Meaning    string        // what Meta means by it, in our words
	Advice     string        // what an operator does about it
	Status     int           // the HTTP status Meta documents; 0: none. Never used to classify a known code
	Kind       message.Kind  // what an answer with this code is for the attempt
	Scope      Scope         // what it is about
	From       Source        // where Meta gives it
	Endless    bool          // when Held: it does not pass by itself
	RetryAfter time.Duration // wait at least this long before the next attempt; 0: by the schedule
}

// Name returns the code as people write it: "131026", "100/33", "200-299". It is "other"
// for an entry without a code.
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

// Lookup returns the entry of one of Meta's codes. It is false for codes that cannot come
// from sending a message. For a code within a range it returns the range's entry.
func Lookup(code int) (Entry, bool) {
	return lookup(code, 0)
}

// Passes reports whether a code is for a fault that passes by itself: in an answer Sluice sends the message
// again. Of a message that Meta took it says, by webhook, that it was not delivered.
func Passes(code int) bool {
	e, _ := Lookup(code)
	return e.Kind == message.Throttled || e.Kind == message.Transient || e.Kind == message.ServerError
}

// lookup prefers an entry made for the subcode. A code needs no subcode to be known: Meta
// has deprecated them.
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

// Catalogue returns every code we know, in ascending order. The slice is the caller's.
func Catalogue() []Entry { return slices.Clone(codes) }

// Fallbacks returns what an answer is taken for when it carries no code we know, in the
// order in which the cases are tried. The slice is the caller's.
func Fallbacks() []Entry {
	return []Entry{tooManyRequests, unauthorized, unknownServerError, unknownTransient, unknownCode, gatewayError, notMeta, unreadable, notMeta2xx}
}

// byCode indexes codes; a range appears under each code in it.
var byCode = func() map[int][]Entry {
	m := map[int][]Entry{}
	for _, e := range codes {
		for code := e.Code; code <= max(e.Code, e.Last); code++ {
			m[code] = append(m[code], e)
		}
	}
	return m
}()
