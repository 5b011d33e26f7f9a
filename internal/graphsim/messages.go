package graphsim

import (
	"errors"
	"io"
	"net/http"
	"regexp"
	"strings"
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
	start := time.Now()
	number := r.PathValue("number")
	if !versionForm.MatchString(r.PathValue("version")) || !numberForm.MatchString(number) {
		s.unsupported(w, r)
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
	ok, largest := s.limit.admit(number, start)
	if largest > 0 {
		s.metrics.window.WithLabelValues(number).Set(float64(largest))
	}
	if !ok {
		f = fate{code: 130429}
	}
	var wamid string
	if f.taken {
		var serial int
		serial, wamid = s.ledger.add(number, m, start)
		defer func() { s.ledger.closed(serial, time.Now()) }()
		if !f.silent {
			s.hooks.follow(number, wamid, m, f.failed)
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

// phone answers GET /{version}/{number}.
func (s *Sim) phone(w http.ResponseWriter, r *http.Request) {
	number := r.PathValue("number")
	if !versionForm.MatchString(r.PathValue("version")) || !numberForm.MatchString(number) {
		s.unsupported(w, r)
		return
	}
	level := "STANDARD"
	if s.options.Rate > 80 {
		level = "HIGH"
	}
	info := map[string]any{
		"id":                   number,
		"display_phone_number": displayed(number),
		"verified_name":        "Simulated Business",
		"status":               "CONNECTED",
		"quality_rating":       "GREEN",
		"platform_type":        "CLOUD_API",
		"throughput":           map[string]string{"level": level},
	}
	if fields := r.URL.Query().Get("fields"); fields != "" {
		asked := map[string]any{"id": number}
		for _, name := range strings.Split(fields, ",") {
			if value, ok := info[name]; ok {
				asked[name] = value
			}
		}
		info = asked
	}
	s.succeed(w, info)
}

// displayed is the phone number behind a phone number id.
func displayed(number string) string {
	padded := "0000000" + number
	return "1555" + padded[len(padded)-7:]
}
