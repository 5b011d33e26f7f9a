package graphsim

import (
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// maxInbound is how many inbound messages one call can make.
const maxInbound = 100_000

// controls is the control API. docs/simulator.md describes each call.
func (s *Sim) controls() map[string]http.HandlerFunc {
	return map[string]http.HandlerFunc{
		"GET /_sim/stats":          func(w http.ResponseWriter, r *http.Request) { writeJSON(w, http.StatusOK, s.Stats()) },
		"GET /_sim/accepted":       s.listAccepted,
		"DELETE /_sim/ledger":      s.deleteLedger,
		"PUT /_sim/faults":         s.putFaults,
		"PUT /_sim/outage":         s.putOutage,
		"PUT /_sim/steps":          s.putSteps,
		"POST /_sim/inbound":       s.postInbound,
		"POST /_sim/people":        s.postPeople,
		"POST /_sim/preferences":   s.postPreferences,
		"PUT /_sim/conversations":  s.putConversations,
		"GET /_sim/account":        s.getAccount,
		"PATCH /_sim/account":      s.patch(func(r *http.Request, a *Account) any { return a }),
		"PATCH /_sim/numbers/{id}": s.patch(func(r *http.Request, a *Account) any { return a.number(r.PathValue("id")) }),
		"PATCH /_sim/templates/{name}/{language}": s.patch(func(r *http.Request, a *Account) any {
			return a.template(r.PathValue("name"), r.PathValue("language"))
		}),
	}
}

func (s *Sim) getAccount(w http.ResponseWriter, r *http.Request) {
	writeJSON(w, http.StatusOK, s.standing.Load().Account)
}

func (s *Sim) deleteLedger(w http.ResponseWriter, r *http.Request) {
	s.forget()
	w.WriteHeader(http.StatusNoContent)
}

func (s *Sim) listAccepted(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-ndjson")
	lines := json.NewEncoder(w)
	id := r.URL.Query().Get("id")
	for a := range s.ledger.all() {
		if marked, _ := markedID(a.Marker); id != "" && marked != id {
			continue
		}
		if lines.Encode(a) != nil {
			return // the client left
		}
	}
}

func (s *Sim) putFaults(w http.ResponseWriter, r *http.Request) {
	var f Faults
	if !readControl(w, r, &f) {
		return
	}
	if err := f.Validate(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	s.SetFaults(f)
	writeJSON(w, http.StatusOK, f)
}

func (s *Sim) putOutage(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Outage bool `json:"outage"`
	}
	if !readControl(w, r, &body) {
		return
	}
	s.SetOutage(body.Outage)
	writeJSON(w, http.StatusOK, body)
}

func (s *Sim) putSteps(w http.ResponseWriter, r *http.Request) {
	var steps []Step
	if !readControl(w, r, &steps) {
		return
	}
	if err := s.SetSteps(steps); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	writeJSON(w, http.StatusOK, s.script.Load().report())
}

func (s *Sim) postInbound(w http.ResponseWriter, r *http.Request) {
	var body struct {
		From    string   `json:"from"`
		To      string   `json:"to"`
		Text    string   `json:"text"`
		ReplyTo string   `json:"reply_to"` // Meta's id of the message that it replies to; empty: it is no reply
		Count   *int     `json:"count"`    // messages; nil: 1
		Ago     Duration `json:"ago"`      // when they were written
	}
	if !readControl(w, r, &body) {
		return
	}
	if !numberForm.MatchString(body.From) && !userForm.MatchString(body.From) || !numberForm.MatchString(body.To) || body.Text == "" {
		http.Error(w, "to must be digits, from digits or a business-scoped user id, and text is required", http.StatusBadRequest)
		return
	}
	count := 1
	if body.Count != nil {
		count = *body.Count
	}
	if count < 1 || count > maxInbound || body.Ago < 0 {
		http.Error(w, fmt.Sprintf("count must be 1 to %d, and ago must not be negative", maxInbound), http.StatusBadRequest)
		return
	}
	id, ok := s.hooks.write(body.From, body.To, body.Text, body.ReplyTo, count, time.Duration(body.Ago))
	if !ok {
		http.Error(w, "no webhook URL is configured, or the app is not subscribed to messages", http.StatusConflict)
		return
	}
	writeJSON(w, http.StatusAccepted, map[string]string{"id": id})
}

// patch answers a call that changes members of a part of the account.
func (s *Sim) patch(part func(*http.Request, *Account) any) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var members json.RawMessage
		if !readControl(w, r, &members) {
			return
		}
		if err := s.change(func(a *Account) error { return strictly(members, part(r, a)) }); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		writeJSON(w, http.StatusOK, s.standing.Load().Account)
	}
}
