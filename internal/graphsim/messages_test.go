package graphsim_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/internal/graphsim"
)

func TestMessagesAreJudged(t *testing.T) {
	t.Parallel()
	const to = `"to":"+16505551234",`
	long := strings.Repeat("ä", 4097)
	for _, c := range []struct {
		name, members string
		status, code  int
	}{
		{"text", to + `"type":"text","text":{"body":"` + long[2:] + `"}`, 200, 0},
		{"type is text when absent", to + `"text":{"body":"x"}`, 200, 0},
		{"image", to + `"type":"image","image":{"link":"https://example.com/a.png"}`, 200, 0},
		{"document", to + `"type":"document","document":{"id":"1","filename":"a.pdf"}`, 200, 0},
		{"location", to + `"type":"location","location":{"latitude":1.5,"longitude":"2"}`, 200, 0},
		{"contacts", to + `"type":"contacts","contacts":[{"name":{"formatted_name":"A B","first_name":"A"}}]`, 200, 0},
		{"template", to + `"type":"template","template":{"name":"a","language":{"code":"en"}}`, 200, 0},
		{"cta_url", to + `"type":"interactive","interactive":{"type":"cta_url","body":{"text":"x"},"action":{"name":"cta_url","parameters":{"display_text":"x","url":"https://example.com"}}}`, 200, 0},
		{"without the plus", `"to":"16505551234","text":{"body":"x"}`, 200, 0},
		{"a link that only later fails", to + `"type":"image","image":{"link":"http://127.0.0.1/a.png"}`, 200, 0},
		{"marked as read", `"status":"read","message_id":"wamid.x"`, 200, -1},
		{"to a user id", `"recipient":"US.13491208655302741918","type":"text","text":{"body":"x"}`, 200, 0},
		{"to a group", `"to":"group-id","recipient_type":"group","type":"text","text":{"body":"x"}`, 200, 0},

		{"no recipient", `"type":"text","text":{"body":"x"}`, 400, 100},
		{"recipient of a wrong type", `"to":16505551234,"text":{"body":"x"}`, 400, 100},
		{"callback data too long", text("16505551234", strings.Repeat("x", 513)), 400, 100},
		{"status that is not read", `"status":"gone","message_id":"wamid.x"`, 400, 100},
		{"not a phone number", `"to":"+1650x","text":{"body":"x"}`, 400, 131009},
		{"not a user id", `"recipient":"x","text":{"body":"x"}`, 400, 131009},
		{"unknown type", to + `"type":"smoke","smoke":{}`, 400, 100},
		{"no content", to + `"type":"text"`, 400, 131008},
		{"null content", to + `"type":"text","text":null`, 400, 131008},
		{"no text body", to + `"type":"text","text":{}`, 400, 131008},
		{"empty text body", to + `"type":"text","text":{"body":""}`, 400, 131008},
		{"text too long", to + `"type":"text","text":{"body":"` + long + `"}`, 400, 100},
		{"content of a wrong type", to + `"type":"image","image":"x"`, 400, 100},
		{"mark of read for nothing", `"status":"read"`, 400, 100},
		{"typing what", `"status":"read","message_id":"wamid.x","typing_indicator":{"type":"song"}`, 400, 100},
		{"new line in a parameter", to + `"type":"template","template":{"name":"a","language":{"code":"en"},"components":[{"type":"body","parameters":[{"type":"text","text":"a\nb"}]}]}`, 400, 132018},
		{"image of nothing", to + `"type":"image","image":{}`, 400, 131008},
		{"image by id and link", to + `"type":"image","image":{"id":"1","link":"https://example.com"}`, 400, 131009},
		{"half a location", to + `"type":"location","location":{"latitude":1}`, 400, 131009},
		{"no contacts", to + `"type":"contacts","contacts":[]`, 400, 131008},
		{"reaction to nothing", to + `"type":"reaction","reaction":{"emoji":"x"}`, 400, 131008},
		{"template without language", to + `"type":"template","template":{"name":"a"}`, 400, 131008},
		{"interactive without action", to + `"type":"interactive","interactive":{"type":"button"}`, 400, 131008},
		{"four buttons", to + buttons("a", "b", "c", "d"), 400, 131009},
		{"title too long", to + buttons(strings.Repeat("x", 21)), 400, 131009},
		{"list without rows", to + `"type":"interactive","interactive":{"type":"list","body":{"text":"x"},"action":{}}`, 400, 131008},
		{"buttons without body", to + `"type":"interactive","interactive":{"type":"button","action":{}}`, 400, 131008},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := setup(t, graphsim.Options{})
			a := b.send(c.members)
			if a.Status != c.status || a.Error.Code != max(c.code, 0) {
				t.Errorf("answered %d, code %d; want %d, %d: %s", a.Status, a.Error.Code, c.status, c.code, a.Raw)
			}
			if taken := len(b.Accepted()) == 1; taken != (c.status == 200 && c.code == 0) {
				t.Errorf("taken: %v", taken)
			}
		})
	}
}

func buttons(titles ...string) string {
	var all []string
	for _, title := range titles {
		all = append(all, `{"type":"reply","reply":{"id":"id-`+title+`","title":"`+title+`"}}`)
	}
	return `"type":"interactive","interactive":{"type":"button","body":{"text":"How was it?"},"action":{"buttons":[` +
		strings.Join(all, ",") + `]}}`
}

func TestWhatIsNoMessageIsRefused(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	for _, body := range []string{"", "nonsense", "[]", "null", "{}", `{"messaging_product":"sms"}`, strings.Repeat(" ", 1<<20+1)} {
		a := b.do("POST", "/v25.0/"+number+"/messages", body)
		if a.Status != 400 || a.Error.Code != 100 {
			t.Errorf("%.20q: %d %s", body, a.Status, a.Raw)
		}
	}
	for _, path := range []string{"/v25.0/me/messages", "/latest/" + number + "/messages", "/v25.0/" + number + "/nothing"} {
		a := b.do("POST", path, "{}")
		if a.Status != 400 || a.Error.Code != 100 || a.Error.Subcode != 33 {
			t.Errorf("%s: %d %s", path, a.Status, a.Raw)
		}
	}
}

func TestAnswerHasMetasShape(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	a := b.send(text("+1 (650) 555-1234", "our marker"))
	if len(a.Contacts) != 1 || a.Contacts[0].Input != "+1 (650) 555-1234" || a.Contacts[0].WaID != "16505551234" {
		t.Errorf("contacts: %s", a.Raw)
	}
	if len(a.Messages) != 1 || !strings.HasPrefix(a.Messages[0].ID, "wamid.") || a.Messages[0].Status != "" {
		t.Errorf("messages: %s", a.Raw)
	}
	got := b.Accepted()[0]
	if got.End.Before(got.Start) || got.Start.IsZero() {
		t.Errorf("from %v to %v", got.Start, got.End)
	}
	want := graphsim.Accepted{
		Number: number, Marker: "our marker", WAMID: a.Messages[0].ID, Type: "text", To: "16505551234", Version: "v25.0",
		Start: got.Start, End: got.End,
	}
	if got != want {
		t.Errorf("ledger has %+v, want %+v", got, want)
	}

	a = b.send(`"to":"+16505551234","type":"template","template":{"name":"a","language":{"code":"en"}}`)
	if a.Messages[0].Status != "accepted" || a.Messages[0].ID == got.WAMID {
		t.Errorf("template: %s", a.Raw)
	}
	a = b.send(`"recipient":"US.1349","type":"text","text":{"body":"x"}`)
	if a.Contacts[0].Input != "US.1349" || a.Contacts[0].UserID != "US.1349" || a.Contacts[0].WaID != "" {
		t.Errorf("user id: %s", a.Raw)
	}
	a = b.send(`"to":"+16505551234","type":"smoke"`)
	e := a.Error
	if !strings.HasPrefix(e.Message, "(#100) Param type must be one of {AUDIO, ") || e.Type != "OAuthException" || e.Data.Details != "" || e.Trace == "" {
		t.Errorf("error of the Graph API: %s", a.Raw)
	}
	e = b.send(`"to":"+16505551234","type":"template","template":{"name":"a","language":{"code":""}}`).Error
	if !strings.HasPrefix(e.Message, "(#131008) ") || e.Type != "OAuthException" || e.Data.Product != "whatsapp" || e.Data.Details == "" || e.Trace == "" {
		t.Errorf("error of WhatsApp: %+v", e)
	}
}

func TestMarkAsRead(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{Faults: graphsim.Faults{Throttle: 1}})
	a := b.send(`"status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"}`)
	if a.Status != 200 || !a.Success || len(b.Accepted()) != 0 || b.Stats().Marks != 1 {
		t.Errorf("%d %s, %d taken", a.Status, a.Raw, len(b.Accepted()))
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		token, header string
		status        int
		counted       string
	}{
		{"right", "Bearer right", 200, "ok"},
		{"right", "Bearer wrong", 401, "190"},
		{"right", "right", 401, "104"},
		{"right", "", 401, "104"},
		{"", "Bearer any", 200, "ok"},
		{"", "Bearer ", 401, "104"},
	} {
		b := setup(t, graphsim.Options{Token: c.token})
		body := `{"messaging_product":"whatsapp",` + text("16505551234", "") + `}`
		for _, call := range [][2]string{{"POST", "/v25.0/" + number + "/messages"}, {"GET", "/v25.0/" + number}} {
			req, err := http.NewRequest(call[0], b.server.URL+call[1], strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", c.header)
			resp, err := b.client.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			resp.Body.Close()
			if resp.StatusCode != c.status {
				t.Errorf("%s with token %q, header %q: %d, want %d", call[0], c.token, c.header, resp.StatusCode, c.status)
			}
		}
		if got := b.Stats().Requests; got[c.counted] != 2 || len(got) != 1 {
			t.Errorf("counted %v, want 2 of %q", got, c.counted)
		}
	}
}

func TestDuplicates(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	for _, marker := range []string{
		"sl1.demo.106-aaa.1.00000000", "sl1.demo.106-aaa.2.11111111", "sl1.demo.106-aaa.3.22222222",
		"sl1.demo.106-bbb.1.00000000", "sl1.demo.106-ccc.1.00000000", "sl1.demo.106-ccc.1.00000000",
		"other", "other", "", "", "sl2.demo.x.1.0", "sl2.demo.x.1.0", "sl1.demo..1.0", "sl1.demo..1.0",
	} {
		b.send(text("16505551234", marker))
	}
	if got := b.Duplicates(); got != 2 {
		t.Errorf("%d duplicates, want 2", got)
	}
	a := b.do("GET", "/_sim/accepted?id=106-aaa", "")
	if lines := strings.Split(strings.TrimSpace(a.Raw), "\n"); len(lines) != 3 || !strings.Contains(lines[2], `.3.22222222"`) {
		t.Errorf("entries of 106-aaa:\n%s", a.Raw)
	}
	if a := b.do("GET", "/_sim/accepted", ""); strings.Count(a.Raw, "\n") != 14 {
		t.Errorf("all entries:\n%s", a.Raw)
	}

	wamid := b.Accepted()[0].WAMID
	if a := b.do("DELETE", "/_sim/ledger", ""); a.Status != 204 {
		t.Errorf("DELETE answered %d", a.Status)
	}
	if s := b.Stats(); s.Accepted != 0 || s.Duplicates != 0 || len(s.Windows) != 0 {
		t.Errorf("left in the ledger: %+v", s)
	}
	b.send(text("16505551234", "sl1.demo.106-aaa.4.00000000"))
	if all := b.Accepted(); b.Duplicates() != 0 || len(all) != 1 || all[0].WAMID == wamid {
		t.Errorf("after emptying: %+v, %d duplicates", all, b.Duplicates())
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	b := setup(t, graphsim.Options{})
	before := b.do("GET", "/metrics", "").Raw
	for _, series := range []string{
		`sluice_sim_requests_total{code="ok"} 0`, `sluice_sim_requests_total{code="130429"} 0`,
		`sluice_sim_requests_total{code="hang"} 0`, "sluice_sim_accepted_messages 0", "sluice_sim_duplicate_messages 0",
		`sluice_sim_webhook_posts_total{result="ok"} 0`, `sluice_sim_webhook_posts_total{result="failed"} 0`,
		"sluice_sim_webhook_items_waiting 0",
	} {
		if !slices.Contains(strings.Split(before, "\n"), series) {
			t.Errorf("not from the start: %s", series)
		}
	}
	b.send(text("16505551234", ""))
	after := b.do("GET", "/metrics", "").Raw
	for _, series := range []string{
		`sluice_sim_requests_total{code="ok"} 1`, "sluice_sim_accepted_messages 1",
		`sluice_sim_largest_window_messages{phone_number_id="106540352242922"} 1`,
	} {
		if !slices.Contains(strings.Split(after, "\n"), series) {
			t.Errorf("not after a message: %s", series)
		}
	}
}
