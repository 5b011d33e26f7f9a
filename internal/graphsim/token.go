package graphsim

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// denial is why a call is refused before its path matters.
type denial struct {
	status  int
	code    int
	subcode int
	message string
	title   string // for a user; empty: none
	text    string // with title
}

// Subcodes of 190: https://developers.facebook.com/docs/graph-api/guides/error-handling
const (
	tokenExpired = 463
	tokenInvalid = 467
)

// judge returns what is wrong with a token, or nil.
func (st *standing) judge(token string, now time.Time) *denial {
	switch {
	case token == "":
		return &denial{status: http.StatusUnauthorized, code: 104, subcode: 0, message: "An access token is required to request this resource."}
	case st.Token.Value != "" && token != st.Token.Value:
		return &denial{status: http.StatusUnauthorized, code: 190, subcode: 0, message: "Invalid OAuth access token - Cannot parse access token"}
	case st.Token.Revoked:
		return &denial{status: http.StatusUnauthorized, code: 190, subcode: tokenInvalid, message: "Error validating access token: The session has been invalidated."}
	case !st.expires.IsZero() && !now.Before(st.expires):
		return &denial{status: http.StatusUnauthorized, code: 190, subcode: tokenExpired, message: fmt.Sprintf(
			"Error validating access token: Session has expired on %s. The current time is %s.", stamp(st.expires), stamp(now))}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format("Monday, 02-Jan-06 15:04:05 MST") }

// mayTouch returns nil if the token has one of the permissions for the account, else the answer to the
// call.
func (st *standing) mayTouch(scopes ...string) *denial {
	if !slices.Contains(st.Token.Targets, st.ID) {
		return notFound("get", st.ID)
	}
	for _, scope := range scopes {
		if slices.Contains(st.Token.Scopes, scope) {
			return nil
		}
	}
	return &denial{status: http.StatusForbidden, code: 200, subcode: 1349174, message: "(#200) You do not have permission to access this WhatsApp Business Account"}
}

// notFound is the answer of the Graph API for an object that does not exist, or that the
// token may not read.
func notFound(method, id string) *denial {
	return &denial{status: http.StatusBadRequest, code: 100, subcode: 33, message: fmt.Sprintf("Unsupported %s request. Object with ID '%s' does not exist, cannot be loaded due to "+
		"missing permissions, or does not support this operation. Please read the Graph API documentation at "+
		"https://developers.facebook.com/docs/graph-api", strings.ToLower(method), id)}
}

// missing returns the answer to a call about an object that does not exist.
func missing(r *http.Request) *denial { return notFound(r.Method, r.PathValue("id")) }

// invalid returns the answer of the Graph API to a parameter that it refuses.
func invalid(text string) *denial {
	return &denial{status: http.StatusBadRequest, code: 100, subcode: 0, message: "(#100) " + text}
}

// required returns the answer to a call without a parameter.
func required(name string) *denial { return invalid("The parameter " + name + " is required.") }

// deny answers with a denial and counts it.
func (s *Sim) deny(w http.ResponseWriter, d *denial) {
	s.count(fmt.Sprint(d.code))
	kind := "OAuthException"
	if d.code == 100 && d.subcode == 33 {
		kind = "GraphMethodException"
	}
	writeFailure(w, d.status, graphError{
		Message: d.message, Type: kind, Code: d.code, Subcode: d.subcode, Title: d.title, Text: d.text, Trace: trace,
	})
}

// debugToken answers GET /{version}/debug_token. The call itself may carry the token in
// question, or the app's own: "<app id>|<app secret>".
// https://developers.facebook.com/docs/graph-api/reference/debug_token
func (s *Sim) debugToken(w http.ResponseWriter, r *http.Request) {
	st, now := s.standing.Load(), time.Now()
	caller, asked := bearer(r), r.URL.Query().Get("input_token")
	if !s.isAppToken(st, caller) {
		if d := st.judge(caller, now); d != nil {
			s.deny(w, d)
			return
		}
	}
	if asked == "" {
		s.refuse(w, 100, "The parameter input_token is required.")
		return
	}
	data := map[string]any{
		"app_id": st.App.ID, "application": st.App.Name, "type": st.Token.Type,
		"is_valid": true, "issued_at": s.began.Unix(), "expires_at": unixOrZero(st.expires), "data_access_expires_at": 0,
		"scopes": st.Token.Scopes, "granular_scopes": granular(st.Token), "user_id": systemUser,
	}
	switch d := st.judge(asked, now); {
	case s.isAppToken(st, asked):
		data = map[string]any{"app_id": st.App.ID, "application": st.App.Name, "type": "APP", "is_valid": true, "scopes": []string{}}
	case d != nil && d.subcode == 0: // not a token of this app: the answer has nothing about it
		data = map[string]any{"is_valid": false, "scopes": []string{}, "error": tokenError(d)}
	case d != nil:
		data["is_valid"], data["error"] = false, tokenError(d)
	}
	s.succeed(w, map[string]any{"data": data})
}

func tokenError(d *denial) map[string]any {
	e := map[string]any{"code": d.code, "message": d.message}
	if d.subcode != 0 {
		e["subcode"] = d.subcode
	}
	return e
}

// granular lists for each permission of WhatsApp the accounts that it applies to.
func granular(t Token) []any {
	all := []any{}
	for _, scope := range t.Scopes {
		if scope == scopeMessaging || scope == scopeManagement {
			all = append(all, map[string]any{"scope": scope, "target_ids": t.Targets})
		}
	}
	return all
}

// isAppToken reports whether a token is the app's own. Without an app secret any secret is accepted.
func (s *Sim) isAppToken(st *standing, token string) bool {
	secret, ok := strings.CutPrefix(token, st.App.ID+"|")
	return ok && secret != "" && (s.options.Webhook.Secret == "" || secret == s.options.Webhook.Secret)
}

func unixOrZero(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}
