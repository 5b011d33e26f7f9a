package console_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// TestEveryRouteNeedsItsScope: a key that may send may not hold, and one that may see the console changes nothing.
func TestEveryRouteNeedsItsScope(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for _, r := range d.c.Document().Routes {
		path := strings.NewReplacer("{id}", message.NewID(ours, "x"), "{phone_number_id}", ours, "{name}", "main", "{$}", "").Replace(r.Path)
		if r.Scope == "" {
			if status, _, _ := d.do(t, "none", r.Method, path, nil, nil); status != 200 {
				t.Errorf("%s %s, which needs no key: %d", r.Method, r.Path, status)
			}
			continue
		}
		for _, scope := range httpapi.Scopes() {
			status, answer := d.ask(t, scope, r.Method, path, "{}")
			refused := status == http.StatusForbidden && answer["code"] == "scope_missing"
			may := scope == httpapi.ScopeAdmin || scope == httpapi.ScopeConsole && r.Method == http.MethodGet
			if refused == may || (r.Scope == httpapi.ScopeConsole) != (r.Method == http.MethodGet) {
				t.Errorf("%s %s with a key for %s: %d %v", r.Method, r.Path, scope, status, answer["code"])
			}
		}
		if status, _ := d.ask(t, "none", r.Method, path, "{}"); status != 401 {
			t.Errorf("%s %s without a key: %d", r.Method, r.Path, status)
		}
	}
	if document := d.c.Document().OpenAPI(); !json.Valid(document) {
		t.Error("the description is no JSON")
	}
}

const signed = `"actor":"anna","reason":"because"`

// TestOrdersAreChecked: a wrong order is refused with the code of its error, and changes nothing.
func TestOrdersAreChecked(t *testing.T) {
	t.Parallel()
	parked := message.NewID(ours, "parked")
	resolve, holds, replay, resend := "/v1/in-doubt/"+parked+"/resolve", "/v1/holds", "/v1/dead-letters/replay", "/v1/undelivered/resend"
	for name, tt := range map[string]struct {
		path, body string
		status     int
		code       string
	}{
		"71: without a reason":        {resolve, `{"resolution":"sent","actor":"anna"}`, 422, "reason_missing"},
		"a blank reason":              {resolve, `{"resolution":"sent","actor":"anna","reason":"  "}`, 422, "reason_missing"},
		"a long reason":               {resolve, `{"resolution":"sent","actor":"anna","reason":"` + strings.Repeat("x", 201) + `"}`, 422, "reason_missing"},
		"actor of Sluice":             {resolve, `{"resolution":"sent","actor":"Sluice","reason":"because"}`, 422, "actor_reserved"},
		"no actor":                    {resolve, `{"resolution":"sent","reason":"because"}`, 422, "actor_missing"},
		"resolve as what":             {resolve, `{` + signed + `}`, 422, "resolution_unknown"},
		"not there":                   {"/v1/in-doubt/" + message.NewID(ours, "unknown") + "/resolve", `{"resolution":"sent",` + signed + `}`, 404, "not_found"},
		"another's":                   {"/v1/in-doubt/" + message.NewID(theirs, "parked") + "/resolve", `{"resolution":"sent",` + signed + `}`, 404, "not_found"},
		"no id":                       {"/v1/in-doubt/..%2Fx/resolve", `{"resolution":"sent",` + signed + `}`, 404, "not_found"},
		"no body":                     {resolve, ``, 400, "body_empty"},
		"cut off":                     {resolve, `{"resolution"`, 400, "json_invalid"},
		"something behind":            {resolve, `{"resolution":"sent",` + signed + `}x`, 400, "json_trailing_data"},
		"an unknown member":           {resolve, `{"resolution":"sent","x":1,` + signed + `}`, 422, "field_unknown"},
		"another type":                {resolve, `{"resolution":7,` + signed + `}`, 422, "type_mismatch"},
		"too much":                    {resolve, `{"resolution":"` + strings.Repeat("x", 70000) + `"}`, 413, "body_too_large"},
		"hold nothing":                {holds, `{` + signed + `}`, 422, "hold_target_invalid"},
		"hold all and one":            {holds, `{"all":true,"phone_number_id":"` + ours + `",` + signed + `}`, 422, "hold_target_invalid"},
		"a template of all":           {holds, `{"template":"a/en",` + signed + `}`, 422, "hold_target_invalid"},
		"a template without language": {holds, `{"phone_number_id":"` + ours + `","template":"a",` + signed + `}`, 422, "hold_target_invalid"},
		"hold all with a narrow key":  {holds, `{"all":true,` + signed + `}`, 403, "all_numbers_required"},
		"a tag with a narrow key":     {holds, `{"tag":"spring",` + signed + `}`, 403, "all_numbers_required"},
		"a campaign and a tag":        {holds, `{"campaign":"spring","tag":"spring",` + signed + `}`, 422, "hold_target_invalid"},
		"a client without a campaign": {holds, `{"client":"acme",` + signed + `}`, 422, "hold_target_invalid"},
		"a campaign, a narrow key":    {holds, `{"campaign":"spring",` + signed + `}`, 403, "all_numbers_required"},
		"another's number":            {holds, `{"phone_number_id":"` + theirs + `",` + signed + `}`, 404, "phone_number_id_not_found"},
		"no number of ours":           {holds, `{"phone_number_id":"1",` + signed + `}`, 404, "phone_number_id_not_found"},
		"for how long":                {holds, `{"phone_number_id":"` + ours + `","for":"1 day",` + signed + `}`, 422, "duration_invalid"},
		"why":                         {holds, `{"phone_number_id":"` + ours + `","actor":"anna"}`, 422, "reason_missing"},
		"replay what":                 {replay, `{` + signed + `}`, 422, "phone_number_id_missing"},
		"replay another's":            {replay, `{"phone_number_id":"` + theirs + `",` + signed + `}`, 404, "phone_number_id_not_found"},
		"replay too many":             {replay, `{"phone_number_id":"` + ours + `","limit":501,` + signed + `}`, 422, "query_invalid"},
		"replay for how long":         {replay, `{"phone_number_id":"` + ours + `","extend":"x",` + signed + `}`, 422, "duration_invalid"},
		"a member in capitals":        {resolve, `{"Resolution":"sent",` + signed + `}`, 422, "field_unknown"},
		"a member with a Kelvin sign": {resolve, `{"\u212aey":1,"resolution":"sent",` + signed + `}`, 422, "field_unknown"},
		"a member twice":              {resolve, `{"resolution":"cancel","resolution":"sent",` + signed + `}`, 400, "json_duplicate_member"},
		"an array":                    {resolve, `[{"resolution":"sent",` + signed + `}]`, 400, "json_not_object"},
		"half of a surrogate pair":    {resolve, `{"resolution":"sent\ud800",` + signed + `}`, 400, "utf8_invalid"},
		"a blank template":            {holds, `{"phone_number_id":"` + ours + `","template":"",` + signed + `}`, 422, "value_empty"},
		"a blank number":              {holds, `{"phone_number_id":"","all":true,` + signed + `}`, 422, "value_empty"},
		"for a blank time":            {holds, `{"phone_number_id":"` + ours + `","for":"",` + signed + `}`, 422, "value_empty"},
		"replay none":                 {replay, `{"phone_number_id":"` + ours + `","limit":0,` + signed + `}`, 422, "query_invalid"},
		"replay of a blank cause":     {replay, `{"phone_number_id":"` + ours + `","message_reason":"",` + signed + `}`, 422, "value_empty"},
		"replay since an odd time":    {replay, `{"phone_number_id":"` + ours + `","since":"2026-01-31T15:04:05+25:00",` + signed + `}`, 422, "time_invalid"},
		"resend what":                 {resend, `{` + signed + `}`, 422, "phone_number_id_missing"},
		"resend another's":            {resend, `{"phone_number_id":"` + theirs + `",` + signed + `}`, 404, "phone_number_id_not_found"},
		"resend from a state":         {resend, `{"phone_number_id":"` + ours + `","state":"dead,delivered",` + signed + `}`, 422, "state_unknown"},
		"resend none":                 {resend, `{"phone_number_id":"` + ours + `","limit":0,` + signed + `}`, 422, "query_invalid"},
		"resend too many":             {resend, `{"phone_number_id":"` + ours + `","limit":10001,` + signed + `}`, 422, "query_invalid"},
		"resend too fast":             {resend, `{"phone_number_id":"` + ours + `","rate":501,` + signed + `}`, 422, "query_invalid"},
		"resend for how long":         {resend, `{"phone_number_id":"` + ours + `","extend":"x",` + signed + `}`, 422, "duration_invalid"},
		"resend of a blank tag":       {resend, `{"phone_number_id":"` + ours + `","tag":"",` + signed + `}`, 422, "value_empty"},
		"resend why":                  {resend, `{"phone_number_id":"` + ours + `","actor":"anna"}`, 422, "reason_missing"},
		"replay why":                  {replay, `{"phone_number_id":"` + ours + `"}`, 422, "actor_missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			d.store.open[parked] = message.Open{ID: parked, State: message.Parked}
			d.store.dead = []message.DeadLetter{{ID: parked, Number: ours}}
			if status, answer := d.ask(t, "admin", "POST", tt.path, tt.body); status != tt.status || answer["code"] != tt.code {
				t.Errorf("%d %v, want %d %s", status, answer, tt.status, tt.code)
			}
			if len(d.store.moves)+len(d.store.held)+len(d.store.noted) > 0 {
				t.Error("the order changed something")
			}
		})
	}
}

// TestQueries: every parameter of a query is used, or the request is refused.
func TestQueries(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for path, code := range map[string]string{
		"/v1/dead-letters?code=%2B131000": "query_invalid", "/v1/dead-letters?code=0x1F": "query_invalid", "/v1/dead-letters?code=-1": "query_invalid", "/v1/dead-letters?code=": "query_invalid",
		"/v1/dead-letters?since=2026-01-31T15:04:05,5Z": "query_invalid", "/v1/dead-letters?limit=1001": "query_invalid", "/v1/dead-letters?limit=1&limit=2": "query_invalid",
		"/v1/dead-letters?cursor=x": "query_unknown", "/v1/dead-letters?Limit=5": "query_unknown", "/v1/holds?phone_number_id=" + ours: "query_unknown", "/v1/dead-letters?phone_number_id=": "query_invalid",
		"/v1/dead-letters?%zz": "query_invalid", "/v1/undelivered": "phone_number_id_missing", "/v1/undelivered?phone_number_id=" + ours + "&state=sent": "state_unknown",
	} {
		if status, answer := d.ask(t, "admin", "GET", path, ""); status != 422 || answer["code"] != code {
			t.Errorf("%s: %d %v, want %s", path, status, answer, code)
		}
	}
	if status, answer := d.ask(t, "admin", "POST", "/v1/holds?dry=true", `{"phone_number_id":"`+ours+`",`+signed+`}`); status != 422 || answer["code"] != "query_unknown" || len(d.store.held) > 0 {
		t.Errorf("%d %v", status, answer)
	}
}

// TestHold: a hold has the target, the actor and the key of its order.
func TestHold(t *testing.T) {
	t.Parallel()
	d := setup(t)
	status, answer := d.ask(t, "wide", "POST", "/v1/holds", `{"tag":"spring","for":"2h",`+signed+`}`)
	h := d.store.held[0]
	if status != 200 || answer["tag"] != "spring" || h.By != "anna" || h.Key != "key-wide" || h.Reason != "because" || time.Until(h.Until) > 2*time.Hour || time.Until(h.Until) < time.Hour {
		t.Errorf("%d %v: %+v", status, answer, h)
	}
	for key, want := range map[string]string{"admin": "[<nil> 3]", "wide": "[1 2 3]"} { // the held messages that the key may see
		d.store.held = []message.Hold{{Tag: "spring"}, {Number: theirs}, {Number: ours}}
		_, answer := d.ask(t, key, "GET", "/v1/holds", "")
		var counts []any
		for _, h := range answer["holds"].([]any) {
			counts = append(counts, h.(map[string]any)["held_messages"])
		}
		if got := fmt.Sprint(counts); got != want {
			t.Errorf("%s sees %s held messages, want %s: %v", key, got, want, answer)
		}
	}
	if status, answer := d.ask(t, "wide", "POST", "/v1/holds/release", `{"tag":"spring",`+signed+`}`); status != 200 || answer["released"] != true {
		t.Errorf("%d %v", status, answer)
	}
	if status, answer := d.ask(t, "wide", "POST", "/v1/holds/release", `{"all":true,`+signed+`}`); status != 200 || answer["released"] != false {
		t.Errorf("%d %v", status, answer)
	}
}

// TestStoreAway: without a store every request is answered 503.
func TestStoreAway(t *testing.T) {
	t.Parallel()
	d := setup(t)
	id := message.NewID(ours, "x")
	d.store.open[id] = message.Open{ID: id, State: message.Parked}
	d.store.err = errors.New("away")
	for path, body := range map[string]string{
		"/v1/holds": `{"phone_number_id":"` + ours + `",` + signed + `}`, "/v1/holds/release": `{"phone_number_id":"` + ours + `",` + signed + `}`,
		"/v1/in-doubt/" + id + "/resolve": `{"resolution":"sent",` + signed + `}`, "/v1/dead-letters/replay": `{"phone_number_id":"` + ours + `",` + signed + `}`,
		"/v1/undelivered/resend": `{"phone_number_id":"` + ours + `",` + signed + `}`,
	} {
		if status, answer := d.ask(t, "admin", "POST", path, body); status != 503 || answer["code"] != "store_unavailable" {
			t.Errorf("%s: %d %v", path, status, answer)
		}
	}
	for _, path := range []string{"/v1/holds", "/v1/in-doubt", "/v1/dead-letters", "/v1/audit", "/v1/overview", "/v1/numbers/" + ours, "/v1/undelivered?phone_number_id=" + ours} {
		if status, _ := d.ask(t, "wide", "GET", path, ""); status != 503 {
			t.Errorf("%s: %d", path, status)
		}
	}
}
