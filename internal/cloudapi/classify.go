package cloudapi

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"sluice/internal/message"
)

// maxRetryAfter is the maximum wait that a header can ask for.
const maxRetryAfter = time.Hour

// idLetters are the characters of both alphabets of base64.
const idLetters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=_-"

// ValidWAMID reports whether s has the form of Meta's message ids. Answers and webhooks with other ids are treated
// as if they had none, because Redis keys are made of the ids.
func ValidWAMID(s string) bool {
	rest, ok := strings.CutPrefix(s, "wamid.")
	return ok && rest != "" && len(rest) <= 512 && strings.Trim(rest, idLetters) == ""
}

// Classify returns the outcome of an attempt with a complete answer of the Graph API. Meta's error.code decides,
// through the catalogue. The HTTP status decides only if there is no known code. Texts never decide, because they
// are translated.
//
// Only an answer with a message id proves that Meta accepted the message. With a message id of an undocumented
// form the outcome is Accepted without a WAMID: a webhook will have it.
func Classify(status int, header http.Header, body []byte) message.Outcome {
	out, _ := classify(status, header, body)
	return out
}

// classify also returns the entry that decided. It is zero when the outcome is Accepted.
func classify(status int, header http.Header, body []byte) (message.Outcome, Entry) {
	a := readAnswer(body)
	switch {
	case success(status) && ValidWAMID(a.id):
		return message.Outcome{Kind: message.Accepted, WAMID: a.id, Reason: statusReason(a.status)}, Entry{}
	case a.err != nil && a.err.coded:
		return refused(status, header, *a.err)
	case success(status) && a.id != "":
		return message.Outcome{Kind: message.Accepted, Reason: "wamid_unreadable"}, Entry{}
	}
	e := notMeta
	switch {
	case success(status) && fromMeta(header):
		e = unreadable
	case success(status):
		e = notMeta2xx
	case status == http.StatusTooManyRequests:
		e = tooManyRequests
	case status == http.StatusUnauthorized:
		e = unauthorized
	case status >= 500 || status == http.StatusRequestTimeout:
		e = gatewayError
	}
	server := answeredBy(status, header)
	out := message.Outcome{
		Kind:       e.Kind,
		Limit:      limitOf(e),
		Hold:       holdOn(e),
		Unknown:    e.Kind == message.Held,
		RetryAfter: retryAfter(e, header),
		Reason:     "http " + strconv.Itoa(status),
		Detail:     message.ErrorDetail{Message: server},
		Err:        errors.New("answer without a Graph error code: " + server),
	}
	if a.err != nil {
		out.Detail = shown(a.err.detail)
		out.Detail.Message = strings.TrimSuffix(server+": "+out.Detail.Message, ": ")
	}
	if success(status) {
		out.Hold = message.HoldNumber // after several in a row
	}
	return out, e
}

// statusWord is the form of Meta's message_status.
var statusWord = regexp.MustCompile(`^[a-z_]{1,40}$`)

// statusReason returns the reason in a record for a message_status. It is empty for accepted, because the state
// says that.
func statusReason(status string) string {
	if status == "accepted" || !statusWord.MatchString(status) {
		return ""
	}
	return status
}

// refused returns the outcome of an answer with a Graph error code.
func refused(status int, header http.Header, g graphError) (message.Outcome, Entry) {
	e, known := lookup(g.code, g.subcode)
	if !known {
		e = unlisted(status, g.transient)
	}
	reason := "code " + strconv.Itoa(g.code)
	if e.Subcode != 0 {
		reason = "code " + e.Name()
	}
	detail := shown(g.detail)
	text := fmt.Sprintf("graph error %d: %s (HTTP %d", g.code, e.Title, status)
	if detail.Trace != "" {
		text += ", fbtrace_id " + detail.Trace // Meta's support asks for it
	}
	return message.Outcome{
		Kind:       e.Kind,
		Code:       g.code,
		Limit:      limitOf(e),
		Hold:       holdOn(e),
		Endless:    e.Endless,
		Unknown:    !known && (e.Kind == message.Refused || e.Kind == message.Held),
		Needs:      e.Needs,
		Outside:    e.Code == reengagement,
		RetryAfter: retryAfter(e, header),
		Reason:     reason,
		Detail:     detail,
		Err:        errors.New(text + ")"),
	}, e
}

const (
	maintenance  = 131057  // an account in maintenance, for example while its throughput is being raised
	moving       = 2494100 // a number that is being moved or registered
	reengagement = 131047  // the customer service window of the recipient is closed
)

func limitOf(e Entry) message.Limit {
	switch {
	case e.Code == maintenance || e.Code == moving:
		return message.LimitRest
	case e.Kind != message.Throttled:
		return ""
	case e.Scope == ScopeApp:
		return message.LimitApp
	case e.Scope == ScopeNumber:
		return message.LimitNumber
	case e.Scope == ScopePair:
		return message.LimitPair
	}
	return ""
}

func holdOn(e Entry) message.HoldOn {
	switch {
	case e.Kind != message.Held:
		return ""
	case e.Scope == ScopeTemplate:
		return message.HoldTemplate
	case e.Scope == ScopeNumber:
		return message.HoldNumber
	}
	return "" // an error of a narrower scope must not hold the number
}

// unlisted returns the entry for a code that is not in the catalogue.
func unlisted(status int, transient bool) Entry {
	switch {
	case status == http.StatusTooManyRequests:
		return tooManyRequests
	case status == http.StatusUnauthorized:
		return unauthorized
	case status < 400 || status >= 500 || status == http.StatusRequestTimeout:
		return unknownServerError
	case transient:
		return unknownTransient
	}
	return unknownCode
}

func success(status int) bool { return status >= 200 && status < 300 }

// retryAfter returns the minimum wait before the next attempt: the delay of the entry, or that of the headers if it
// is longer. For limits of an app, a token or an account the headers decide, even if they ask for less. Headers count
// only for throttling. Meta does not document Retry-After, but a gateway may send it. For the usage header see
// https://developers.facebook.com/docs/graph-api/overview/rate-limiting/
func retryAfter(e Entry, header http.Header) time.Duration {
	d := e.RetryAfter
	if e.Kind != message.Throttled {
		return d
	}
	asked := min(parseRetryAfter(header.Get("Retry-After")), maxRetryAfter)
	if e.Scope != ScopeApp {
		return max(d, asked)
	}
	// The usage header is about management calls. Limits of a number (130429) and of a pair (131056) must not
	// wait for those.
	asked = max(asked, min(regainAccess(header.Get("X-Business-Use-Case-Usage")), maxRetryAfter))
	return cmp.Or(asked, d)
}

// parseRetryAfter parses both forms of the header: seconds and a date. It returns 0 for other values.
func parseRetryAfter(s string) time.Duration {
	if seconds, err := strconv.ParseUint(s, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(s); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}

// regainAccess returns the longest estimated_time_to_regain_access in the header, which has minutes.
func regainAccess(s string) time.Duration {
	var usage map[string][]struct {
		Minutes float64 `json:"estimated_time_to_regain_access"`
	}
	if json.Unmarshal([]byte(s), &usage) != nil {
		return 0
	}
	longest := 0.0
	for _, entries := range usage {
		for _, u := range entries {
			longest = max(longest, u.Minutes)
		}
	}
	return time.Duration(min(longest, maxRetryAfter.Minutes()) * float64(time.Minute))
}
