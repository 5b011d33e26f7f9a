package graphsim

import (
	"net/http"
	"sync"
	"time"
)

// notOwned is the error code of a service message in a conversation that another app owns. Meta has not published its code, so this is
// an unknown one.
const notOwned = 900016

// conversations are those of the numbers that another app owns, under Meta's Conversation Routing:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/conversation-routing/overview
// They have the user id of the person. The simulator does not let an owner lose a conversation after 24 hours.
type conversations struct {
	mu    sync.Mutex
	other map[[2]string]bool
}

// elsewhere reports whether another app owns the conversation of a number with a person.
func (c *conversations) elsewhere(number string, p contact) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.other[[2]string{number, p.UserID}]
}

// set lets another app own a conversation, or not, and reports whether that is new.
func (c *conversations) set(number string, p contact, other bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	key := [2]string{number, p.UserID}
	before := c.other[key]
	if delete(c.other, key); other {
		if c.other == nil {
			c.other = map[[2]string]bool{}
		}
		c.other[key] = true
	}
	return before != other
}

// mayWrite reports whether our app may send a message in its conversation. A service message of an app with the role escalation takes
// the conversation.
func (s *Sim) mayWrite(st *standing, number string, m request) bool {
	if !m.Service() || m.Group || !s.hooks.conversations.elsewhere(number, s.hooks.person(m.recipient)) {
		return true
	}
	if st.App.Escalation {
		s.hooks.conversations.set(number, s.hooks.person(m.recipient), false)
	}
	return st.App.Escalation
}

// handover reports that our app got or lost a conversation:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/webhooks/reference/messaging-handovers/
func (h *hooks) handover(number string, p contact, other bool) {
	change, roles := "control_passed", map[string]string{"previous_owner_role": "marketing", "new_owner_role": "customer_service"}
	if other {
		change, roles = "control_taken", map[string]string{"previous_owner_role": "customer_service", "new_owner_role": "escalation"}
	}
	sender := map[string]string{"user_id": p.UserID}
	if p.WaID != "" {
		sender["phone_number"] = p.WaID
	}
	h.noticeOf(number, "messaging_handovers", map[string]any{
		"messaging_product": "whatsapp", "sender": sender,
		"recipient": metadata{h.standing.Load().digits(number), number},
		"type":      change, "timestamp": seconds(time.Now()), change: roles,
	})
}

func (s *Sim) putConversations(w http.ResponseWriter, r *http.Request) {
	var body struct {
		Number string `json:"number"` // phone number id
		With   string `json:"with"`   // phone number or user id of the person
		Owner  string `json:"owner"`  // "us", "other_app", or "none": no webhook says so
	}
	if !readControl(w, r, &body) {
		return
	}
	known := body.Owner == "us" || body.Owner == "other_app" || body.Owner == "none"
	if !numberForm.MatchString(body.Number) || !numberForm.MatchString(body.With) && !userForm.MatchString(body.With) || !known {
		http.Error(w, "number must be digits, with digits or a business-scoped user id, and owner us, other_app or none", http.StatusBadRequest)
		return
	}
	person, other := s.hooks.person(body.With), body.Owner == "other_app"
	if s.hooks.conversations.set(body.Number, person, other) && body.Owner != "none" {
		s.hooks.handover(body.Number, person, other)
	}
	w.WriteHeader(http.StatusNoContent)
}
