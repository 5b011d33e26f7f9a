package graphsim

import (
	"encoding/base64"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"
)

// assets are what calls have made or changed of numbers and of the account, besides messages, media and templates.
type assets struct {
	mu      sync.Mutex
	serial  int
	numbers map[string]*numberAssets
	flows   []*flow // oldest first

	exchanged []string // codes of Embedded Signup
}

// numberAssets are what calls have made or changed of one number.
type numberAssets struct {
	profile    map[string]any
	settings   map[string]any
	commerce   map[string]any
	automation map[string]any
	encryption map[string]any
	blocked    []blocked
	codes      []*qrCode
	calls      map[string]bool // by id: whether the call is under way

	registrations []time.Time // and deregistrations
}

func newAssets() *assets { return &assets{numbers: map[string]*numberAssets{}} }

// of returns the assets of a number. The caller holds the lock.
func (a *assets) of(number string) *numberAssets {
	n := a.numbers[number]
	if n == nil {
		n = &numberAssets{
			profile:    map[string]any{"messaging_product": "whatsapp"},
			settings:   defaultSettings(),
			commerce:   map[string]any{"is_cart_enabled": true, "is_catalog_visible": false},
			automation: map[string]any{"enable_welcome_message": false, "prompts": []any{}, "commands": []any{}},
			encryption: map[string]any{},
			calls:      map[string]bool{},
		}
		a.numbers[number] = n
	}
	return n
}

// next returns a new serial number. The caller holds the lock.
func (a *assets) next() int {
	a.serial++
	return a.serial
}

// ofNumber checks a call on a phone number. If the number does not exist, or the token may not use it, ofNumber answers the call
// itself and returns false.
func (s *Sim) ofNumber(w http.ResponseWriter, r *http.Request, scopes ...string) (Number, bool) {
	st := s.standing.Load()
	n, ok := st.number(r.PathValue("id"), s.options.Rate)
	if !ok {
		s.unsupported(w, r)
		return n, false
	}
	if d := st.mayTouch(scopes...); d != nil {
		s.deny(w, d)
		return n, false
	}
	return n, true
}

// forNumber answers a call that reads or changes the assets of a number. answer has the lock.
func (s *Sim) forNumber(scope string, answer func(n *numberAssets, id string, p parameters) (any, *denial)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		number, ok := s.ofNumber(w, r, scope)
		if !ok {
			return
		}
		p, ok := s.params(w, r)
		if !ok {
			return
		}
		s.assets.mu.Lock()
		body, d := answer(s.assets.of(number.ID), number.ID, p)
		s.assets.mu.Unlock()
		if list, is := body.([]any); is && d == nil {
			body = page(r, list)
		}
		if d != nil {
			s.deny(w, d)
			return
		}
		s.succeed(w, body)
	}
}

// done is Meta's answer to a change.
var done = map[string]any{"success": true}

// product reports whether a call names the messaging product.
func product(p parameters) *denial {
	if p.text("messaging_product") != "whatsapp" {
		return required("messaging_product")
	}
	return nil
}

// shown returns a copy of an object that the caller may keep without the lock.
func shown(object map[string]any) map[string]any { return maps.Clone(object) }

// page returns a part of a list as the Graph API sends it, by the parameters limit and after of a call. Without a limit it is the
// whole list. The link to the next page has the token of the call, as at Meta.
func page(r *http.Request, data []any) any {
	q := r.URL.Query()
	from := 0
	if after, err := base64.StdEncoding.DecodeString(q.Get("after")); err == nil && len(after) > 0 {
		from, _ = strconv.Atoi(string(after)) // 0 for another cursor
		from = min(max(from, 0), len(data))
	}
	to := len(data)
	if limit, err := strconv.Atoi(q.Get("limit")); err == nil && limit > 0 {
		to = min(from+limit, to)
	}
	if from == to {
		return map[string]any{"data": []any{}}
	}
	cursor := func(at int) string { return base64.StdEncoding.EncodeToString([]byte(strconv.Itoa(at))) }
	paging := map[string]any{"cursors": map[string]string{"before": cursor(from), "after": cursor(to)}}
	if to < len(data) {
		q.Set("after", cursor(to))
		q.Set("access_token", bearer(r))
		paging["next"] = "http://" + r.Host + r.URL.Path + "?" + q.Encode()
	}
	return map[string]any{"data": slices.Clone(data[from:to]), "paging": paging}
}
