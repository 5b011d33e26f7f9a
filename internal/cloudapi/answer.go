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
	"unicode"
	"unicode/utf8"

	"sluice/internal/message"
)

// answer is the parts of an answer of the Graph API that Sluice uses. A member of an undocumented type is read if
// its meaning is clear, for example a code as a string. Otherwise it is ignored, and the other members are read.
type answer struct {
	id     string      // messages[0].id in any form; empty: the answer has no message
	status string      // messages[0].message_status
	err    *graphError // nil: there is none
}

type graphError struct {
	code      int
	coded     bool // there is a code; 0 is one of Meta's codes
	subcode   int
	transient bool
	detail    message.ErrorDetail // unchanged; use shown before storing it
}

// readAnswer parses an answer. It is empty if the body is not a JSON object.
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

// message reads the id and the status of a message in an answer.
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

// graphError reads an error of an answer or of a webhook. Some members have different names in the two.
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

// whole reads an integer, which may be a JSON number or a string.
func whole(raw json.RawMessage) (int, bool) {
	n, err := strconv.Atoi(strings.TrimSpace(text(raw)))
	return n, err == nil
}

// Limits of Meta's texts in a record, in bytes.
const (
	maxMessage = 256
	maxDetails = 512
	maxTrace   = 64
	maxHeader  = 64
)

// shown returns Meta's texts so that they can be stored and shown: masked, escaped and cut. See
// message.ErrorDetail.
func shown(d message.ErrorDetail) message.ErrorDetail {
	d.Message, d.Details = presentable(d.Message, maxMessage), presentable(d.Details, maxDetails)
	if len(d.Trace) > maxTrace || strings.Trim(d.Trace, idLetters) != "" {
		d.Trace = "" // it is not a trace id
	}
	return d
}

// phones matches what may be the phone number of a recipient, in any script: digits after a plus, groups of digits with a
// space, a hyphen, a full stop or a bracket between them, or at least seven digits in a row. It also matches what is none:
// a number after #, which is an error code, and a date.
var phones = regexp.MustCompile(`#\p{Nd}+|` + date + `|\+\p{Nd}{1,15}(?:[ ().-]{1,3}\p{Nd}{1,5})*|\p{Nd}+(?:(?:[ .-]|\)[ .-]?| ?\()\p{Nd}+)+|\p{Nd}{7,}`)

// date matches 2026-11-29, and 29.11.2026 or 11-29-2026.
const date = `\b(?:19|20)\d\d-[01]\d-[0-3]\d\b|\b[0-3]?\d[.-][0-3]?\d[.-](?:19|20)\d\d\b`

var (
	dates = regexp.MustCompile(date)
	inRow = regexp.MustCompile(`\p{Nd}{7,}`)
)

// maskPhone masks a match of phones.
func maskPhone(found string) string {
	if at := dates.FindStringIndex(found); at != nil {
		around := func(s string) string { return phones.ReplaceAllStringFunc(s, maskPhone) }
		return around(found[:at[0]]) + found[at[0]:at[1]] + around(found[at[1]:])
	}
	digits, group, longest := 0, 0, 0
	for _, r := range found {
		if !unicode.IsDigit(r) {
			group = 0
			continue
		}
		digits, group = digits+1, group+1
		longest = max(longest, group)
	}
	switch {
	case found[0] == '#' || digits < 7:
		return found
	case found[0] != '+' && longest > 5 && longest < digits && digits < 9: // codes side by side, rather than groups
		return inRow.ReplaceAllStringFunc(found, maskPhone)
	case utf8.RuneCountInString(found) < len(found): // digits of another script
		return "***"
	}
	return message.Mask(found)
}

// presentable masks phone numbers, escapes unprintable characters, and cuts a text to a length in bytes.
func presentable(s string, most int) string {
	if len(s) > 4*most { // masking shortens digits of 4 bytes at most to one byte
		s = strings.ToValidUTF8(s[:4*most], "")
	}
	s = phones.ReplaceAllStringFunc(s, maskPhone)
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

// answeredBy describes the server of an answer that is not from the Graph API, by its headers.
func answeredBy(status int, header http.Header) string {
	server := fmt.Sprintf("HTTP %d", status)
	for _, name := range []string{"Content-Type", "Server", "Via"} {
		if value := header.Get(name); value != "" {
			server += ", " + name + ` "` + presentable(value, maxHeader) + `"`
		}
	}
	return server
}

// metaHeaders are headers of the Graph API. Each of its answers has some of them. Proxies do not send them. https://developers.facebook.com/docs/graph-api/guides/error-handling
var metaHeaders = []string{"Facebook-Api-Version", "X-Fb-Trace-Id", "X-Fb-Request-Id", "X-Fb-Rev", "X-Fb-Debug"}

// fromMeta reports whether an answer has a header of the Graph API.
func fromMeta(header http.Header) bool {
	for _, name := range metaHeaders {
		if header.Get(name) != "" {
			return true
		}
	}
	return false
}
