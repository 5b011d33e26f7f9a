package graphsim

import (
	"net/http"
	"slices"
	"strings"
)

// webhookFields are the fields of the object whatsapp_business_account that an app can
// subscribe to. The simulator sends all of them but calls:
// https://developers.facebook.com/docs/graph-api/webhooks/getting-started/webhooks-for-whatsapp
var webhookFields = []string{
	"account_alerts", "account_review_update", "account_update", "business_capability_update", "calls", "message_template_components_update",
	"message_template_quality_update", "message_template_status_update", "messages", "messaging_handovers", "phone_number_name_update",
	"phone_number_quality_update", "security", "standby", "template_category_update", "user_preferences",
}

// subscribed reports whether the app gets webhooks of a field.
func (st *standing) subscribed(field string) bool {
	return !st.App.Unsubscribed && (st.App.Fields == nil || slices.Contains(st.App.Fields, field))
}

// callback returns the URL of a number's webhooks of a field, if it is not the
// app's own. Overrides apply to messages and conversations only. The override of a number has priority over that of the account:
// https://developers.facebook.com/docs/whatsapp/embedded-signup/webhooks/override
func (st *standing) callback(field string, n Number) string {
	switch {
	case field != "messages" && field != "standby" && field != "messaging_handovers":
		return ""
	case n.Callback != "":
		return n.Callback
	}
	return st.App.Callback
}

// listSubscribed answers GET /{version}/{account}/subscribed_apps.
func (s *Sim) listSubscribed(w http.ResponseWriter, r *http.Request) {
	st, ok := s.manages(w, r)
	if !ok {
		return
	}
	data := []any{}
	if !st.App.Unsubscribed {
		app := map[string]any{"whatsapp_business_api_data": map[string]string{"id": st.App.ID, "name": st.App.Name, "link": appLink(st.App.ID)}}
		if st.App.Callback != "" {
			app["override_callback_uri"] = st.App.Callback
		}
		data = append(data, app)
	}
	s.succeed(w, map[string]any{"data": data})
}

// subscribe answers POST /{version}/{account}/subscribed_apps. A body may name an override
// of the callback URL. Without one an existing override is removed.
func (s *Sim) subscribe(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); !ok {
		return
	}
	var body struct {
		Callback string `json:"override_callback_uri"`
		Verify   string `json:"verify_token"`
	}
	if err := readBody(w, r, &body); err != nil {
		s.refuse(w, 100, "The request body is not a JSON object with members of the right types.")
		return
	}
	if (body.Callback == "") != (body.Verify == "") || len(body.Callback) > 200 {
		s.refuse(w, 100, "override_callback_uri, of at most 200 characters, and verify_token go together.")
		return
	}
	s.setSubscribed(w, true, body.Callback)
}

// unsubscribe answers DELETE /{version}/{account}/subscribed_apps.
func (s *Sim) unsubscribe(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.manages(w, r); ok {
		s.setSubscribed(w, false, "")
	}
}

func (s *Sim) setSubscribed(w http.ResponseWriter, on bool, callback string) {
	err := s.change(func(a *Account) error { a.App.Unsubscribed, a.App.Callback = !on, callback; return nil })
	if err != nil {
		s.refuse(w, 1, err.Error())
		return
	}
	s.succeed(w, map[string]bool{"success": true})
}

// appSubscriptions answers GET /{version}/{app}/subscriptions, which accepts only the app's own
// token: https://developers.facebook.com/docs/graph-api/reference/app/subscriptions
func (s *Sim) appSubscriptions(w http.ResponseWriter, r *http.Request) {
	st, ok := s.ofApp(w, r)
	if !ok {
		return
	}
	names := st.App.Fields
	if names == nil {
		names = webhookFields
	}
	fields := []any{}
	for _, name := range names {
		fields = append(fields, map[string]string{"name": name, "version": r.PathValue("version")})
	}
	data := []any{}
	if s.options.Webhook.URL != "" {
		data = append(data, map[string]any{
			"object": "whatsapp_business_account", "callback_url": s.options.Webhook.URL, "active": true, "fields": fields,
		})
	}
	s.succeed(w, map[string]any{"data": data})
}

// ofApp checks a call that accepts only the app's own token. It answers a wrong one itself, and returns false.
func (s *Sim) ofApp(w http.ResponseWriter, r *http.Request) (*standing, bool) {
	st := s.standing.Load()
	switch {
	case !s.isAppToken(st, bearer(r)):
		s.deny(w, &denial{status: http.StatusBadRequest, code: 15, subcode: 0, message: "(#15) This method must be called with an app access_token."})
		return st, false
	case r.PathValue("id") != st.App.ID:
		s.deny(w, missing(r))
		return st, false
	}
	return st, true
}

// subscribeFields answers POST /{version}/{app}/subscriptions, which replaces the fields of the app. The URL stays that of the
// simulator's options.
func (s *Sim) subscribeFields(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.ofApp(w, r); !ok {
		return
	}
	p, ok := s.params(w, r)
	if !ok {
		return
	}
	for _, name := range []string{"object", "callback_url", "verify_token", "fields"} {
		if p.text(name) == "" {
			s.deny(w, required(name))
			return
		}
	}
	fields := strings.Split(p.text("fields"), ",")
	for _, f := range fields {
		if !slices.Contains(webhookFields, f) {
			s.deny(w, invalid("Param fields contains the unknown field "+f+"."))
			return
		}
	}
	if err := s.change(func(a *Account) error { a.App.Fields = fields; return nil }); err != nil {
		s.deny(w, invalid(err.Error()))
		return
	}
	s.succeed(w, done)
}
