package graphsim

import (
	"net/http"
	"path"
	"regexp"
	"slices"
	"time"
)

var pinForm = regexp.MustCompile(`^\d{6}$`)

// Meta accepts so many registrations and deregistrations of a number in a period.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/reference/whatsapp-business-phone-number/register-api
const (
	maxRegistrations   = 10
	registrationPeriod = 72 * time.Hour
)

// registration answers the calls that register a number and verify it: the path names what they do.
func (s *Sim) registration(w http.ResponseWriter, r *http.Request) {
	what := path.Base(r.URL.Path)
	s.forNumber(scopeManagement, func(n *numberAssets, id string, p parameters) (any, *denial) {
		switch {
		case what == "register" && !pinForm.MatchString(p.text("pin")):
			return nil, invalid("Param pin must be 6 characters long.")
		case what == "request_code" && !slices.Contains([]string{"SMS", "VOICE"}, p.text("code_method")):
			return nil, required("code_method")
		case what == "verify_code" && p.text("code") == "":
			return nil, required("code")
		}
		known := s.standing.Load().Numbers != nil // else every number exists, and none has settings
		pin, _ := s.standing.Load().number(id, 0)
		if what == "register" || what == "deregister" {
			now := time.Now()
			n.registrations = slices.DeleteFunc(n.registrations, func(at time.Time) bool { return now.Sub(at) > registrationPeriod })
			if len(n.registrations) == maxRegistrations {
				return nil, &denial{status: http.StatusBadRequest, code: 133016, message: "(#133016) Account register deregister rate limit exceeded"}
			}
			n.registrations = append(n.registrations, now)
		}
		change := func(alter func(n *Number)) (any, *denial) {
			if known {
				s.change(func(a *Account) error { alter(a.number(id)); return nil })
			}
			return done, nil
		}
		switch what {
		case "register":
			if pin.PIN != "" && pin.PIN != p.text("pin") {
				return nil, &denial{status: http.StatusBadRequest, code: 133005, message: "(#133005) Two-step verification PIN Mismatch"}
			}
			if pin.CodeVerification != "VERIFIED" {
				return nil, &denial{status: http.StatusBadRequest, code: 133006, message: "(#133006) Phone number re-verification needed"}
			}
			return change(func(n *Number) { n.Status, n.Platform, n.PIN = "CONNECTED", "CLOUD_API", p.text("pin") })
		case "deregister":
			return change(func(n *Number) { n.Status, n.Platform = "DISCONNECTED", "NOT_APPLICABLE" })
		case "verify_code":
			return change(func(n *Number) { n.CodeVerification = "VERIFIED" })
		}
		return done, nil
	})(w, r)
}

// exchangeCode answers GET /{version}/oauth/access_token: it exchanges the code of an Embedded Signup for the access token of the
// account, once.
// https://developers.facebook.com/documentation/business-messaging/whatsapp/embedded-signup/onboarding-customers-as-a-solution-partner
func (s *Sim) exchangeCode(w http.ResponseWriter, r *http.Request) {
	st, q := s.standing.Load(), r.URL.Query()
	code := q.Get("code")
	switch {
	case !s.isAppToken(st, q.Get("client_id")+"|"+q.Get("client_secret")):
		s.deny(w, &denial{status: http.StatusBadRequest, code: 1, message: "Error validating client secret."})
		return
	case code == "" || st.App.Code != "" && code != st.App.Code:
		s.deny(w, &denial{status: http.StatusBadRequest, code: 100, subcode: 36007, message: "Invalid verification code format."})
		return
	}
	s.assets.mu.Lock()
	used := slices.Contains(s.assets.exchanged, code)
	if !used {
		s.assets.exchanged = append(s.assets.exchanged, code)
	}
	s.assets.mu.Unlock()
	if used {
		s.deny(w, &denial{status: http.StatusBadRequest, code: 100, subcode: 36009, message: "This authorization code has been used."})
		return
	}
	token := st.Token.Value
	if token == "" {
		token = "EAAG-simulated-" + code
	}
	s.succeed(w, map[string]any{"access_token": token, "token_type": "bearer"})
}
