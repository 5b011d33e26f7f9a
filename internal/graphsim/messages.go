package graphsim

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"time"
)

// maxBody is the largest request the simulator reads, in bytes.
const maxBody = 1 << 20

var (
	versionForm = regexp.MustCompile(`^v\d+\.\d+$`)
	numberForm  = regexp.MustCompile(`^\d{1,32}$`)
)

// messages answers POST /{version}/{number}/messages. A message is taken before its
// latency passes: who gives up waiting has sent it, and webhooks may overtake the answer.
func (s *Sim) messages(w http.ResponseWriter, r *http.Request) {
	start, st, id := time.Now(), s.standing.Load(), r.PathValue("id")
	number, ok := st.number(id, s.options.Rate)
	if !ok {
		s.unsupported(w, r)
		return
	}
	if d := st.mayTouch(scopeMessaging); d != nil {
		if d.code == 200 {
			s.refuse(w, 10, "") // as Meta says of this path
			return
		}
		s.deny(w, d)
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		s.refuse(w, 100, "The request body is too large.")
		return
	}
	if err != nil {
		s.count(left)
		return
	}
	m, wrong := parse(body)
	if wrong != nil {
		s.refuse(w, wrong.code, wrong.details)
		return
	}
	if m.Status == "read" {
		s.succeed(w, map[string]bool{"success": true})
		return
	}

	f, latency := s.decide(m.recipient)
	ok, largest := s.limit.admit(id, start, number.Rate)
	if largest > 0 {
		s.metrics.window.WithLabelValues(id).Set(float64(largest))
	}
	if code := st.refusalOf(number); code != 0 {
		f = fate{code: code}
	}
	if !ok {
		f = fate{code: 130429}
	}
	var wamid string
	if f.taken {
		var serial int
		serial, wamid = s.ledger.add(id, m, start)
		defer func() { s.ledger.closed(serial, time.Now()) }()
		if !f.silent {
			s.hooks.follow(id, wamid, m, f.failed)
		}
	}
	switch {
	case !wait(r.Context(), latency):
		s.count(left)
	case f.ending != "":
		s.count(f.ending)
		end(w, r, f.ending)
	case f.code != 0:
		s.refuse(w, f.code, "")
	default:
		s.succeed(w, accepted(m, wamid))
	}
}

// accepted is Meta's answer to a message it took.
func accepted(m request, wamid string) any {
	contact := map[string]string{"input": m.To, "wa_id": m.recipient}
	if m.To == "" {
		contact = map[string]string{"input": m.Recipient, "user_id": m.recipient}
	}
	message := map[string]string{"id": wamid}
	if m.Type == "template" {
		message["message_status"] = "accepted"
	}
	return map[string]any{
		"messaging_product": "whatsapp",
		"contacts":          []any{contact},
		"messages":          []any{message},
	}
}
