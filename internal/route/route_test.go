package route_test

import (
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/config"
	"sluice/internal/message"
	"sluice/internal/route"
)

const object = `{"messaging_product":"whatsapp","to":"+15551234567","type":"template"}`

// world has the numbers and the categories of templates that a router knows.
type world struct {
	*route.Router
	numbers    map[string]config.Number
	categories map[string]message.Class
}

func setup() *world {
	w := &world{categories: map[string]message.Class{"sale": message.Marketing, "order": message.Utility}}
	w.numbers = map[string]config.Number{
		"off": {}, "fallback": {Marketing: config.MarketingFallback}, "strict": {Marketing: config.MarketingStrict},
	}
	w.Router = route.New(route.Options{
		Number: func(id string) (config.Number, bool) { n, ok := w.numbers[id]; return n, ok }, Version: "v25.0",
		Category: func(_, name, _ string) message.Class { return w.categories[name] },
		Log:      slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	return w
}

func (w *world) request(number, template string, class message.Class) message.Request {
	return w.Request(message.Context{ID: "id", From: number, Template: template, Class: class}, []byte(object))
}

// refusal is the outcome of an attempt that Meta refused because of its route.
func refusal(needs message.Route) message.Outcome {
	return message.Outcome{Kind: message.Held, Hold: message.HoldTemplate, Code: 1, Reason: "code 1", Needs: needs}
}

// TestRoutes: the setting of the number and the category of the template decide, and without a category the class. What the caller
// decided stays.
func TestRoutes(t *testing.T) {
	t.Parallel()
	w := setup()
	for _, tt := range []struct {
		number, template string
		class            message.Class
		policy           string // empty: not the Marketing Messages API
	}{
		{"off", "sale/en", message.Marketing, ""},
		{"fallback", "sale/en", message.Marketing, "CLOUD_API_FALLBACK"},
		{"fallback", "sale/en", message.Utility, "CLOUD_API_FALLBACK"},
		{"strict", "sale/en", message.Marketing, "STRICT"},
		{"strict", "order/en", message.Marketing, ""},
		{"strict", "unknown/en", message.Marketing, "STRICT"},
		{"strict", "unknown/en", message.Utility, ""},
		{"strict", "", message.Marketing, ""},
		{"not there", "sale/en", message.Marketing, ""},
	} {
		q := w.request(tt.number, tt.template, tt.class)
		has := strings.Contains(string(q.Body), `"product_policy":"`+tt.policy+`"`)
		if q.Marketing != (tt.policy != "") || q.Marketing != has || q.Fixed || q.Number != tt.number || q.Template != tt.template || q.Version != "v25.0" {
			t.Errorf("%+v: %+v %s", tt, q, q.Body)
		}
	}
	theirs := `{"messaging_product":"whatsapp","product_policy":"STRICT","type":"template"}`
	q := w.Request(message.Context{From: "fallback", Template: "order/en"}, []byte(theirs))
	if !q.Marketing || !q.Fixed || string(q.Body) != theirs {
		t.Errorf("of the caller: %+v %s", q, q.Body)
	}
}

// TestOtherRoute: a message that Meta refused because of its route goes once by the other one, and so do later messages of the template.
func TestOtherRoute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup()
		change := func(number, template string, class message.Class, needs message.Route) (first, next message.Request, out message.Outcome) {
			first = w.request(number, template, class)
			out = w.Answered(first, refusal(needs))
			return first, w.request(number, template, class), out
		}
		for name, tt := range map[string]struct {
			number, template string
			class            message.Class
			needs            message.Route
			other            bool
		}{
			"to marketing":           {"fallback", "unknown/en", message.Utility, message.RouteMarketing, true},
			"to the Cloud API":       {"strict", "unknown/en", message.Marketing, message.RouteMessages, true},
			"the number forbids it":  {"off", "sale/en", message.Marketing, message.RouteMarketing, false},
			"it is there already":    {"strict", "sale/en", message.Marketing, message.RouteMarketing, false},
			"another refusal":        {"strict", "order/en", message.Marketing, "", false},
			"calls of a SIP number":  {"off", "order/en", message.Utility, message.RouteMessages, false},
			"a version, no canary":   {"off", "order/en", message.Utility, message.OtherVersion, false},
			"a template of a number": {"fallback", "unknown2/en", message.Utility, message.RouteMarketing, true},
		} {
			first, next, out := change(tt.number, tt.template, tt.class, tt.needs)
			if (out.Kind == message.Transient) != tt.other || (next.Marketing != first.Marketing) != tt.other || next.Fixed != tt.other || out.Code != 1 {
				t.Errorf("%s: %+v, then %+v, %+v", name, first, next, out)
			}
			if tt.other { // once
				back := message.RouteMessages
				if tt.needs == back {
					back = message.RouteMarketing
				}
				if out := w.Answered(next, refusal(back)); out.Kind != message.Held {
					t.Errorf("%s: the route changes twice: %+v", name, out)
				}
			}
		}
		if _, next, _ := change("strict", "unknown/de", message.Marketing, message.RouteMessages); next.Marketing {
			t.Error("the route of another language was not learned")
		}
		w.categories["unknown"] = message.Marketing
		if !w.request("strict", "unknown/de", message.Utility).Marketing {
			t.Error("what was learned stays after the category has changed")
		}
		delete(w.categories, "unknown")
		time.Sleep(2 * time.Hour)
		if q := w.request("fallback", "unknown/en", message.Utility); q.Marketing || q.Fixed {
			t.Errorf("what was learned stays for hours: %+v", q)
		}
	})
}

// TestCanary: the share of the messages has the version of the canary, in each attempt. If Meta does not know the version, they have that
// of their number for a time.
func TestCanary(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := setup()
		w.numbers["canary"] = config.Number{Versions: config.GraphVersions{Version: "v24.0", Canary: "v27.0", Share: 5}}
		const n = 10_000
		of := func() (versions map[string]int, last string) {
			versions = map[string]int{}
			for i := range n {
				c := message.Context{ID: message.NewID("canary", fmt.Sprint(i)), From: "canary"}
				q := w.Request(c, []byte(object))
				if again := w.Request(c, []byte(object)); again.Version != q.Version {
					t.Fatalf("%s: %s, then %s", c.ID, q.Version, again.Version)
				}
				if versions[q.Version]++; q.Version == "v27.0" {
					last = c.ID
				}
			}
			return versions, last
		}
		versions, last := of()
		if c := versions["v27.0"]; c < n*4/100 || c > n*6/100 || c+versions["v24.0"] != n {
			t.Errorf("versions %v", versions)
		}
		out := w.Answered(w.Request(message.Context{ID: last, From: "canary"}, []byte(object)), refusal(message.OtherVersion))
		if versions, _ := of(); out.Kind != message.Transient || versions["v24.0"] != n {
			t.Errorf("after an unknown version: %+v, versions %v", out, versions)
		}
		time.Sleep(time.Hour)
		if later, _ := of(); later["v27.0"] != versions["v27.0"] {
			t.Errorf("an hour later: %v", later)
		}
	})
}
