package cloudapi_test

import (
	"fmt"
	"slices"
	"testing"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

// want has the decision for every code that can come from sending. It is independent of the catalogue.
var want = map[message.Kind][]int{
	message.Throttled: {4, 17, 341, 613, 80007, 80008, 130429, 131056, 131208, 2494100},
	message.Held: {
		0, 3, 10, 33, 102, 104, 190, 200, 232, 299, 368, 803, 131005, 131031, 131037, 131042, 131045, 131048,
		131061, 131063, 131064, 132001, 132007, 132015, 132016, 132068, 132069, 133006, 133010, 134101, 134102, 139200, 141002, 141006, 2500,
	},
	message.Refused: {
		100, 506, 1026, 130403, 130472, 130497, 131002, 131008, 131009, 131014, 131020, 131021, 131026, 131030,
		131041, 131043, 131044, 131047, 131049, 131050, 131051, 131052, 131053, 131055, 131062, 131203, 131207,
		132000, 132005, 132008, 132012, 132018, 134011, 134100, 134103, 135000, 137000, 138009, 138017, 138038, 2494191,
	},
	message.ServerError: {131057, 1, 2, 131000, 131016, 133004},
}

func TestEveryCodeIsClassified(t *testing.T) {
	t.Parallel()
	seen := map[int]bool{}
	for kind, codes := range want {
		for _, code := range codes {
			seen[code] = true
			e, ok := cloudapi.Lookup(code)
			if !ok {
				t.Errorf("%d is not in the catalogue", code)
				continue
			}
			if e.Kind != kind {
				t.Errorf("%d: kind %q, want %q", code, e.Kind, kind)
			}
			// The code decides, not the HTTP status.
			for _, status := range []int{e.Status, 200, 400, 429, 500, 503} {
				out := cloudapi.Classify(status, nil, graphError(code, ""))
				if out.Kind != kind || out.Code != code || out.RetryAfter != e.RetryAfter || out.Err == nil {
					t.Errorf("HTTP %d, code %d: %+v, want kind %q", status, code, out, kind)
				}
				if want := fmt.Sprint("code ", code); out.Reason != want {
					t.Errorf("HTTP %d, code %d: reason %q", status, code, out.Reason)
				}
			}
		}
	}
	for _, e := range cloudapi.Catalogue() {
		if !seen[e.Code] {
			t.Errorf("%s is in the catalogue but not in this test", e.Name())
		}
	}
}

// TestRoutes: the codes of messages that are on the wrong route name the right one.
func TestRoutes(t *testing.T) {
	t.Parallel()
	routes := map[int]message.Route{
		131055: message.RouteMessages, 134100: message.RouteMessages, 131061: message.RouteMarketing, 131063: message.RouteMarketing, 2500: message.OtherVersion,
	}
	for _, e := range cloudapi.Catalogue() {
		if got := cloudapi.Classify(400, nil, graphError(e.Code, "")).Needs; e.Subcode == 0 && got != routes[e.Code] {
			t.Errorf("code %d needs the route %q, want %q", e.Code, got, routes[e.Code])
		}
	}
}

// TestLimits: only Meta's own codes name the limit that was reached.
func TestLimits(t *testing.T) {
	t.Parallel()
	limits := map[int]message.Limit{
		130429: message.LimitNumber, 131056: message.LimitPair, 131057: message.LimitRest, 2494100: message.LimitRest,
		4: message.LimitApp, 17: message.LimitApp, 341: message.LimitApp, 613: message.LimitApp, 80007: message.LimitApp, 80008: message.LimitApp,
	}
	for _, e := range cloudapi.Catalogue() {
		if e.Subcode != 0 || e.Code == cloudapi.NoCode {
			continue
		}
		for _, status := range []int{400, 429, 500} {
			if got := cloudapi.Classify(status, nil, graphError(e.Code, "")).Limit; got != limits[e.Code] {
				t.Errorf("HTTP %d, code %d: the limit of %q, want %q", status, e.Code, got, limits[e.Code])
			}
		}
	}
	for name, out := range map[string]message.Outcome{
		"400 with a new code":    cloudapi.Classify(400, nil, graphError(987654, "")),
		"accepted":               cloudapi.Classify(200, nil, []byte(`{"messages":[{"id":"wamid.A"}]}`)),
		"accepted, unreadable":   cloudapi.Classify(200, nil, nil),
		"no answer worth a name": cloudapi.Classify(503, nil, nil),
	} {
		if out.Limit != "" {
			t.Errorf("%s: the limit of %q", name, out.Limit)
		}
	}
	for name, out := range map[string]message.Outcome{
		"a gateway's 429":     cloudapi.Classify(429, nil, []byte("slow down")),
		"429 with a new code": cloudapi.Classify(429, nil, graphError(987654, "")),
	} {
		if out.Limit != message.LimitApp {
			t.Errorf("%s: the limit of %q", name, out.Limit)
		}
	}
}

// TestWhatAFailedStatusMeans: codes about numbers and templates hold them, as in an answer. Codes about recipients never
// hold.
func TestWhatAFailedStatusMeans(t *testing.T) {
	t.Parallel()
	for code, want := range map[int]message.HoldOn{
		131042: message.HoldNumber, 131031: message.HoldNumber, 131048: message.HoldNumber, 131037: message.HoldNumber,
		131045: message.HoldNumber, 131064: message.HoldNumber, 368: message.HoldNumber,
		132015: message.HoldTemplate, 132016: message.HoldTemplate,
		131026: "", 131049: "", 131047: "", 130472: "", 131050: "", 0: "",
	} {
		out := cloudapi.Reported(code)
		if out.Hold != want || out.Unknown || cloudapi.Resendable(code) != (want != "") || out.Endless != (code == 132016) {
			t.Errorf("%d: %+v, resendable: %t", code, out, cloudapi.Resendable(code))
		}
		if template, free := cloudapi.Replaces(code, true), cloudapi.Replaces(code, false); template != (want == message.HoldTemplate) || free != (code == 131047) {
			t.Errorf("%d: the fallback template replaces a template %t, a free-form message %t", code, template, free)
		}
	}
	for _, code := range []int{130429, 131000, 131016, 131056} { // temporary faults: resendable, without a hold
		if out := cloudapi.Reported(code); out.Hold != "" || out.Unknown || !cloudapi.Resendable(code) {
			t.Errorf("%d: %+v, resendable: %t", code, out, cloudapi.Resendable(code))
		}
	}
	if out := cloudapi.Reported(987654); !out.Unknown || out.Hold != "" || !cloudapi.Resendable(987654) {
		t.Errorf("a new code: %+v", out)
	}
}

// TestWhatIsHeld: a fault that an operator must correct holds the template, or else the number. One that concerns
// neither holds nothing.
func TestWhatIsHeld(t *testing.T) {
	t.Parallel()
	templates := []int{131061, 131063, 134101, 132001, 132007, 132015, 132016, 132068, 132069, 134102, 141002}
	for kind, codes := range want {
		for _, code := range codes {
			var want message.HoldOn
			switch {
			case kind == message.Held && slices.Contains(templates, code):
				want = message.HoldTemplate
			case code == 139200: // it is about messages without a template
			case kind == message.Held:
				want = message.HoldNumber
			}
			if got := cloudapi.Classify(400, nil, graphError(code, "")).Hold; got != want {
				t.Errorf("code %d holds the %q, want %q", code, got, want)
			}
		}
	}
}

func TestCatalogueIsComplete(t *testing.T) {
	t.Parallel()
	last := -1
	for _, e := range append(cloudapi.Catalogue(), cloudapi.Fallbacks()...) {
		if e.Title == "" || e.Meaning == "" || e.Advice == "" || e.Kind == "" || e.Scope == "" || e.From == "" {
			t.Errorf("%s: something is missing: %+v", e.Name(), e)
		}
		if e.Kind == message.Throttled && e.RetryAfter == 0 {
			t.Errorf("%s: throttled without a delay", e.Name())
		}
		if e.Code != cloudapi.NoCode {
			if e.Code < last || e.Code == last && e.Subcode == 0 {
				t.Errorf("%s is out of order", e.Name())
			}
			last = e.Code
		}
	}
}

// Some lists on the Internet are wrong about these codes.
func TestCommonMistakes(t *testing.T) {
	t.Parallel()
	tests := []struct {
		code  int
		title string
		kind  message.Kind
		scope cloudapi.Scope
	}{
		{131021, "Recipient cannot be sender", message.Refused, cloudapi.ScopeRecipient},                 // not the list of allowed recipients
		{131030, "Recipient phone number not in allowed list", message.Refused, cloudapi.ScopeRecipient}, //
		{131051, "Unsupported message type", message.Refused, cloudapi.ScopeMessage},                     // not an invalid phone number
		{131043, "Message expired", message.Refused, cloudapi.ScopeMessage},                              // not an unapproved template
		{132001, "Template does not exist", message.Held, cloudapi.ScopeTemplate},                        // that one is
		{131052, "Media download error", message.Refused, cloudapi.ScopeMessage},                         // the media of the customer, not of the message
		{131053, "Media upload error", message.Refused, cloudapi.ScopeMessage},                           //
		{232, "API Permission", message.Held, cloudapi.ScopeNumber},                                      // not media
		{10, "API Permission Denied", message.Held, cloudapi.ScopeNumber},                                // not the app's live mode
		{368, "Temporarily blocked for policies violations", message.Held, cloudapi.ScopeNumber},         // not a block by a recipient
		{190, "Access token has expired", message.Held, cloudapi.ScopeNumber},                            //
		{3, "API Method", message.Held, cloudapi.ScopeNumber},                                            // HTTP 500, but permanent
		{131045, "Incorrect certificate", message.Held, cloudapi.ScopeNumber},                            // likewise
		{134102, "Template unavailable", message.Held, cloudapi.ScopeTemplate},                           // likewise
		{130429, "Rate limit hit", message.Throttled, cloudapi.ScopeNumber},                              // HTTP 400, but throttling
		{131056, "(Business Account, Consumer Account) pair rate limit hit", message.Throttled, "pair"},  // likewise, for this pair only
		{131048, "Spam rate limit hit", message.Held, cloudapi.ScopeNumber},                              // about the number
		{131049, "Meta chose not to deliver", message.Refused, cloudapi.ScopeRecipient},                  // about the recipient
		{131057, "Account in maintenance mode", message.ServerError, cloudapi.ScopeNumber},
		{131063, "Marketing templates disabled on Cloud API", message.Held, cloudapi.ScopeTemplate}, //
		{132015, "Template is paused", message.Held, cloudapi.ScopeTemplate},                        //
		{132012, "Template parameter format mismatch", message.Refused, cloudapi.ScopeMessage},      //
		{131042, "Business eligibility payment issue", message.Held, cloudapi.ScopeNumber},          //
		{139200, "Direct Send access blocked", message.Held, cloudapi.ScopeMessage},                 // templates are sent
	}
	for _, tt := range tests {
		e, ok := cloudapi.Lookup(tt.code)
		if !ok || e.Title != tt.title || e.Kind != tt.kind || e.Scope != tt.scope {
			t.Errorf("%d: %v %q %q %q, want %q %q %q", tt.code, ok, e.Title, e.Kind, e.Scope, tt.title, tt.kind, tt.scope)
		}
	}
	for _, code := range []int{-1, 5, 199, 300, 400, 100005, 133016, 138000, 139000, 2388040, 2494010} {
		if e, ok := cloudapi.Lookup(code); ok {
			t.Errorf("%d cannot come from sending, but is %q", code, e.Title)
		}
	}
}

// TestPasses: the codes of temporary faults, with those that Meta also reports by webhook.
func TestPasses(t *testing.T) {
	t.Parallel()
	for kind, codes := range want {
		for _, code := range codes {
			want := kind == message.Throttled || kind == message.Transient || kind == message.ServerError
			if got := cloudapi.Passes(code); got != want {
				t.Errorf("%d passes: %t", code, got)
			}
		}
	}
	if cloudapi.Passes(987654) {
		t.Error("an unknown code is temporary")
	}
}
