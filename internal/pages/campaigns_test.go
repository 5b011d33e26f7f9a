package pages_test

import (
	"fmt"
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"sluice/internal/message"
	"sluice/internal/store"
)

// order sends a template message of a campaign with the API key of a name, and returns its id.
func (s *site) order(key, number, id, template, campaign string) string {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), http.MethodPost, "/v1/messages", strings.NewReader(fmt.Sprintf(
		`{"from":%q,"campaign":%q,"message":{"to":%q,"type":"template","template":{"name":%q,"language":{"code":"en"}}}}`, number, campaign, recipient, template)))
	r.Header.Set("Authorization", "Bearer "+s.tokens[key])
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Idempotency-Key", id)
	w := httptest.NewRecorder()
	if s.api.ServeHTTP(w, r); w.Code != http.StatusAccepted {
		s.t.Fatalf("send: %d %s", w.Code, w.Body)
	}
	_, id, _ = strings.Cut(w.Body.String(), `"id":"`)
	id, _, _ = strings.Cut(id, `"`)
	return id
}

// TestCampaignPages: the pages show how far campaigns are, and lead to their messages, holds and what can be sent again. A client sees its
// own campaigns only, and what it may act on.
func TestCampaignPages(t *testing.T) {
	t.Parallel()
	s := setup(t)
	name := "50 %/off " + hostile
	var ids []string
	for i := range 4 {
		ids = append(ids, s.order("acmes", ours, fmt.Sprint("k", i), "sale", name))
	}
	s.order("acmes", theirs, "k", "offer", name)
	mine := s.order("admin", ours, "m", "sale", name) // a campaign of the same name, of no client
	s.move(ids[0], message.Move{To: message.Dead, Code: 131000, Reason: message.ReasonAttempts, Keep: true})
	s.move(ids[1], message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true})
	s.move(mine, message.Move{To: message.Dead, Code: 131000, Reason: message.ReasonAttempts, Keep: true})

	b, tenant := s.signIn("admin"), s.signIn("acmes")
	at := "/console/campaigns/" + url.PathEscape(name)
	link := func(p page, label string) string {
		t.Helper()
		found := regexp.MustCompile(`<a href="([^"]+)"[^>]*aria-label="` + label).FindStringSubmatch(p.text)
		if found == nil {
			t.Fatalf("no link %q in %s", label, p.text)
		}
		to, _, _ := strings.Cut(html.UnescapeString(found[1]), "#")
		return to
	}
	lacks := func(p page, texts ...string) {
		t.Helper()
		for _, text := range texts {
			if strings.Contains(p.text, text) {
				t.Errorf("%s has %q: %s", p.Request.URL, text, p.text)
			}
		}
	}

	list := b.get("/console/campaigns")
	contains(t, list, html.EscapeString(name), at+`?client=acme"`, at+`"`, "queued 3", "dead 1", "expired 1", `>2 <span class="dim">40.0 %</span>`)
	lacks(b.get("/console/campaigns?client=acme"), at+`"`)
	contains(t, b.get("/console/campaigns?client=nosuch"), "There is no campaign")
	own := tenant.get("/console/campaigns")
	contains(t, own, at+`?client=acme"`, "queued 3")
	lacks(own, at+`"`, "find-submit")

	shown := b.get(at + "?client=acme")
	contains(t, shown, `href="/console/clients/acme"`, "wait for a send slot", `<rect class="queued" x="0" width="600"`, `<rect class="expired" x="`, "report it to Meta with the fbtrace_id",
		`sale/en</th><td class="n">4</td>`, `offer/en</th><td class="n">1</td>`, `numbers/`+theirs+`"`, "Hold the campaign", "Meta took 0 in the last minute")
	contains(t, b.get(link(shown, "2 undelivered messages: list them")), ids[0], ids[1])
	dead := b.get(link(shown, "List the dead messages with code 131000"))
	contains(t, dead, ids[0])
	lacks(dead, ids[1], mine)
	lacks(b.get(at), "clients/acme", "expired 1")
	if p := b.get("/console/campaigns/nosuch"); p.StatusCode != 404 {
		t.Errorf("no such campaign: %d", p.StatusCode)
	}
	if status, next := b.stream("/console/live" + strings.TrimPrefix(at, "/console") + "?client=acme"); status != 200 || !strings.Contains(next(), "wait for a send slot") {
		t.Errorf("the stream: %d", status)
	}

	// Meta's code 131000: only the message of the campaign of acme is sent again.
	from := b.get(link(shown, "Send again the dead messages with code 131000"))
	contains(t, from, `id="from"`, "4 messages of the campaign")
	again := html.UnescapeString(regexp.MustCompile(`/console/failed[^"]*` + ours + `[^"]*`).FindString(from.text))
	contains(t, b.get(again), "campaign "+html.EscapeString(name))
	form := []string{"phone_number_id", ours, "state", "dead", "code", "131000", "message_reason", message.ReasonAttempts, "campaign", name, "client", "acme"}
	contains(t, b.act(again, "resend", append(form, "dry_run", "true")...), "1 would be sent again")
	contains(t, b.act(again, "resend", append(form, "reason", "Meta is back")...), "1 message queued again")
	contains(t, b.get(at+"?client=acme"), "queued 4")
	contains(t, b.get(at), "dead 1")

	// A hold on the campaign of acme shows on the page of the campaign, with the way to end it.
	contains(t, b.act("/console/holds", "hold", "campaign", name, "client", "acme", "reason", "wrong price"), "Held: ")
	held := b.get(at + "?client=acme")
	contains(t, held, "wrong price", "Release the hold")
	contains(t, b.get(link(held, "Release the hold")), `id="release"`, "of client acme")
	lacks(b.get(at), "wrong price") // of the campaign of the same name

	b.act("/console/holds", "hold", "campaign", "secret-plan", "client", "globex", "reason", "x")
	contains(t, b.get("/console/holds"), "secret-plan of client globex")
	for _, path := range []string{"/console/holds", "/console/overview", "/console/numbers/" + ours} {
		lacks(tenant.get(path), "secret-plan")
	}

	own = tenant.get(at + "?client=acme")
	contains(t, own, "queued 4", theirs+` <span class="tag">shared</span>`, "wrong price", "Send again the expired messages", "Hold the campaign at number "+ours)
	lacks(own, "hold-link", "Hold the campaign at number "+theirs, "of client <a", "Release the hold", "in the last minute")
	contains(t, tenant.get(at), "queued 4") // the client of the key
	from = tenant.get(link(own, "Send again the expired messages"))
	contains(t, from, "phone_number_id="+ours)
	lacks(from, "phone_number_id="+theirs)
	contains(t, b.act(at+"?client=acme", "cancel"), "reason is missing")
	contains(t, b.act(at+"?client=acme", "cancel", "reason", "wrong price again"), "Nothing of the campaign is sent from now on", `id="cancelled"`, "wrong price again", "Open the campaign")
	lacks(b.get(at), `id="cancelled"`)
	if p := tenant.act(at+"?client=acme", "open", "reason", "x"); p.StatusCode != 403 {
		t.Errorf("a client opens its campaign: %d", p.StatusCode)
	}
	contains(t, b.act(at+"?client=acme", "open", "reason", "price corrected"), "Messages of the campaign are accepted", "Cancel the campaign")
	contains(t, b.get("/console/audit"), "campaign-cancel", "campaign-open")
	contains(t, b.act(at+"?client=acme", "set", "rate", "0", "ramp_from", "1", "cap_per_day", "100", "reason", "x"), "ramp_from needs rate and ramp_over", `value="100"`)
	contains(t, b.act(at+"?client=acme", "set", "rate", "twenty", "reason", "x"), "not 0.001 to 10000")
	contains(t, b.act(at+"?client=acme", "set", "rate", "20", "ramp_from", "0.5", "ramp_over", "24h", "cap_per_day", "100", "time_zone", "Europe/Berlin", "reason", "warm up"),
		"The settings are stored", "messages per second at each number now, increasing to 20 until", "At most 100 messages in a day (Europe/Berlin), 0 today", "warm up")
	lacks(b.get(at), `id="settings"`)
	contains(t, tenant.get(at+"?client=acme"), "increasing to 20 until")
	contains(t, b.act(at+"?client=acme", "set", "rate", "3", "reason", "steady"), "At most 3 messages per second at each number.", "At most 100 messages in a day")
	lacks(b.act(at+"?client=acme", "set", "rate", "0", "cap_per_day", "0", "reason", "free"), `id="settings"`)
	contains(t, b.act(at+"?client=acme", "set", "rate", "5", "reason", "x"), "At most 5 messages")
	s.db.HSet(t.Context(), store.Key(0, "campaigns:settings"), "acme/next", `{"rate":2,"by":"anna"}`)
	contains(t, b.get("/console/campaigns/next?client=acme"), "no message yet", "At most 2 messages per second", "Set the rate")
	contains(t, b.get("/console/audit"), "campaign-set")
	reader := s.signIn("reader").get(at + "?client=acme")
	lacks(reader, "Send again", "Hold the campaign", "Release the hold")

	was := s.commands.Load()
	b.get("/console/campaigns")
	middle := s.commands.Load()
	b.get(at + "?client=acme")
	if n, one := middle-was, s.commands.Load()-middle; n > 250 || one > 450 { // docs/console.md says so
		t.Errorf("the list of two cost %d commands, a campaign %d", n, one)
	}
}

// TestCampaignOverItsBudget: the page says for how many messages the budget does not suffice, and no time.
func TestCampaignOverItsBudget(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for i := range 5 {
		s.order("admin", ours, fmt.Sprint("k", i), "sale", "spring")
	}
	b := s.signIn("admin")
	contains(t, b.get("/console/campaigns/spring"), "5 wait for a send slot; they will have been sent by about")
	s.budget = 350_000
	p := b.get("/console/campaigns/spring")
	contains(t, p, "The budget campaign of 0.35 does not suffice: 0.00 is spent, and about 2 messages wait until it is higher.", "5 wait for a send slot.")
	if strings.Contains(p.text, "will have been sent") {
		t.Error("the page says when all are sent")
	}
}
