package graphsim

import (
	"fmt"
	"net/http"
	"regexp"
	"time"
)

// userForm is the form of a business-scoped user id.
var userForm = regexp.MustCompile(`^[A-Z]{2}\.(ENT\.)?[A-Za-z0-9]{1,128}$`)

// systemChange is what a system message says about a person who has another phone number or user id now:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-scoped-user-ids
type systemChange struct {
	Body     string `json:"body"`
	Type     string `json:"type"`
	WaID     string `json:"wa_id,omitempty"`
	UserID   string `json:"user_id"`
	Previous string `json:"previous_user_id"`
}

// person returns the person with a phone number, or with a user id and no phone number.
func (h *hooks) person(name string) contact {
	if userForm.MatchString(name) {
		return contact{Profile: profile{"Zoë Sim"}, UserID: name}
	}
	person := newContact(name)
	if user, changed := h.users.Load(name); changed {
		person.UserID = user.(string)
	}
	return person
}

// change reports that the person with a phone number has another phone number, with another user id, or another user id only.
// It is false if no webhook is sent.
func (h *hooks) change(from, number, phone, user string) bool {
	to, ok := h.target("messages", number)
	if !ok {
		return false
	}
	now, before := time.Now(), h.person(from)
	c := &systemChange{Type: "user_changed_user_id", Body: "The user id of the user changed", UserID: user, Previous: before.UserID}
	if phone != "" {
		c.Type, c.WaID, c.UserID = "user_changed_number", phone, h.person(phone).UserID
		c.Body = fmt.Sprintf("User changed from %s to %s", from, phone)
	} else {
		h.users.Store(from, user)
	}
	in := &inbound{From: before.WaID, ID: fmt.Sprintf("wamid.in%d.%d", now.UnixNano(), h.serial.Add(1)), Time: seconds(now), Type: "system", System: c}
	h.queue.put(&parcel{due: now, url: to, reports: []report{{at: now, number: number, inbound: in}}})
	return true
}

func (s *Sim) postPeople(w http.ResponseWriter, r *http.Request) {
	var body struct {
		To     string `json:"to"`      // the number whose webhook reports it
		From   string `json:"from"`    // the phone number of the person
		Number string `json:"number"`  // the new phone number
		UserID string `json:"user_id"` // or the new user id
	}
	if !readControl(w, r, &body) {
		return
	}
	if !numberForm.MatchString(body.To) || !numberForm.MatchString(body.From) || numberForm.MatchString(body.Number) == userForm.MatchString(body.UserID) {
		http.Error(w, "to and from must be digits, and either number must be digits, or user_id must be a business-scoped user id", http.StatusBadRequest)
		return
	}
	if !s.hooks.change(body.From, body.To, body.Number, body.UserID) {
		http.Error(w, "no webhook URL is configured, or the app is not subscribed to messages", http.StatusConflict)
		return
	}
	w.WriteHeader(http.StatusAccepted)
}
