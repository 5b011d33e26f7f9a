package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"unicode/utf8"
)

// profileLimits are the most characters of the texts of a business profile:
// https://developers.facebook.com/documentation/business-messaging/whatsapp/business-profiles
var profileLimits = map[string]int{"about": 139, "address": 256, "description": 512, "email": 128}

// verticals are the kinds of businesses.
var verticals = []string{
	"UNDEFINED", "OTHER", "AUTO", "BEAUTY", "APPAREL", "EDU", "ENTERTAIN", "EVENT_PLAN", "FINANCE", "GROCERY", "GOVT", "HOTEL", "HEALTH",
	"NONPROFIT", "PROF_SERVICES", "RETAIL", "TRAVEL", "RESTAURANT", "NOT_A_BIZ", "ALCOHOL", "ONLINE_GAMBLING", "PHYSICAL_GAMBLING", "OTC_DRUGS",
}

// profileFields are the members of a profile.
var profileFields = []string{"messaging_product", "about", "address", "description", "email", "profile_picture_url", "websites", "vertical"}

// getProfile answers GET /{version}/{number}/whatsapp_business_profile. The answer has the members that are set.
func (s *Sim) getProfile(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeMessaging, func(n *numberAssets, _ string, p parameters) (any, *denial) {
		all := shown(n.profile)
		if fields := p.text("fields"); fields != "" {
			names := strings.Split(fields, ",")
			for _, name := range names {
				if !slices.Contains(profileFields, strings.TrimSpace(name)) {
					return nil, nonexisting(name, "WhatsAppBusinessProfile")
				}
			}
			for name := range all {
				if name != "messaging_product" && !slices.Contains(names, name) {
					delete(all, name)
				}
			}
		}
		return map[string]any{"data": []any{all}}, nil
	})(w, r)
}

// setProfile answers POST /{version}/{number}/whatsapp_business_profile.
func (s *Sim) setProfile(w http.ResponseWriter, r *http.Request) {
	s.forNumber(scopeManagement, func(n *numberAssets, id string, p parameters) (any, *denial) {
		if d := product(p); d != nil {
			return nil, d
		}
		if d := checkProfile(p); d != nil {
			return nil, d
		}
		for name, value := range p {
			switch {
			case name == "profile_picture_handle":
				n.profile["profile_picture_url"] = "https://pps.whatsapp.net/v/t61.24694-24/" + numberOf(fmt.Sprint(id, value))
			case slices.Contains(profileFields, name):
				n.profile[name] = value
			}
		}
		return done, nil
	})(w, r)
}

func checkProfile(p parameters) *denial {
	for name, most := range profileLimits {
		if _, isText := p[name].(string); p[name] != nil && !isText {
			return invalid(fmt.Sprintf("Param %s must be a string.", name))
		}
		if utf8.RuneCountInString(p.text(name)) > most {
			return invalid(fmt.Sprintf("Param %s must be at most %d characters long.", name, most))
		}
	}
	if email := p.text("email"); email != "" && !strings.Contains(email, "@") {
		return invalid("Param email must be a valid email address.")
	}
	if vertical := p.text("vertical"); vertical != "" && !slices.Contains(verticals, strings.ToUpper(vertical)) {
		return invalid(fmt.Sprintf("Param vertical must be one of {%s} - got %q.", strings.Join(verticals, ", "), vertical))
	}
	if sites, ok := p["websites"].([]any); len(sites) > 2 || p["websites"] != nil && !ok {
		return invalid("Param websites must be an array of at most 2 elements.")
	}
	return nil
}
