package graphsim

import (
	"net/http"
	"time"
)

// prefer reports that a person stops or resumes marketing messages of a number in WhatsApp. It is false if no webhook is sent.
func (h *hooks) prefer(number, person, value string) bool {
	const field = "user_preferences"
	if _, ok := h.target(field, number); !ok {
		return false
	}
	p := h.person(person)
	one := map[string]any{"user_id": p.UserID, "category": "marketing_messages", "value": value, "detail": "User requested to " + value + " marketing messages", "timestamp": time.Now().Unix()}
	if p.WaID != "" {
		one["wa_id"] = p.WaID
	}
	h.noticeOf(number, field, map[string]any{
		"messaging_product": "whatsapp", "metadata": metadata{h.standing.Load().digits(number), number}, "contacts": []contact{p}, field: []any{one},
	})
	return true
}

func (s *Sim) postPreferences(w http.ResponseWriter, r *http.Request) {
	var body struct {
		To    string `json:"to"`    // phone number id
		From  string `json:"from"`  // phone number or user id of the person
		Value string `json:"value"` // "stop" or "resume"
	}
	if !readControl(w, r, &body) {
		return
	}
	if !numberForm.MatchString(body.To) || !numberForm.MatchString(body.From) && !userForm.MatchString(body.From) || body.Value != "stop" && body.Value != "resume" {
		http.Error(w, "to must be digits, from digits or a business-scoped user id, and value stop or resume", http.StatusBadRequest)
		return
	}
	if !s.hooks.prefer(body.To, body.From, body.Value) {
		http.Error(w, "no webhook URL is configured, or the app is not subscribed to user_preferences", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
