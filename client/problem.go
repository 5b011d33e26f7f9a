package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Codes of a Problem that programs often handle. docs/api.md lists all codes.
const (
	CodeNotFound     = "not_found"              // there is no such message, or its record was removed
	CodeKeyReused    = "idempotency_key_reused" // another message has the key
	CodeCursorTooOld = "cursor_too_old"         // events were dropped before they were read; see Problem.FirstCursor
	CodeUnknown      = "unknown"                // the answer is from another program than Sluice, for example a proxy
)

// Problem is the error of a refused request: a problem document (RFC 9457).
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`  // the name of the HTTP status
	Status int    `json:"status"` // the HTTP status
	Detail string `json:"detail"` // what failed and why, for people
	Code   string `json:"code"`   // for programs: the code of the first mistake. It does not change between versions

	Errors      []Mistake `json:"errors"`                 // all mistakes, up to 20
	RequestID   string    `json:"request_id,omitempty"`   // also in the log of Sluice
	FirstCursor string    `json:"first_cursor,omitempty"` // with CodeCursorTooOld: the first available cursor
	FirstAt     time.Time `json:"first_at,omitzero"`      // with CodeCursorTooOld: the time of the first available event; zero: there is none

	RetryAfter time.Duration `json:"-"` // when to try again, from the header Retry-After; 0: Sluice does not say it
}

// Mistake is one mistake in a request.
type Mistake struct {
	Path   string `json:"path"`   // the place, for example message.text.body; empty: the whole request
	Code   string `json:"code"`   // for programs
	Detail string `json:"detail"` // what is wrong, and the rule
	Fix    string `json:"fix"`    // what to do
}

// Error returns the status, the code, and each mistake with its correction on a line of its own.
func (p *Problem) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s: %s", p.Status, p.Code, p.Detail)
	for _, e := range p.Errors {
		if e.Path == "" { // about the whole request: Detail says it
			fmt.Fprintf(&b, "\n  %s", e.Fix)
			continue
		}
		fmt.Fprintf(&b, "\n  %s: %s %s", e.Path, e.Detail, e.Fix)
	}
	return b.String()
}

// problemOf reads an error answer.
func problemOf(resp *http.Response, answer []byte) *Problem {
	p := &Problem{Code: CodeUnknown, Detail: "the answer is not from Sluice. Check that the URL is that of its API or console."}
	json.Unmarshal(answer, p) // another form of answer leaves p as it is
	p.Status = resp.StatusCode
	after := resp.Header.Get("Retry-After")
	if seconds, err := strconv.ParseUint(after, 10, 31); err == nil {
		p.RetryAfter = time.Duration(seconds) * time.Second
	} else if at, err := http.ParseTime(after); err == nil {
		p.RetryAfter = max(time.Until(at), 0)
	}
	return p
}

// UnsureError means that it is not known whether Sluice accepted messages: the answer was lost. errors.As finds the last
// failure in it, for example a *Problem.
type UnsureError struct {
	// Messages have no result. Send them again as they are, with the same keys: Sluice accepts each key once.
	Messages []Message
	Err      error // the last failure
}

// Error says what to do, with the key if there is one message.
func (e *UnsureError) Error() string {
	what := fmt.Sprintf("%d messages may or may not have been accepted. Send them again with the same keys", len(e.Messages))
	switch {
	case len(e.Messages) == 1 && e.Messages[0].Key == "":
		what = "the message may or may not have been accepted, and it has no key. Look for it before you send it again"
	case len(e.Messages) == 1:
		what = fmt.Sprintf("the message may or may not have been accepted. Send it again with the same key, %q", e.Messages[0].Key)
	}
	return what + ". The last failure: " + e.Err.Error()
}

// Unwrap returns the last failure.
func (e *UnsureError) Unwrap() error { return e.Err }

// unsure reports whether Sluice may have accepted a message although the request failed with this error.
func unsure(err error) bool {
	if p, ok := errors.AsType[*Problem](err); ok {
		return p.Status >= 500 && p.Code != "overloaded" && p.Code != "stopping"
	}
	call, ok := errors.AsType[*callError](err)
	return ok && call.sent
}
