package graphsim

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// node answers GET /{version}/{id}: a phone number, the account, the app or media.
func (s *Sim) node(w http.ResponseWriter, r *http.Request) {
	if !s.slowly(r.Context()) {
		s.count(left)
		return
	}
	st, id := s.standing.Load(), r.PathValue("id")
	switch {
	case id == st.App.ID || id == "app":
		s.fields(w, r, "Application", map[string]any{
			"id": st.App.ID, "name": st.App.Name, "link": appLink(st.App.ID), "category": "Business",
		}, "id", "name", "link", "category")
	case id == st.ID:
		if d := st.mayTouch(scopeManagement); d != nil {
			s.deny(w, d)
			return
		}
		all := s.accountFields(st)
		if s.accountAnalytics(w, r, all) {
			s.fields(w, r, "WhatsAppBusinessAccount", all, "id", "name", "timezone_id", "message_template_namespace")
		}
	case s.media.has(id):
		s.mediaInfo(w, r)
	case st.templateByID(id) != nil:
		if d := st.mayTouch(scopeManagement); d != nil {
			s.deny(w, d)
			return
		}
		s.fields(w, r, "WhatsAppMessageTemplate", st.templateByID(id).fields(), templateDefaults...)
	case s.assets.hasFlow(id):
		s.getFlow(w, r)
	default:
		n, ok := st.number(id, s.options.Rate)
		if !ok {
			s.deny(w, missing(r))
			return
		}
		if d := st.mayTouch(scopeManagement, scopeMessaging); d != nil {
			s.deny(w, d)
			return
		}
		s.met(id)
		s.fields(w, r, "WhatsAppBusinessPhoneNumber", s.numberFields(st, n), numberDefaults...)
	}
}

// numberDefaults are the fields of a number in Meta's answer to a call that names none.
var numberDefaults = []string{
	"id", "display_phone_number", "verified_name", "code_verification_status", "quality_rating", "platform_type",
	"throughput", "webhook_configuration",
}

// numberFields has all fields of a number:
// https://developers.facebook.com/docs/graph-api/reference/whats-app-business-account-to-number-current-status
func (s *Sim) numberFields(st *standing, n Number) map[string]any {
	callbacks := map[string]any{"application": s.options.Webhook.URL}
	if st.App.Callback != "" {
		callbacks["whatsapp_business_account"] = st.App.Callback
	}
	if n.Callback != "" {
		callbacks["phone_number"] = n.Callback
	}
	return map[string]any{
		"id":                           n.ID,
		"display_phone_number":         n.display(),
		"verified_name":                n.Name,
		"status":                       n.Status,
		"quality_rating":               n.Quality,
		"code_verification_status":     n.CodeVerification,
		"name_status":                  n.NameStatus,
		"new_name_status":              "NONE",
		"platform_type":                n.Platform,
		"account_mode":                 n.Mode,
		"is_official_business_account": n.Official,
		"is_on_biz_app":                n.OnBizApp,
		"throughput":                   map[string]string{"level": n.Throughput},
		"messaging_limit_tier":         st.Tier,
		"whatsapp_business_manager_messaging_limit": st.Tier,
		"webhook_configuration":                     callbacks,
		"conversational_automation":                 s.automationOf(n.ID),
		"certificate":                               "", "new_certificate": "",
		"country_dial_code": "1", "is_pin_enabled": true, "is_preverified_number": false, "search_visibility": "NON_VISIBLE",
		"host_platform": "CLOUD_API", "last_onboarded_time": s.began.UTC().Format("2006-01-02T15:04:05-0700"), "username": "",
		"eligibility_for_api_business_global_search": "NON_ELIGIBLE",
		"health_status": st.health("PHONE_NUMBER", n.ID, st.refusalOf(n)),
	}
}

func (s *Sim) accountFields(st *standing) map[string]any {
	return map[string]any{
		"id": st.ID, "name": st.Name, "timezone_id": "1", "message_template_namespace": "51b48d3f_sim",
		"account_review_status": st.Review, "business_verification_status": "verified", "country": "US", "currency": "USD",
		"ownership_type": "SELF",
		"whatsapp_business_manager_messaging_limit": st.Tier,
		"health_status": st.health("WABA", st.ID, st.Refuse),
	}
}

// health is Meta's field that says whether a node can send:
// https://developers.facebook.com/docs/whatsapp/cloud-api/health-status
func (st *standing) health(kind, id string, code int) any {
	entity := func(kind, id string, code int) map[string]any {
		e := map[string]any{"entity_type": kind, "id": id, "can_send_message": "AVAILABLE"}
		if code != 0 {
			e["can_send_message"] = "BLOCKED"
			e["errors"] = []any{map[string]any{
				"error_code": code, "error_description": describe(code).Title, "possible_solution": describe(code).Advice,
			}}
		}
		return e
	}
	entities := []any{entity(kind, id, code)}
	if kind != "WABA" {
		entities = append(entities, entity("WABA", st.ID, st.Refuse))
	}
	entities = append(entities, entity("BUSINESS", st.Business, 0), entity("APP", st.App.ID, 0))
	overall := "AVAILABLE"
	if code != 0 || st.Refuse != 0 {
		overall = "BLOCKED"
	}
	return map[string]any{"can_send_message": overall, "entities": entities}
}

// fields answers with the members of a node that the call names, else with its default ones. A
// field that does not exist is an error, as at Meta.
func (s *Sim) fields(w http.ResponseWriter, r *http.Request, kind string, all map[string]any, usual ...string) {
	chosen, unknown := choose(r, all, usual)
	if unknown != "" {
		s.deny(w, nonexisting(unknown, kind))
		return
	}
	s.succeed(w, chosen)
}

func nonexisting(field, kind string) *denial {
	return invalid(fmt.Sprintf("Tried accessing nonexisting field (%s) on node type (%s)", field, kind))
}

// choose picks the members that a call's fields name, id always; it returns a name that
// does not exist.
func choose(r *http.Request, all map[string]any, usual []string) (chosen map[string]any, unknown string) {
	names := usual
	if fields := fieldsOf(r); fields != nil {
		names = append([]string{"id"}, fields...)
	}
	chosen = map[string]any{}
	for _, name := range names {
		if i := strings.IndexAny(name, "{.("); i >= 0 { // the answer has all sub-fields
			name = name[:i]
		}
		value, ok := all[name]
		if !ok {
			return nil, name
		}
		chosen[name] = value
	}
	return chosen, ""
}

// phoneNumbers answers GET /{version}/{account}/phone_numbers: the numbers configured, else
// those that calls have named.
func (s *Sim) phoneNumbers(w http.ResponseWriter, r *http.Request) {
	st, ok := s.manages(w, r)
	if !ok {
		return
	}
	var ids []string
	for _, n := range st.Numbers {
		ids = append(ids, n.ID)
	}
	if len(ids) == 0 {
		ids = slices.Sorted(maps.Keys(s.limit.largest()))
	}
	data := []any{}
	for _, id := range ids {
		n, _ := st.number(id, s.options.Rate)
		chosen, unknown := choose(r, s.numberFields(st, n), numberDefaults)
		if unknown != "" {
			s.deny(w, nonexisting(unknown, "WhatsAppBusinessPhoneNumber"))
			return
		}
		data = append(data, chosen)
	}
	s.succeed(w, page(r, data))
}

// manages checks a call on the account. If the path names another account, or the token may not manage it, manages
// answers the call itself and returns false.
func (s *Sim) manages(w http.ResponseWriter, r *http.Request) (*standing, bool) {
	st := s.standing.Load()
	d := st.mayTouch(scopeManagement)
	if r.PathValue("id") != st.ID {
		d = missing(r)
	}
	if d != nil {
		s.deny(w, d)
	}
	return st, d == nil
}

func appLink(id string) string { return "https://www.facebook.com/games/?app_id=" + id }

// display returns the phone number of an id, with spaces.
func (n Number) display() string {
	padded := "0000000" + n.ID
	last := padded[len(padded)-7:]
	return cmp.Or(n.Display, "+1 555-"+last[:3]+"-"+last[3:])
}

// digits returns the phone number as webhooks write it.
func (n Number) digits() string { return digits(n.display()) }
