package graphsim

import (
	"bytes"
	"encoding/json"
	"net/http"
)

// control adds the control API:
//
//	GET    /_sim/stats           what the simulator saw: Stats
//	GET    /_sim/accepted?id=    the ledger as NDJSON of Accepted; with id, one message id's entries
//	DELETE /_sim/ledger          empties the ledger and the windows
//	PUT    /_sim/faults          replaces the Faults
//	PUT    /_sim/outage          {"outage": true} begins a total outage, false ends it
//	GET    /_sim/account         the set-up at Meta: Account
//	PUT    /_sim/steps           begins a script: a list of Step; Stats tells how often each was used
//	PATCH  /_sim/account         changes members of it; a list is replaced as a whole
//	PATCH  /_sim/numbers/{id}    changes members of one phone number, a new one if need be
//	PATCH  /_sim/templates/{name}/{language}   the same of one template
//	POST   /_sim/inbound         {"from", "to", "text"}: a person writes to phone number id "to"
func (s *Sim) control(mux *http.ServeMux) {
	mux.HandleFunc("GET /_sim/stats", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, s.Stats())
	})
	mux.HandleFunc("GET /_sim/accepted", s.listAccepted)
	mux.HandleFunc("DELETE /_sim/ledger", func(w http.ResponseWriter, r *http.Request) {
		s.forget()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("PUT /_sim/faults", s.putFaults)
	mux.HandleFunc("PUT /_sim/outage", s.putOutage)
	mux.HandleFunc("POST /_sim/inbound", s.postInbound)
	mux.HandleFunc("PUT /_sim/steps", s.putSteps)
	mux.HandleFunc("GET /_sim/account", func(w http.ResponseWriter, r *http.Request) {
		writeJSON(w, http.StatusOK, s.standing.Load().Account)
	})
	mux.HandleFunc("PATCH /_sim/account", s.patch(func(r *http.Request, a *Account) any { return a }))
	mux.HandleFunc("PATCH /_sim/numbers/{id}", s.patch(func(r *http.Request, a *Account) any { return a.number(r.PathValue("id")) }))
	mux.HandleFunc("PATCH /_sim/templates/{name}/{language}", s.patch(func(r *http.Request, a *Account) any {
		return a.template(r.PathValue("name"), r.PathValue("language"))
	}))
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
		From string `json:"from"`
		To   string `json:"to"`
		Text string `json:"text"`
	}
	if !readControl(w, r, &body) {
		return
	}
	if !numberForm.MatchString(body.From) || !numberForm.MatchString(body.To) || body.Text == "" {
		http.Error(w, "from and to must be digits, and text must be there", http.StatusBadRequest)
		return
	}
	id, ok := s.hooks.write(body.From, body.To, body.Text)
	if !ok {
		http.Error(w, "there is no webhook to tell, or the app is not subscribed to messages", http.StatusConflict)
		return
	}
	writeJSON(w, http.StatusAccepted, map[string]string{"id": id})
}

// patch answers a call that changes members of what part points at within the account.
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

// strictly reads JSON over what there is: a misspelt member shall not pass as "nothing".
func strictly(members []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(members))
	d.DisallowUnknownFields()
	return d.Decode(into)
}

// readControl reads a control call's body. It answers 400 itself and is false when it is
// not what it should be: a misspelt member shall not pass as "nothing".
func readControl(w http.ResponseWriter, r *http.Request, into any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return false
	}
	return true
}
