package cloudapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"sluice/internal/message"
)

// answer is what we read of an answer of the Graph API. A member of another type than Meta documents
// is read where its meaning is plain, a code that comes as text say, and is left out elsewhere: it
// must not hide its neighbours.
type answer struct {
	id     string      // messages[0].id, whatever its form; empty: the answer names no message
	status string      // messages[0].message_status
	err    *graphError // nil: there is none
}

type graphError struct {
	code      int
	coded     bool // there is a code: 0 is one of Meta's
	subcode   int
	transient bool
	detail    message.ErrorDetail // as Meta wrote it: see shown
}

// readAnswer reads an answer. What is not a JSON object tells nothing.
func readAnswer(body []byte) (a answer) {
	body = bytes.TrimSpace(bytes.TrimPrefix(body, []byte("\ufeff")))
	if !json.Valid(body) {
		return answer{}
	}
	p := parts{ends: endsOf(body)}
	for name, raw := range p.members(body) {
		switch string(name) {
		case "messages":
			if all := slices.Collect(p.elements(raw)); len(all) > 0 {
				a.id, a.status = p.message(all[0])
			}
		case "error":
			a.err = p.graphError(raw)
		}
	}
	return a
}

// message reads the message that an answer names.
func (p *parts) message(raw json.RawMessage) (id, status string) {
	for name, raw := range p.members(raw) {
		switch string(name) {
		case "id":
			id = text(raw)
		case "message_status":
			status = text(raw)
		}
	}
	return id, status
}

// graphError reads an error, of an answer or of a webhook, which call some members differently.
func (p *parts) graphError(raw json.RawMessage) *graphError {
	switch raw[0] {
	case 'n', 'f': // null, false
		return nil
	case '{':
	default:
		return &graphError{detail: message.ErrorDetail{Message: text(raw)}}
	}
	var g graphError
	var title, forUser string
	for name, raw := range p.members(raw) {
		switch string(name) {
		case "code":
			g.code, g.coded = whole(raw)
		case "error_subcode":
			g.subcode, _ = whole(raw)
		case "is_transient":
			g.transient = string(raw) == "true" || text(raw) == "true"
		case "fbtrace_id":
			g.detail.Trace = text(raw)
		case "message":
			g.detail.Message = text(raw)
		case "title", "error_user_title":
			title = text(raw)
		case "error_user_msg":
			forUser = text(raw)
		case "error_data":
			g.detail.Details = text(raw)
			if raw[0] == '{' {
				for name, raw := range p.members(raw) {
					if string(name) == "details" {
						g.detail.Details = text(raw)
					}
				}
			}
		}
	}
	if g.detail.Message == "" {
		g.detail.Message = title
	}
	if g.detail.Details == "" {
		g.detail.Details = forUser
	}
	g.detail.Subcode = g.subcode
	return &g
}

// whole reads a whole number, also one that is written as a string.
func whole(raw json.RawMessage) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(text(raw)))
	return n, err == nil
}

// What a record keeps of Meta's words, in bytes.
const (
	maxMessage = 256
	maxDetails = 512
	maxTrace   = 64
	maxHeader  = 64
)

// shown makes Meta's words fit to be kept and shown, see message.ErrorDetail.
func shown(d message.ErrorDetail) message.ErrorDetail {
	d.Message, d.Details = presentable(d.Message, maxMessage), presentable(d.Details, maxDetails)
	if len(d.Trace) > maxTrace || strings.Trim(d.Trace, idLetters) != "" {
		d.Trace = "" // it is none
	}
	return d
}

// phones are what may be the digits of a recipient: a phone number with its plus, or seven digits and
// more in a row, of any script. A number after # is an error code.
var phones = regexp.MustCompile(`#\p{Nd}+|\+\p{Nd}{1,15}(?:[ ().-]{1,3}\p{Nd}{1,5})*|\p{Nd}{7,}`)

// presentable masks what may be a recipient, escapes what does not print, and cuts a text to a length
// in bytes.
func presentable(s string, most int) string {
	if len(s) > 4*most { // no more than that can be left of it
		s = strings.ToValidUTF8(s[:4*most], "")
	}
	s = phones.ReplaceAllStringFunc(s, func(found string) string {
		switch n := utf8.RuneCountInString(found); {
		case found[0] == '#' || n < 7:
			return found
		case n < len(found): // digits of another script, several bytes each
			return "***"
		}
		return message.Mask(found)
	})
	var b strings.Builder
	for _, r := range s {
		one := string(r)
		if !strconv.IsPrint(r) {
			one = strings.Trim(strconv.QuoteRune(r), "'")
		}
		if b.Len()+len(one) > most-len("…") {
			b.WriteString("…")
			break
		}
		b.WriteString(one)
	}
	return b.String()
}

// answered says who gave an answer that is not the Graph API's, by what it says of itself.
func answered(status int, header http.Header) string {
	who := fmt.Sprintf("HTTP %d", status)
	for _, name := range []string{"Content-Type", "Server", "Via"} {
		if value := header.Get(name); value != "" {
			who += ", " + name + ` "` + presentable(value, maxHeader) + `"`
		}
	}
	return who
}

// metaHeaders are headers that the Graph API sends with each of its answers, and what stands between
// us and it does not. https://developers.facebook.com/docs/graph-api/guides/error-handling
var metaHeaders = []string{"Facebook-Api-Version", "X-Fb-Trace-Id", "X-Fb-Request-Id", "X-Fb-Rev", "X-Fb-Debug"}

// fromMeta reports whether the Graph API says that it gave an answer.
func fromMeta(header http.Header) bool {
	for _, name := range metaHeaders {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}
