package cloudapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"sluice/internal/message"
)

const (
	markVersion = "sl1"
	macLen      = 8 // hex digits, enough to distinguish the markers of other installations
)

// Marks makes and parses markers: "sl1.<env>.<id>.<attempt>-<accepted>.<mac>". They are sent in
// biz_opaque_callback_data, and Meta returns them in webhooks. <accepted> is when the message was accepted, in Unix
// milliseconds to the base 36. It distinguishes the record from a later one with the same id. Markers of older
// versions lack it. The MAC distinguishes markers of other installations and other apps on the same account. Every app
// on the account can read the field, so a marker has no private data. Marks is safe for concurrent use.
type Marks struct {
	env  string
	keys [][]byte // the valid keys; Make uses the first one
}

// ValidEnv reports whether s can name an environment: 1 to 16 of a-z, 0-9 and "-".
func ValidEnv(s string) bool {
	return s != "" && len(s) <= 16 && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

// NewMarks returns the Marks of an environment ("prod", "staging"). Parse also accepts markers of the second keys,
// for a rotation. Empty second keys are skipped. NewMarks panics unless ValidEnv(env) and the key is not empty.
func NewMarks(env string, key []byte, second ...[]byte) *Marks {
	if !ValidEnv(env) {
		panic("cloudapi: invalid environment name")
	}
	if len(key) == 0 {
		panic("cloudapi: empty marker key")
	}
	m := &Marks{env: env, keys: [][]byte{key}}
	for _, k := range second {
		if len(k) > 0 {
			m.keys = append(m.keys, k)
		}
	}
	return m
}

// Make returns the marker of an attempt. It has about 90 characters, and Meta allows 512. accepted is when the message
// was accepted, in Unix milliseconds; 0: the marker has no such time.
func (m *Marks) Make(id string, attempt int, accepted int64) string {
	body := m.env + "." + id + "." + strconv.Itoa(attempt)
	if accepted > 0 {
		body += "-" + strconv.FormatInt(accepted, 36)
	}
	return markVersion + "." + body + "." + mac(m.keys[0], body)
}

// Parse returns the arguments of Make for a marker of the same environment and of one of the keys. It is false for
// all other strings.
func (m *Marks) Parse(s string) (id string, attempt int, accepted int64, ok bool) {
	parts, marked := split(s)
	if !marked || parts[1] != m.env {
		return "", 0, 0, false
	}
	body := strings.Join(parts[1:4], ".")
	if !slices.ContainsFunc(m.keys, func(key []byte) bool { return hmac.Equal([]byte(parts[4]), []byte(mac(key, body))) }) {
		return "", 0, 0, false
	}
	if _, isID := message.Number(parts[2]); !isID {
		return "", 0, 0, false
	}
	number, since, dated := strings.Cut(parts[3], "-")
	attempt, err := strconv.Atoi(number)
	if err != nil || attempt < 1 {
		return "", 0, 0, false
	}
	if dated {
		if accepted, err = strconv.ParseInt(since, 36, 64); err != nil || accepted < 1 {
			return "", 0, 0, false
		}
	}
	return parts[2], attempt, accepted, true
}

// MessageID returns the id of the message that a marker names. It does not check the MAC: anybody with access to the
// account can write such a marker.
func MessageID(marker string) (id string, ok bool) {
	parts, marked := split(marker)
	if !marked {
		return "", false
	}
	_, isID := message.Number(parts[2])
	return parts[2], isID
}

// Other reports whether s has the form of a marker with another environment. It does not check the MAC, because this
// installation does not have the key of another environment.
func (m *Marks) Other(s string) bool {
	parts, marked := split(s)
	if !marked || !ValidEnv(parts[1]) || parts[1] == m.env {
		return false
	}
	_, isID := message.Number(parts[2])
	return isID && len(parts[4]) == macLen
}

// split splits a possible marker into version, environment, id, attempt and MAC.
func split(s string) ([]string, bool) {
	parts := strings.Split(s, ".")
	return parts, len(s) <= 512 && len(parts) == 5 && parts[0] == markVersion
}

func mac(key []byte, s string) string {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(s))
	return hex.EncodeToString(h.Sum(nil))[:macLen]
}
