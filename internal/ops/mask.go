package ops

import (
	"log/slog"
	"regexp"
	"strings"
)

const redacted = "[redacted]"

// secrets are the forms in which a secret gets into a text. The text of the first group stays.
var secrets = regexp.MustCompile(`(?i)` + strings.Join([]string{
	`((?:access_token|appsecret_proof|input_token|verify_token|client_secret|app_secret|password)"?\s*[=:]\s*"?)[^\s"&,;]+`,
	`(\b(?:bearer|basic)\s+)[a-z0-9._~+/=|-]{8,}`,
	`(://[^\s:/@]*:)[^\s/@]+@`, // a password in a URL
	`(\bsha256=)[0-9a-f]{16,}`,
	`()\bEAA[a-z0-9]{16,}`, // Meta's access tokens
}, "|"))

// numbers are runs of digits that may be a phone number. First come the ids of Sluice and of Meta
// that look like one: a message id, a wamid, and the phone number id in a Graph path.
var numbers = regexp.MustCompile(`wamid\.[A-Za-z0-9+/=_-]+` +
	`|\b[0-9]{1,32}-[a-z2-7]{26}\b` +
	`|/[0-9]{1,32}/messages\b` +
	`|\+[0-9]{1,15}(?:[ ().-]{1,3}[0-9]{1,5})*\b` +
	`|\b[0-9]+\b`)

// Mask returns s without secrets, and without the middle of each phone number. A phone
// number is a plus and 7 to 15 digits, or 8 to 15 digits on their own.
func Mask(s string) string {
	if len(s) < 8 {
		return s
	}
	s = secrets.ReplaceAllStringFunc(s, func(found string) string {
		groups := secrets.FindStringSubmatch(found)
		kept := strings.Join(groups[1:], "") // only one of them took part
		if strings.HasPrefix(kept, "://") {
			return kept + redacted + "@"
		}
		return kept + redacted
	})
	return numbers.ReplaceAllStringFunc(s, maskNumber)
}

func maskNumber(found string) string {
	digits := strings.Map(func(r rune) rune {
		if r < '0' || r > '9' {
			return -1
		}
		return r
	}, found)
	international := found[0] == '+'
	switch {
	case !international && len(digits) != len(found): // an id
		return found
	case international && len(digits) >= 7:
		return Phone("+" + digits).String()
	case len(digits) < 8, len(digits) > 15:
		return found
	}
	return Phone(digits).String()
}

// Phone is a phone number or user id of which only the ends are printed or logged: enough to
// distinguish two, too little to call one. Of less than eight characters nothing is shown.
type Phone string

// String returns the masked number.
func (p Phone) String() string {
	switch {
	case p == "":
		return ""
	case len(p) < 8:
		return "***"
	}
	return string(p[:3] + "***" + p[len(p)-2:])
}

// LogValue masks the number in logs.
func (p Phone) LogValue() slog.Value { return slog.StringValue(p.String()) }

// MarshalText masks the number in JSON.
func (p Phone) MarshalText() ([]byte, error) { return []byte(p.String()), nil }
