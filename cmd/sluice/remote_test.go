package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestOrders: what the tool asks for, command by command, and what it prints.
func TestOrders(t *testing.T) {
	const number, id = "106540352242922", "106540352242922-ufeqxlws3bsv46lbkkufh7m55l"
	person := filepath.Join(t.TempDir(), "person")
	if err := os.WriteFile(person, []byte("+491701234567\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	request := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(request, []byte(`{"from":"1","message":{}}`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		args   []string
		asks   string // method, path and body
		answer string
		prints []string
	}{
		"cancel": {[]string{"cancel", id}, "POST /v1/messages/" + id + "/cancel ", `{"id":"` + id + `","state":"cancelled"}`, []string{"cancelled"}},
		"explain": {
			[]string{"explain", id},
			"GET /v1/messages/" + id + "/explain ",
			`{"state":"queued","rule":"hold","detail":"It is held.","error":{"title":"Too fast","advice":"Wait."}}`,
			[]string{"waits for  hold", "It is held.", "Too fast", "until      -"},
		},
		"explain a dead message": {
			[]string{"explain", id},
			"GET /v1/messages/" + id + "/explain ",
			`{"state":"dead","rule":"final","reason":"attempts_used_up","error":{"code":131000,"title":"Something went wrong","advice":"Wait.","message":"(#131000) Oops","details":"Of the media","error_subcode":2494055,"fbtrace_id":"Az8or2yhqkZ"}}`,
			[]string{"attempts_used_up", "Something went wrong", "131000", "(#131000) Oops", "Of the media", "2494055", "Az8or2yhqkZ"},
		},
		"explain code 0": {
			[]string{"explain", id},
			"GET /v1/messages/" + id + "/explain ", `{"state":"queued","error":{"code":0,"title":"AuthException"}}`,
			[]string{"Meta's code  0\n"},
		},
		"list": {
			[]string{"list", "--tag", "spring", "--since", "2026-01-31T15:04:05Z", "--limit", "1"},
			"GET /v1/messages?limit=1&since=2026-01-31T15%3A04%3A05Z&tag=spring ",
			`{"messages":[{"id":"` + id + `","state":"failed","class":"service","to":"+15***67","code":131026},{"id":"second"}],"next_cursor":"x"}`,
			[]string{id, "failed", "+15***67", "131026"},
		},
		"campaigns": {
			[]string{"campaigns", "list", "--client", "acme"},
			"GET /v1/campaigns?client=acme ",
			`{"campaigns":[{"campaign":"spring","client":"acme","messages":12,"states":{"queued":5},"delivered":4,"undelivered":3,"taken_last_minute":80}]}`,
			[]string{"CAMPAIGN", "spring", "acme", "12", "80"},
		},
		"campaign": {
			[]string{"campaigns", "show", "a/b"},
			"GET /v1/campaigns/a%2Fb ",
			`{"messages":8,"states":{"queued":5,"failed":3},"undelivered":3,"pending":5,"pending_done_by":"2026-01-31T15:04:05Z","over_budgets":[{"budget":"campaign","limit":"0.50","spent":"0.25","messages":3}],"holds":[{"reason":"price"}],` +
				`"undelivered_by_cause":[{"state":"failed","count":3,"error":{"code":131026,"title":"Undeliverable","advice":"Ask."}}],"templates":[{"template":"a/en","messages":2},{"template":"b/en","messages":6}]}`,
			[]string{"5 (62.5 %)", "5, sent by about 2026-01-31T15:04:05Z", "over the budget campaign", "about 3, 0.25 of 0.50 is spent", "price", "131026", "Undeliverable", "a/en"},
		},
		"settings of a campaign": {
			[]string{"campaigns", "set", "a/b", "--client", "acme", "--rate", "0.5", "--ramp-from", "0.1", "--ramp-over", "24h", "--cap-per-day", "5000", "--time-zone", "Europe/Berlin", "--reason", "warm up", "--actor", "anna"},
			`PUT /v1/campaigns/a%2Fb/settings {"actor":"anna","cap_per_day":5000,"client":"acme","ramp_from":0.1,"ramp_over":"24h0m0s","rate":0.5,"reason":"warm up","time_zone":"Europe/Berlin"}`,
			`{"campaign":"a/b","settings":{"rate":0.5,"rate_now":0.1,"ramp_until":"2026-02-01T15:04:05Z","cap_per_day":5000,"time_zone":"Europe/Berlin","sent_today":5000,"cap_reached_until":"2026-02-01T15:04:05Z","actor":"anna","reason":"warm up","set_at":"2026-01-31T15:04:05Z"}}`,
			[]string{"0.1 messages per second at each number, increasing to 0.5 until", "5000 messages in a day (Europe/Berlin), 5000 today: the campaign goes on at 2026-02-01", "by anna: warm up"},
		},
		"no settings of a campaign": {
			[]string{"campaigns", "set", "spring", "--reset", "--rate", "0", "--reason", "done", "--actor", "anna"},
			`PUT /v1/campaigns/spring/settings {"actor":"anna","rate":0,"reason":"done","reset":true}`, `{"campaign":"spring"}`,
			[]string{"The campaign has no settings."},
		},
		"schedules": {
			[]string{"schedules", "list"},
			"GET /v1/schedules ",
			`{"schedules":[{"name":"report","at":["09:00","17:00"],"dates":[1,-1],"time_zone":"UTC","phone_number_id":"` + number + `","to":"+15***67","next":["2026-02-01T09:00:00Z"],"last":{"at":"2026-01-31T17:00:00Z","result":"refused","code":"api_key_revoked"},"skipped":2}]}`,
			[]string{"report", number + "  +15***67  1,-1 09:00,17:00 UTC", "2026-02-01T09:00:00Z", "2026-01-31T17:00:00Z  api_key_revoked  2"},
		},
		"set a schedule": {
			[]string{"schedules", "set", "report", request, "--at", "09:00,17:00", "--date", "1", "--date=-1", "--time-zone", "Europe/Berlin", "--last-day", "2026-12-31"},
			`PUT /v1/schedules/report {"at":["09:00","17:00"],"dates":[1,-1],"time_zone":"Europe/Berlin","last_day":"2026-12-31","request":{"from":"1","message":{}}}`,
			`{"name":"report","at":["09:00"],"time_zone":"UTC","next":["2026-02-01T09:00:00Z","2026-02-02T09:00:00Z"],"warnings":[{"path":"request.message.x","detail":"Odd."}]}`,
			[]string{"daily 09:00 UTC", "2026-02-02T09:00:00Z", "request.message.x: Odd."},
		},
		"show a schedule":   {[]string{"schedules", "show", "report"}, "GET /v1/schedules/report ", `{"name":"report","paused":true,"last":{"result":"accepted","message_id":"` + id + `"}}`, []string{"paused", "accepted " + id}},
		"remove a schedule": {[]string{"schedules", "remove", "report"}, "DELETE /v1/schedules/report ", `{"name":"report"}`, []string{"report is deleted"}},
		"list by ids":       {[]string{"list", id, "x", "--json"}, "GET /v1/messages?ids=" + id + "%2Cx ", `{"messages":[{"id":"` + id + `"}]}`, []string{`{"id":"` + id + `"}`}},
		"send after another message": {
			[]string{"send", "--from", number, "--to", "+1555", "--text", "Hello", "--key", "k", "--after-key", "first", "--after-state", "read", "--after-within", "2h"},
			`POST /v1/messages {"from":"` + number + `","message":{"text":{"body":"Hello"},"to":"+1555","type":"text"},"key":"k","after":{"key":"first","state":"read","within":"2h0m0s"}}`,
			`{"id":"` + id + `","state":"queued"}`,
			[]string{id + " queued"},
		},
		"for scripts": {[]string{"holds", "--json"}, "GET /v1/holds ", `{"holds":[]}`, []string{`{"holds":[]}`}},
		"holds": {
			[]string{"holds"},
			"GET /v1/holds ", `{"holds":[{"tag":"spring","reason":"price","actor":"anna","since":"2026-01-31T15:04:05Z"}]}`,
			[]string{"tag spring", "anna", "ENDS", "an operator releases it", "price"},
		},
		"what holds keep": {
			[]string{"holds"},
			"GET /v1/holds ", `{"holds":[{"phone_number_id":"` + number + `","reason":"Access token has expired","code":190,"actor":"sluice","since":"2026-01-31T15:04:05Z","held_messages":1234}]}`,
			[]string{"TARGET", "SINCE", "META'S CODE  HELD MESSAGES  ENDS", "number " + number, "190", "1234", "when the number has a new access token, when Meta announces", "Access token has expired"},
		},
		"no holds": {[]string{"holds"}, "GET /v1/holds ", `{"holds":[]}`, []string{"There are no holds."}},
		"hold": {
			[]string{"hold", number, "--template", "a/en", "--for", "2h", "--reason", "price", "--actor", "anna"},
			`POST /v1/holds {"actor":"anna","all":false,"for":"2h","phone_number_id":"` + number + `","reason":"price","template":"a/en"}`,
			`{"phone_number_id":"` + number + `","template":"a/en","reason":"price","actor":"anna"}`,
			[]string{"template a/en of number " + number},
		},
		"release": {
			[]string{"release", "--tag", "spring", "--reason", "corrected", "--actor", "anna"},
			`POST /v1/holds/release {"actor":"anna","all":false,"reason":"corrected","tag":"spring"}`, `{"released":false}`,
			[]string{"There was no such hold."},
		},
		"rate": {[]string{"rate", number}, "GET /v1/numbers/" + number + " ", `{"rate":40,"limit":80,"configured":80,"refused_at":80}`, []string{"40 messages per second, increasing back to 80, as configured; Meta last refused at 80"}},
		"rate that increases": {
			[]string{"rate", number, "--set", "500", "--from", "10", "--over", "24h", "--reason", "new", "--actor", "anna"},
			"PUT /v1/numbers/" + number + `/rate {"actor":"anna","from":10,"over":"24h0m0s","rate":500,"reason":"new"}`,
			`{"rate":10,"limit":500,"set_rate":500,"configured":80}`,
			[]string{"set instead of the configured 80"},
		},
		"rate as configured": {
			[]string{"rate", number, "--reset", "--reason", "good", "--actor", "anna"},
			"PUT /v1/numbers/" + number + `/rate {"actor":"anna","reason":"good","reset":true}`, `{"rate":80,"limit":80,"configured":80}`,
			[]string{"80 messages per second, as configured"},
		},
		"in-doubt": {
			[]string{"in-doubt", "--phone-number-id", number},
			"GET /v1/in-doubt?limit=100&phone_number_id=" + number + " ",
			`{"messages":[{"id":"` + id + `","state":"parked","class":"service","to":"+15***67","since":"2026-01-31T15:04:05Z"}]}`,
			[]string{id, "parked", "+15***67"},
		},
		"resolve": {
			[]string{"in-doubt", "resolve", id, "not-sent", "--reason", "asked", "--actor", "anna"},
			`POST /v1/in-doubt/` + id + `/resolve {"actor":"anna","reason":"asked","resolution":"not-sent"}`, `{"id":"` + id + `","state":"queued"}`,
			[]string{"queued"},
		},
		"dead-letters": {
			[]string{"dead-letters", "--code", "131000", "--list", "1"},
			"GET /v1/dead-letters?code=131000&limit=1 ",
			`{"count":7,"groups":[{"phone_number_id":"` + number + `","code":131000,"reason":"attempts_used_up","count":7}],"messages":[{"id":"` + id + `"}]}`,
			[]string{"attempts_used_up  7", id},
		},
		"awaiting-status": {
			[]string{"awaiting-status", "--limit", "5"},
			"GET /v1/awaiting-status?limit=5 ", `{"messages":[{"id":"` + id + `","wamid":"wamid.A","attempt":1,"since":"2026-01-31T15:04:05Z"}]}`,
			[]string{id, "wamid.A"},
		},
		"suppressions list": {
			[]string{"suppressions", "list", "--limit", "1"},
			"GET /v1/suppressions?limit=1 ",
			`{"suppressions":[{"recipient":"+49***67","source":"keyword","phone_number_id":"` + number + `","at":"2026-01-31T15:04:05Z"}],"next_cursor":"1.1"}`,
			[]string{"+49***67", "2026-01-31T15:04:05Z", "keyword", "--cursor 1.1"},
		},
		"suppressions show": {
			[]string{"suppressions", "show", "--to", person, "--client", "acme"},
			`POST /v1/suppressions/show {"client":"acme","recipient":"+491701234567"}`,
			`{"recipient":"+49***67","client":"acme","source":"api","reason":"asked by mail","api_key":"crm","at":"2026-01-31T15:04:05Z"}`,
			[]string{"+49***67", "asked by mail", "crm"},
		},
		"suppressions add": {
			[]string{"suppressions", "add", "--to", person, "--reason", "asked by mail"},
			`POST /v1/suppressions {"reason":"asked by mail","recipient":"+491701234567"}`, `{"changed":true}`,
			[]string{"gets no marketing messages"},
		},
		"suppressions remove": {
			[]string{"suppressions", "remove", "--to", person},
			`POST /v1/suppressions/remove {"recipient":"+491701234567"}`, `{"changed":false}`,
			[]string{"was not in the list"},
		},
		"people show": {
			[]string{"people", "show", "--to", person},
			`POST /v1/people/show {"recipient":"+491701234567"}`, `{"identities":2,"portfolios":1,"messages":{"read":3},"archive_rows":4,"schedule_count":5,"other_entries":6,"event_streams":"until later"}`,
			[]string{"2  phone numbers", "3  messages are read", "4  rows", "5  schedules", "6  other", "until later"},
		},
		"people export": {
			[]string{"people", "export", "--to", person, "--reason", "asked", "--actor", "anna"},
			`POST /v1/people/export {"actor":"anna","reason":"asked","recipient":"+491701234567"}`, `{"records":[]}`,
			[]string{`{"records":[]}`},
		},
		"people delete counts": {
			[]string{"people", "delete", "--to", person},
			`POST /v1/people/show {"recipient":"+491701234567"}`, `{"messages":{"queued":1}}`,
			[]string{"1  messages are queued"},
		},
		"people delete": {
			[]string{"people", "delete", "--to", person, "--confirm", "--waiting", "cancel", "--reason", "asked", "--actor", "anna"},
			`POST /v1/people/delete {"actor":"anna","reason":"asked","recipient":"+491701234567","waiting":"cancel"}`, `{"deleted":3,"cancelled":1,"remaining":0,"archive_rows":4,"other_entries":5,"schedules":[{"client":"acme","name":"report"},{"name":"weekly"}]}`,
			[]string{"3  messages deleted", "1  of them cancelled", "4  rows", "5  other entries", "2  schedules deleted", "acme       report", "no client  weekly"},
		},
		"audit": {
			[]string{"audit"},
			"GET /v1/audit?limit=100 ", `{"entries":[{"at":"2026-01-31T15:04:05Z","action":"hold","target":"all","actor":"anna","api_key_name":"ops","reason":"stop"}]}`,
			[]string{"hold", "anna", "ops", "stop"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			asked, printed, code := sluice(t, tt.args, tt.answer)
			if code != 0 || !slices.Equal(asked, []string{tt.asks}) {
				t.Errorf("asked %q, want %q; exit code %d", asked, tt.asks, code)
			}
			for _, want := range tt.prints {
				if !strings.Contains(printed, want) {
					t.Errorf("printed\n%s\nwithout %q", printed, want)
				}
			}
		})
	}
}

// TestReplayCountsFirst: without --confirm nothing is sent again; with it, part by part, those that
// were dead at the beginning.
func TestReplayCountsFirst(t *testing.T) {
	const number = "106540352242922"
	asked, printed, code := sluice(t, []string{"replay", "--phone-number-id", number, "--code", "7"}, `{"count":3,"groups":[]}`)
	if code != 0 || len(asked) != 1 || !strings.HasPrefix(asked[0], "GET /v1/dead-letters?code=7&limit=1&phone_number_id="+number+"&until=") || !strings.Contains(printed, "would be sent again") {
		t.Errorf("asked %q, printed %q, exit code %d", asked, printed, code)
	}
	asked, _, code = sluice(t, []string{"replay", "--phone-number-id", number, "--code", "0"}, `{"count":3,"groups":[]}`)
	if code != 0 || len(asked) != 1 || !strings.Contains(asked[0], "code=0&") {
		t.Errorf("with code 0 asked %q, exit code %d", asked, code)
	}
	asked, printed, code = sluice(t, []string{"replay", "--phone-number-id", number, "--confirm", "--reason", "back", "--rate", "2", "--json"},
		`{"replayed":2,"overdue":0,"more":true,"next":"2026-01-31T15:04:05Z"}`, `{"replayed":1,"overdue":1}`)
	if code != 0 || len(asked) != 2 || printed != `{"replayed":3,"overdue":1}`+"\n" {
		t.Fatalf("asked %q, printed %q, exit code %d", asked, printed, code)
	}
	var orders [2]struct {
		Limit        int
		Since, Until time.Time
		Reason       string
	}
	for i, a := range asked {
		_, body, _ := strings.Cut(a, "/v1/dead-letters/replay ")
		if err := json.Unmarshal([]byte(body), &orders[i]); err != nil {
			t.Fatal(err)
		}
	}
	if orders[0].Limit != 2 || orders[0].Reason != "back" || !orders[0].Since.IsZero() || orders[1].Since.IsZero() || !orders[0].Until.Equal(orders[1].Until) {
		t.Errorf("ordered %+v", orders)
	}
}

// TestActorOf: an order is not given in the name of Sluice.
func TestActorOf(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"anna": "anna", "sluice": "operator", "Sluice-api": "operator"} {
		if got := actorOf(name); got != want {
			t.Errorf("actor of user %s: %q, want %q", name, got, want)
		}
	}
}

// TestResend: what ended is counted first; with --confirm it is sent again by one order.
func TestResend(t *testing.T) {
	const number = "106540352242922"
	asked, printed, code := sluice(t, []string{"resend", number, "--state", "expired", "--tag", "spring", "--code", "0"},
		`{"count":5,"resendable":3,"content_dropped":1,"maybe_delivered":1,"overdue":2,"groups":[{"state":"expired","reason":"deadline","count":5,"resendable":3}]}`)
	if code != 0 || !slices.Equal(asked, []string{"GET /v1/undelivered?code=0&phone_number_id=" + number + "&state=expired&tag=spring "}) || !strings.Contains(strings.Join(strings.Fields(printed), " "), "3 of 5 messages can be sent again") {
		t.Errorf("asked %q, printed %q, exit code %d", asked, printed, code)
	}
	asked, printed, code = sluice(t, []string{"resend", number, "--template", "order/en_US", "--rate", "50", "--extend", "2h", "--confirm", "--reason", "held", "--actor", "anna"},
		`{"resent":3,"overdue":1,"more":true,"last":"2026-01-31T15:04:05Z"}`)
	want := "POST /v1/undelivered/resend " + `{"actor":"anna","extend":"2h","phone_number_id":"` + number + `","rate":50,"reason":"held","template":"order/en_US"}`
	if code != 0 || !slices.Equal(asked, []string{want}) || !strings.Contains(printed, "there are more") || !strings.Contains(printed, "queued again, the last due 2026-01-31") {
		t.Errorf("asked %q, want %q; printed %q, exit code %d", asked, want, printed, code)
	}
	_, printed, code = sluice(t, []string{"resend", number, "--confirm", "--reason", "held"}, `{"resent":0,"content_dropped":1}`)
	if code != 0 || !strings.Contains(printed, "queued again\n") {
		t.Errorf("nothing to send again: printed %q, exit code %d", printed, code)
	}
}

// TestSuppressionFiles: an import sends the file as it is, and says which lines are wrong. An export prints the list as it comes.
func TestSuppressionFiles(t *testing.T) {
	file := filepath.Join(t.TempDir(), "people.CSV")
	if err := os.WriteFile(file, []byte("recipient\n+491701234567\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	asked, printed, code := sluice(t, []string{"suppressions", "import", file, "--client", "acme"}, `{"added":1,"unchanged":2,"refused":0,"errors":[]}`)
	if code != 0 || !slices.Equal(asked, []string{"POST /v1/suppressions/import?client=acme recipient\n+491701234567\n"}) || printed != "1 added, 2 unchanged, 0 refused\n" {
		t.Errorf("asked %q, printed %q, exit code %d", asked, printed, code)
	}
	_, printed, code = sluice(t, []string{"suppressions", "import", file}, `{"added":0,"unchanged":0,"refused":1,"errors":[{"line":2,"code":"person_invalid"}]}`)
	if code != 1 || !strings.Contains(printed, "line 2: person_invalid\n") {
		t.Errorf("a line with a mistake: printed %q, exit code %d", printed, code)
	}
	const list = "recipient,source\n+491701234567,keyword\n"
	asked, printed, code = sluice(t, []string{"suppressions", "export", "--client", "acme"}, list)
	if code != 0 || !slices.Equal(asked, []string{"GET /v1/suppressions/export?client=acme&format=csv "}) || printed != list {
		t.Errorf("asked %q, printed %q, exit code %d", asked, printed, code)
	}
}

// TestListSaysThatThereIsMore: on standard error, so that a script reads only messages.
func TestListSaysThatThereIsMore(t *testing.T) {
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stderr := os.Stderr
	os.Stderr = out
	_, printed, code := sluice(t, []string{"list", "--state", "failed", "--limit", "1"}, `{"messages":[{"id":"a"}],"next_cursor":"x"}`)
	os.Stderr = stderr
	out.Close()
	text, err := io.ReadAll(in)
	if want := "sluice: only the first 1 are shown: raise --limit\n"; err != nil || code != 0 || string(text) != want || strings.Contains(printed, "raise") {
		t.Errorf("%v, exit code %d, standard error %q, want %q, standard output %q", err, code, text, want, printed)
	}
}

// An empty value, of a variable that a script did not set, is passed on to be refused, and does not
// widen what is meant.
func TestEmptyFlagsAreNotLeftOut(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"hold", "1", "--template", "", "--reason", "x", "--actor", "a"}, `"template":""`},
		{[]string{"hold", "1", "--for", "", "--reason", "x", "--actor", "a"}, `"for":""`},
		{[]string{"dead-letters", "--phone-number-id", ""}, "phone_number_id="},
		{[]string{"resend", "1", "--tag", ""}, "tag="},
		{[]string{"replay", "--phone-number-id", "1", "--message-reason", "", "--confirm", "--reason", "x"}, `"message_reason":""`},
	} {
		if asked, _, _ := sluice(t, tt.args, `{}`); len(asked) != 1 || !strings.Contains(asked[0], tt.want) {
			t.Errorf("%q: asked %q, want %s", tt.args, asked, tt.want)
		}
	}
	for _, c := range []sendCmd{{Key: new("")}, {Key: new(" ")}, {Ref: new("")}, {afterFlags: afterFlags{After: new("")}}, {afterFlags: afterFlags{AfterKey: new("")}}} {
		if c.Validate() == nil {
			t.Errorf("sent with an empty key, ref or message to wait for: %+v", c)
		}
	}
}

// sluice runs the tool against an API, and console, with these answers, and returns what it asked for.
func sluice(t *testing.T, args []string, answers ...string) (asked []string, printed string, code int) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		io.WriteString(w, answers[min(len(asked), len(answers)-1)])
		asked = append(asked, r.Method+" "+r.URL.RequestURI()+" "+string(body))
	}))
	defer srv.Close()
	t.Setenv("SLUICE_API", srv.URL)
	t.Setenv("SLUICE_CONSOLE", srv.URL)
	t.Setenv("SLUICE_API_KEY", "key")
	in, out, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout := os.Stdout
	os.Stdout = out
	defer func() { os.Stdout = stdout }()
	code = run(args)
	out.Close()
	text, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return asked, string(text), code
}
