package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sluice/internal/cloudapi"
)

// graphAnswers looks whether Meta answers at all, and at its clock.
func (v *visit) graphAnswers(ctx context.Context) bool {
	before := time.Now()
	now, err := v.graph.Clock(ctx)
	if err != nil {
		v.add("graph", "", found(Fail, v.Worker.Graph.BaseURL+" does not answer: "+err.Error(), "allow HTTPS to it, through a proxy by HTTPS_PROXY; graph.base_url or GRAPH_BASE_URL says where it is"))
		return false
	}
	v.add("graph", "", found(OK, v.Worker.Graph.BaseURL+" answers", ""))
	v.add("clock of graph", "", skew(now, before, time.Now(), time.Second))
	return true
}

// needed are the permissions that Sluice needs.
// https://developers.facebook.com/docs/whatsapp/business-management-api/get-started
var needed = []string{"whatsapp_business_messaging", "whatsapp_business_management"}

// expirySoon is when the end of a token is worth a warning.
const expirySoon = 7 * 24 * time.Hour

// tokenChecks are what is asked of a valid token.
var tokenChecks = []struct {
	name  string
	judge func(g cloudapi.Grant, now time.Time) Finding
}{
	{"token type", func(g cloudapi.Grant, _ time.Time) Finding {
		if g.Type != "SYSTEM_USER" {
			return found(Warn, "of the type "+g.Type+", which ends with a person's session", "make one for a system user, in Meta's business settings")
		}
		return found(OK, "of a system user", "")
	}},
	{"token scopes", func(g cloudapi.Grant, _ time.Time) Finding {
		var missing []string
		for _, scope := range needed {
			if !slices.Contains(g.Scopes, scope) {
				missing = append(missing, scope)
			}
		}
		if missing != nil {
			return found(Fail, "lacks "+strings.Join(missing, " and "), "make a new token for the system user, with both "+strings.Join(needed, " and ")+" ticked")
		}
		return found(OK, strings.Join(needed, ", "), "")
	}},
	{"token expiry", func(g cloudapi.Grant, now time.Time) Finding {
		if g.Expires.IsZero() {
			return found(OK, "never", "")
		}
		left := g.Expires.Sub(now)
		says := fmt.Sprintf("in %.0f days", left.Hours()/24)
		if left < expirySoon {
			return found(Warn, says, "make a new one that never expires, and put it into the token_file: workers read it within seconds")
		}
		return found(OK, says, "")
	}},
}

// token looks at the token of a number. It is false when nothing can be asked with it.
func (v *visit) token(ctx context.Context, number string) (cloudapi.Grant, bool) {
	g, err := v.graph.Grant(ctx, number)
	const renew = "make a new one for a system user in Meta's business settings, and put it into the token_file or ACCESS_TOKEN; what depends on it is looked at then"
	switch {
	case err != nil:
		v.add("token", number, found(Fail, err.Error(), "try again; if it stays so, "+renew))
		return g, false
	case g.Expired:
		v.add("token", number, found(Fail, "has expired", renew))
		return g, false
	case !g.Valid:
		v.add("token", number, found(Fail, "is not valid: revoked, cut short, or of another app", renew))
		return g, false
	}
	v.add("token", number, found(OK, "valid, of the app "+g.App, ""))
	for _, c := range tokenChecks {
		v.add(c.name, number, c.judge(g, time.Now()))
	}
	return g, true
}

// why explains a call that Meta did not answer with what was asked for.
func why(err error) Finding {
	const scopes = "give the token both scopes, and assign the account to its system user with full control"
	if r, ok := errors.AsType[*cloudapi.Refusal](err); ok {
		if e, known := cloudapi.Lookup(r.Code); known {
			return found(Fail, fmt.Sprintf("Meta does not tell: code %d, %s", r.Code, e.Title), scopes)
		}
		return found(Fail, "Meta does not tell: "+r.Error(), scopes)
	}
	return found(Fail, err.Error(), "try again")
}
