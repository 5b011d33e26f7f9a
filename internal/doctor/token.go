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

// graphAnswers checks that Meta answers, and its clock.
func (v *visit) graphAnswers(ctx context.Context) bool {
	before := time.Now()
	now, err := v.graph.Clock(ctx)
	if err != nil {
		v.add("Graph API", "", found(Fail, v.Worker.Graph.BaseURL+" does not answer: "+err.Error(), "permit HTTPS to it, or set HTTPS_PROXY to a proxy; graph.base_url or GRAPH_BASE_URL sets the address"))
		return false
	}
	v.add("Graph API", "", found(OK, v.Worker.Graph.BaseURL+" answers", ""))
	v.add("Graph version", "", graphVersion(v.Worker.Graph.Version, now))
	v.add("clock of Meta", "", skew(now, before, time.Now(), time.Second, "run NTP (chrony, systemd-timesyncd) on this machine"))
	return true
}

// versionSoon is how long before its end a version of the Graph API is worth a warning.
const versionSoon = 60 * 24 * time.Hour

// graphVersion checks when Meta ends the configured version.
func graphVersion(version string, now time.Time) Finding {
	const fix = "set graph.version to a newer one, and read Meta's changelog of the versions between"
	switch end := cloudapi.VersionEnd(version); {
	case end.IsZero():
		return found(OK, version+"; its end is not known", "")
	case !now.Before(end):
		return found(Warn, version+" ended on "+end.Format(time.DateOnly)+": Meta answers by a newer version", fix)
	case end.Sub(now) < versionSoon:
		return found(Warn, version+" ends on "+end.Format(time.DateOnly), fix)
	default:
		return found(OK, version+", until "+end.Format(time.DateOnly), "")
	}
}

// expirySoon is how long before its expiry a token is worth a warning.
const expirySoon = 7 * 24 * time.Hour

// tokenChecks are the checks of a valid token.
var tokenChecks = []struct {
	name  string
	judge func(g cloudapi.Grant, now time.Time) Finding
}{
	{"token type", func(g cloudapi.Grant, _ time.Time) Finding {
		if g.Type != "SYSTEM_USER" {
			return found(Warn, "of the type "+g.Type+", which expires with a person's session", "create one for a system user in Meta's business settings")
		}
		return found(OK, "of a system user", "")
	}},
	{"token scopes", func(g cloudapi.Grant, _ time.Time) Finding {
		var missing []string
		for _, scope := range cloudapi.Permissions {
			if !slices.Contains(g.Scopes, scope) {
				missing = append(missing, scope)
			}
		}
		if missing != nil {
			return found(Fail, "lacks "+strings.Join(missing, " and "), "create a new token for the system user, with both permissions: "+strings.Join(cloudapi.Permissions, " and "))
		}
		return found(OK, strings.Join(cloudapi.Permissions, ", "), "")
	}},
	{"token expiry", func(g cloudapi.Grant, now time.Time) Finding {
		if g.Expires.IsZero() {
			return found(OK, "never", "")
		}
		left := g.Expires.Sub(now)
		says := fmt.Sprintf("in %.0f days", left.Hours()/24)
		if left < expirySoon {
			return found(Warn, says, "create a new one that does not expire, and write it into the token_file: workers read it within seconds")
		}
		return found(OK, says, "")
	}},
}

// grant returns what Meta says of the token of a number. Numbers with the same token share one request.
func (v *visit) grant(ctx context.Context, number string) (g cloudapi.Grant, err error) {
	token, err := v.tokenOf(number)
	if err != nil {
		return g, err
	}
	known, ok := v.grants[token]
	if !ok {
		known.Grant, known.err = v.graph.Grant(ctx, number)
		v.grants[token] = known
	}
	return known.Grant, known.err
}

// token checks the token of a number. It returns false when Meta answers nothing with it.
func (v *visit) token(ctx context.Context, number string) (cloudapi.Grant, bool) {
	g, err := v.grant(ctx, number)
	const renew = "create a new one for a system user in Meta's business settings, write it into the token_file or ACCESS_TOKEN, and run doctor again for the checks that need it"
	switch {
	case err != nil:
		v.add("token", number, found(Fail, err.Error(), "run doctor again; if it fails again, "+renew))
		return g, false
	case g.Expired:
		v.add("token", number, found(Fail, "has expired", renew))
		return g, false
	case !g.Valid:
		v.add("token", number, found(Fail, "is not valid: revoked, incomplete, or of another app", renew))
		return g, false
	}
	v.add("token", number, found(OK, "valid, of the app "+g.App, ""))
	for _, c := range tokenChecks {
		v.add(c.name, number, c.judge(g, time.Now()))
	}
	return g, true
}

// why explains why Meta did not answer a question.
func why(err error) Finding {
	const scopes = "give the token both scopes, and assign the account to its system user with full control"
	if r, ok := errors.AsType[*cloudapi.Refusal](err); ok {
		if e, known := cloudapi.Lookup(r.Code); known {
			return found(Fail, fmt.Sprintf("Meta refused to show its settings: Meta's code %d, %s", r.Code, e.Title), scopes)
		}
		return found(Fail, "Meta refused to show its settings: "+r.Error(), scopes)
	}
	return found(Fail, err.Error(), "run doctor again")
}
