package console_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"sluice/internal/described"
	"sluice/internal/directory"
	"sluice/internal/message"
)

// TestConsoleAnswersAsDescribed: the console answers every operation with each of its statuses, in the
// shape that is described, and nothing else.
func TestConsoleAnswersAsDescribed(t *testing.T) {
	t.Parallel()
	d := setup(t)
	a := described.Read(t, string(d.c.Document().OpenAPI()))
	parked, queued, awaiting, dead := message.NewID(ours, "parked"), message.NewID(ours, "queued"), message.NewID(ours, "awaiting"), message.NewID(ours, "dead")
	d.store.dead = []message.DeadLetter{{ID: parked, Number: ours, Code: 131000, Reason: message.ReasonAttempts, At: time.Now()}}
	d.store.ended = []message.Record{{Context: message.Context{ID: queued, From: ours}, State: message.Dead, Code: 131000, Reason: "x", Timeline: []message.Step{{At: time.Now()}}}}
	full := message.Hold{Number: ours, Template: "sale/en_US", Reason: "because", Code: 132015, By: "anna", Key: "key-admin", Since: time.Now(), Until: time.Now()}
	number := `"phone_number_id":"` + ours + `"`

	// The calls that work, by operation; below they are made to fail.
	good := map[string]struct{ path, body string }{
		"listHolds":               {"/v1/holds", ""},
		"hold":                    {"/v1/holds", `{` + number + `,"template":"sale/en_US","for":"2h",` + signed + `}`},
		"release":                 {"/v1/holds/release", `{` + number + `,` + signed + `}`},
		"cancelCampaign":          {"/v1/campaigns/spring/cancel", `{"client":"acme",` + signed + `}`},
		"openCampaign":            {"/v1/campaigns/spring/open", `{` + signed + `}`},
		"setCampaign":             {"/v1/campaigns/spring/settings", `{"client":"acme","rate":20,"ramp_from":0.5,"ramp_over":"24h","cap_per_day":7,"time_zone":"Europe/Berlin",` + signed + `}`},
		"listInDoubt":             {"/v1/in-doubt?phone_number_id=" + ours, ""},
		"resolveInDoubt":          {"/v1/in-doubt/" + parked + "/resolve", `{"resolution":"sent",` + signed + `}`},
		"resolveManyInDoubt":      {"/v1/in-doubt/resolve", `{"ids":["` + parked + `"],"resolution":"sent",` + signed + `}`},
		"cancelMessageAsOperator": {"/v1/messages/" + parked + "/cancel", `{` + signed + `}`},
		"resendMessage":           {"/v1/messages/" + dead + "/resend", `{"extend":"2h",` + signed + `}`},
		"listDeadLetters":         {"/v1/dead-letters?phone_number_id=" + ours, ""},
		"replayDeadLetters":       {"/v1/dead-letters/replay", `{` + number + `,` + signed + `}`},
		"listAwaitingStatus":      {"/v1/awaiting-status?phone_number_id=" + ours, ""},
		"listAuditLog":            {"/v1/audit", ""},
		"readReport":              {"/v1/report?days=30", ""},
		"showPerson":              {"/v1/people/show", `{"recipient":"+49 170 1234567"}`},
		"exportPerson":            {"/v1/people/export", `{"recipient":"+491701234567",` + signed + `}`},
		"deletePerson":            {"/v1/people/delete", `{"recipient":"DE.1234","waiting":"cancel",` + signed + `}`},
		"addAuditEntry":           {"/v1/audit", `{"target":"send text",` + signed + `}`},
		"countUndelivered":        {"/v1/undelivered?phone_number_id=" + ours, ""},
		"resendUndelivered":       {"/v1/undelivered/resend", `{` + number + `,` + signed + `}`},
		"setRelayTarget":          {"/v1/relay/targets/crm", `{"url":"https://crm.example/hook","secret":"0123456789",` + signed + `}`},
		"listRelayTargets":        {"/v1/relay/targets", ""},
		"listRelayDeadLetters":    {"/v1/relay/targets/crm/dead-letters", ""},
		"holdRelayTarget":         {"/v1/relay/targets/crm/hold", `{` + signed + `}`},
		"releaseRelayTarget":      {"/v1/relay/targets/crm/release", `{` + signed + `}`},
		"removeRelayTarget":       {"/v1/relay/targets/crm/remove", `{` + signed + `}`},
		"replayRelayTarget":       {"/v1/relay/targets/crm/replay", `{"dead_letters":true,` + signed + `}`},
		"dropRelayDeadLetters":    {"/v1/relay/targets/crm/drop", `{` + signed + `}`},
		"getOverview":             {"/", ""},
		"getDocumentation":        {"/docs", ""},
		"getDescription":          {"/openapi.json", ""},
		"readOverview":            {"/v1/overview", ""},
		"readNumber":              {"/v1/numbers/" + ours, ""},
		"listNumbers":             {"/v1/numbers", ""},
		"listApps":                {"/v1/apps", ""},
		"listAPIKeys":             {"/v1/api-keys", ""},
		"listClients":             {"/v1/clients", ""},
		"readClient":              {"/v1/clients/acme", ""},
		"listAccounts":            {"/v1/accounts", ""},
		"setNumber":               {"/v1/numbers", `{` + number + `,"revision":3,"access_token":"x",` + signed + `}`},
		"setApp":                  {"/v1/apps", `{"name":"main","revision":3,"secret":"x",` + signed + `}`},
		"setAPIKey":               {"/v1/api-keys", `{"name":"shop","revision":3,` + signed + `}`},
		"setClient":               {"/v1/clients", `{"name":"acme","revision":3,` + signed + `}`},
		"rotateNumber":            {"/v1/numbers/" + ours + "/rotate", `{"access_token":"x",` + signed + `}`},
		"rotateApp":               {"/v1/apps/main/rotate", `{"secret":"x",` + signed + `}`},
		"rotateAPIKey":            {"/v1/api-keys/shop/rotate", `{` + signed + `}`},
		"removeNumber":            {"/v1/numbers/" + ours + "/remove", `{"revision":3,` + signed + `}`},
		"removeApp":               {"/v1/apps/main/remove", `{"revision":3,` + signed + `}`},
		"removeAPIKey":            {"/v1/api-keys/shop/remove", `{"revision":3,` + signed + `}`},
		"removeClient":            {"/v1/clients/acme/remove", `{"revision":3,` + signed + `}`},
		"exportDirectory":         {"/v1/directory/export", ""},
		"importDirectory":         {"/v1/directory/import", `{"document":"clients: []",` + signed + `}`},
		"reencryptDirectory":      {"/v1/directory/reencrypt", `{` + signed + `}`},
		"onboard":                 {"/v1/onboarding", `{"app":"main","waba_id":"10",` + number + `,` + signed + `}`},
		"changeRegistration":      {"/v1/numbers/" + ours + "/registration", `{"action":"deregister",` + signed + `}`},
		"listTemplates":           {"/v1/templates?waba_id=11", ""},
		"syncTemplates":           {"/v1/templates/sync", `{"waba_id":"11",` + signed + `}`},
		"listSchedules":           {"/v1/schedules", ""},
		"removeSchedule":          {"/v1/schedules/weekly/remove", `{"client":"acme",` + signed + `}`},
		"setRate":                 {"/v1/numbers/" + ours + "/rate", `{"rate":5,` + signed + `}`},
	}
	var slow sync.WaitGroup
	tooSlow := make(chan func(), len(good))
	for name, g := range good {
		pattern, method := a.Find(name)
		call := func(path, key string, body io.Reader, change func(http.Header)) {
			t.Helper()
			status, header, text := d.do(t, key, method, path, body, change)
			a.Check(name, status, header, text)
		}
		body := func() io.Reader { return strings.NewReader(g.body) }
		d.store.held = []message.Hold{full}
		d.store.open = map[string]message.Open{
			parked:   {ID: parked, State: message.Parked, Message: message.Context{ID: parked, From: ours, Class: message.Service}},
			queued:   {ID: queued, State: message.Queued},
			dead:     {ID: dead, State: message.Dead, Message: message.Context{ID: dead, From: ours, Class: message.Service}},
			awaiting: {ID: awaiting, State: message.Submitted, Message: message.Context{ID: awaiting, From: ours, Class: message.Service}},
		}
		if strings.Contains(pattern, "/relay/") {
			d.do(t, "wide", "PUT", good["setRelayTarget"].path, strings.NewReader(good["setRelayTarget"].body), nil)
		}
		call(g.path, "wide", body(), nil)
		call(g.path[:strings.IndexByte(g.path+"?", '?')]+"?nosuch=1", "wide", body(), nil)
		if pattern == "/" || pattern == "/docs" || pattern == "/openapi.json" {
			continue
		}
		call(g.path, "none", body(), nil)
		call(g.path, "messages:send", body(), nil)
		call(g.path, "admin", body(), func(h http.Header) { h["Authorization"] = []string{"a", "b"} })
		if strings.Contains(g.path, "?phone_number_id=") {
			call(g.path+"9", "admin", nil, nil)
		}
		if name != "listHolds" && name != "countUndelivered" && name != "listRelayTargets" && name != "readNumber" && method == "GET" {
			path, _, _ := strings.Cut(g.path, "?")
			call(path+"?limit=0", "wide", nil, nil)
		}
		if name == "readClient" {
			call("/v1/clients/nosuch", "wide", nil, nil)
			call(g.path, "admin", nil, nil)
		}
		if name == "readNumber" {
			call("/v1/numbers/"+theirs, "admin", nil, nil)
		}
		if method != "GET" {
			call(g.path, "admin", strings.NewReader("{"), nil)
			call(g.path, "admin", strings.NewReader("{}"), nil)
			call(g.path, "admin", body(), func(h http.Header) { h.Del("Content-Type") })
			call(g.path, "admin", strings.NewReader(`{"actor":"`+strings.Repeat("x", 64<<10)+`"}`), nil)
			if name == "importDirectory" {
				call(g.path, "admin", strings.NewReader(`{"actor":"`+strings.Repeat("x", 4<<20)+`"}`), nil)
			}
			if isEntry := strings.Contains(g.body, `"revision":3`) || strings.HasSuffix(pattern, "/rotate") || name == "importDirectory"; isEntry {
				d.directory.refuse = &directory.ConflictError{}
				call(g.path, "wide", body(), nil)
				d.directory.refuse = nil
				for _, name := range []string{"/main/", "/shop/", "/acme/", "/" + ours + "/"} {
					call(strings.Replace(g.path, name, "/nosuch/", 1), "wide", body(), nil)
				}
			}
			slow.Go(func() { // each waits for the read timeout, so they wait together
				body, drip := io.Pipe()
				defer drip.Close()
				status, header, text := d.do(t, "admin", method, g.path, body, nil)
				tooSlow <- func() { a.Check(name, status, header, text) }
			})
			if strings.Contains(pattern, "/relay/") && method == "POST" {
				call(strings.Replace(g.path, "/crm/", "/nosuch/", 1), "wide", body(), nil)
			}
			if name == "syncTemplates" { // the account of another client
				call(g.path, "admin", strings.NewReader(strings.Replace(g.body, "11", "22", 1)), nil)
			}
			if name == "cancelCampaign" {
				call(strings.Replace(g.path, "spring", "nosuch", 1), "wide", body(), nil)
			}
			if name == "removeSchedule" {
				call(strings.Replace(g.path, "weekly", "nosuch", 1), "wide", body(), nil)
			}
			if name == "deletePerson" {
				d.store.open[queued] = message.Open{ID: queued, State: message.Queued}
				call(g.path, "wide", strings.NewReader(strings.Replace(g.body, "cancel", "refuse", 1)), nil)
			}
			if name == "setRate" || name == "changeRegistration" {
				call(strings.Replace(g.path, ours, theirs+"9", 1), "wide", body(), nil)
			}
			if strings.Contains(pattern, "{id}") {
				for _, id := range []string{queued, awaiting, message.NewID(ours, "nosuch")} {
					call(strings.NewReplacer(parked, id, dead, id).Replace(g.path), "admin", body(), nil)
				}
			} else {
				call(g.path, "admin", strings.NewReader(strings.Replace(g.body, ours, theirs, 1)), nil)
			}
		}
		d.store.err = errors.New("away")
		call(g.path, "wide", body(), nil)
		d.store.err = nil
	}
	slow.Wait()
	close(tooSlow)
	for check := range tooSlow {
		check()
	}
	a.Done()
}
