package graphsim

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"time"
)

// maxBody is the largest request the simulator reads, in bytes.
const maxBody = 1 << 20

var (
	versionForm = regexp.MustCompile(`^v\d+\.\d+$`)
	numberForm  = regexp.MustCompile(`^\d{1,32}$`)
)

// wrongMark is the answer to a PUT of something else than a mark as read, or a typing indicator.
var wrongMark = wrong{code: 100, plain: true, details: "The parameter status is required."}

// messages answers POST /{version}/{number}/messages, and PUT of a mark as read.
func (s *Sim) messages(w http.ResponseWriter, r *http.Request) { s.take(w, r, false) }

// marketingMessages answers POST /{version}/{number}/marketing_messages, which accepts templates of the category MARKETING only:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/marketing-messages/send-marketing-messages
func (s *Sim) marketingMessages(w http.ResponseWriter, r *http.Request) { s.take(w, r, true) }

// take answers a call that sends a message. A message is accepted before its
// latency passes, so a client that stops waiting has sent it, and webhooks may overtake the answer.
func (s *Sim) take(w http.ResponseWriter, r *http.Request, marketing bool) {
	start, st, id := time.Now(), s.standing.Load(), r.PathValue("id")
	number, ok := st.number(id, s.options.Rate)
	if !ok {
		s.unsupported(w, r)
		return
	}
	if d := st.mayTouch(scopeMessaging); d != nil {
		if d.code == 200 {
			s.refuse(w, 10, "") // as Meta documents for this path
			return
		}
		s.deny(w, d)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		s.deny(w, invalid("The request body is too large."))
		return
	}
	if err != nil {
		s.count(left)
		return
	}
	kind := mediaType(r)
	if kind == "application/x-www-form-urlencoded" || kind == "multipart/form-data" || bytes.Contains(body, []byte(`"access_token"`)) {
		fields, err := readParams(r.Header.Get("Content-Type"), body)
		if err != nil {
			s.deny(w, invalid("The request body is not valid JSON or a valid form."))
			return
		}
		delete(fields, "access_token")
		body, _ = json.Marshal(fields) // cannot fail: it has texts and what was JSON
	}
	m, wrong := parse(body)
	if wrong == nil && !m.mark && r.Method == http.MethodPut {
		wrong = &wrongMark
	}
	m.marketing, m.version = marketing, cmp.Or(r.PathValue("version"), defaultVersion)
	if wrong == nil && marketing && m.mark {
		wrong = st.checkRoute(m)
	}
	if wrong != nil {
		s.refuseFor(w, wrong)
		return
	}
	if m.mark {
		s.mu.Lock()
		s.marks++
		s.mu.Unlock()
		s.succeed(w, map[string]bool{"success": true})
		return
	}

	f, latency, wrong := s.fateOf(st, number, m, start)
	var wamid string
	if f.taken {
		m.category = st.category(m)
		var serial int
		serial, wamid = s.ledger.add(id, m, start)
		defer func() { s.ledger.closed(serial, time.Now()) }()
		switch p := (pacedMessage{id, wamid, m, f.failed}); {
		case f.silent:
		case s.pace(p):
			f.status = heldForQuality
		default:
			s.hooks.follow(id, wamid, m, f.failed)
		}
	}
	switch {
	case !wait(r.Context(), latency):
		s.count(left)
	case wrong != nil:
		s.refuseFor(w, wrong)
	case f.ending != "":
		s.count(f.ending)
		end(w, r, f.ending)
	case f.code != 0:
		if f.after > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(f.after))
		}
		s.refuse(w, f.code, "")
	default:
		s.succeed(w, accepted(m, wamid, f.status))
	}
}

// fateOf decides the result of a valid message and how long its answer takes: by the script, then by the limits
// and the set-up, then by random faults and the recipient's digits. If it returns a wrong, that is the answer, and
// the message is not accepted.
func (s *Sim) fateOf(st *standing, number Number, m request, now time.Time) (fate, time.Duration, *wrong) {
	f, latency := s.decide(m.recipient)
	within, largest := s.limit.admit(number.ID, now, number.Rate)
	if largest > 0 {
		s.metrics.window.WithLabelValues(number.ID).Set(float64(largest))
	}
	script := s.script.Load()
	if step, first := script.meet(number.ID, m, now); step != nil {
		if first {
			s.happen(script, step)
			st = s.standing.Load()
			number, _ = st.number(number.ID, s.options.Rate)
		}
		if a := step.Answer; a != nil {
			if a.Latency != (Span{}) {
				latency = s.draw(a.Latency)
			}
			return a.fate(), latency, nil
		}
	}
	if !within {
		return fate{code: 130429}, latency, nil
	}
	if code := st.refusalOf(number); code != 0 {
		return fate{code: code, after: st.RetryAfter}, latency, nil
	}
	if m.Type == "template" {
		if wrong := st.checkTemplate(m); wrong != nil {
			return fate{}, latency, wrong
		}
	}
	if !s.mayWrite(st, number.ID, m) {
		return fate{code: notOwned}, latency, nil
	}
	if wrong := st.checkRoute(m); wrong != nil {
		return fate{}, latency, wrong
	}
	refused, failed := s.limitedBy(st, number.ID, m, now)
	if refused != 0 {
		return fate{code: refused}, latency, nil
	}
	if m.Type == "template" && f.failed == reengagement { // a template needs no open window
		f.failed = 0
	}
	if s.assets.blocks(number.ID, m) {
		failed = 131026
	}
	f.failed = cmp.Or(f.failed, m.failed, failed, number.Fail, st.Fail)
	return f, latency, nil
}

// accepted returns Meta's answer to an accepted message.
func accepted(m request, wamid, status string) any {
	contact := map[string]string{"input": m.input, "wa_id": m.recipient}
	if m.toUser() {
		contact = map[string]string{"input": m.input, "user_id": m.recipient}
	}
	message := map[string]string{"id": wamid}
	if m.Type == "template" {
		message["message_status"] = cmp.Or(status, "accepted")
	}
	return map[string]any{
		"messaging_product": "whatsapp",
		"contacts":          []any{contact},
		"messages":          []any{message},
	}
}
