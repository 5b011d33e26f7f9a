package pages_test

import (
	"context"
	"html"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/message"
	"sluice/internal/quota"
	"sluice/internal/relay"
	"sluice/internal/secrets"
)

// counter counts the commands that a client of Redis sends.
type counter struct{ sent *atomic.Int64 }

func (c counter) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.sent.Add(1)
		return next(ctx, cmd)
	}
}

func (c counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, all []redis.Cmder) error {
		c.sent.Add(int64(len(all)))
		return next(ctx, all)
	}
}

// TestClientPage: the page of a client shows its quotas, usage, numbers, shares, holds, keys and targets. A key of the client sees only
// its own client.
func TestClientPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	now := time.Now().UTC()
	before := now.AddDate(0, 0, -now.Day()) // the last day of the month before
	for _, u := range []struct {
		at             time.Time
		client, number string
		taken, billed  int
	}{
		{now, "acme", theirs, 3000, 1}, {now, "globex", theirs, 1000, 0}, {now, "acme", ours, 7, 5}, {before, "acme", ours, 20, 10},
	} {
		s.usages = append(s.usages, message.Usage{Day: u.at.Format(time.DateOnly), Client: u.client, Number: u.number, Category: "utility", Taken: u.taken, Billed: u.billed})
	}
	s.quotas.PerDay = 2
	s.quotas.Classes = map[string]config.Quota{"marketing": {PerMonth: 9}}
	targets := relay.NewTargets(s.db, shards, secrets.New("", ""))
	for name, client := range map[string]string{"crm": "acme", "lake": "globex"} {
		if _, err := targets.Set(t.Context(), message.RelayTarget{Name: name, URL: "https://" + name + ".example/", Format: message.RelayMeta, Client: client}, ""); err != nil {
			t.Fatal(err)
		}
	}

	b := s.signIn("admin")
	acts := []struct{ kind, fields string }{
		{"clients", "id=acme&weight=3&suppress=marketing,utility&note=" + url.QueryEscape(hostile)},
		{"clients", "id=globex"},
		{"numbers", "change=1&client=acme&id=" + ours},
		{"numbers", "change=1&client=globex&shared_with=acme&id=" + theirs},
		{"api_keys", "id=shop&phone_number_ids=*&scopes=messages:send&client=acme&expires=2030-01-31T00:00:00Z"},
		{"api_keys", "id=old&phone_number_ids=*&scopes=messages:send&client=acme&revoked=true"},
		{"api_keys", "id=others&phone_number_ids=*&scopes=messages:send&client=globex"},
	}
	for _, a := range acts {
		form, _ := url.ParseQuery(a.fields + "&act=set&reason=new")
		if p := b.post("/console/directory?kind="+a.kind, form); p.StatusCode != http.StatusSeeOther && !strings.Contains(p.text, "The API key") {
			t.Fatalf("%v: %d %s", a, p.StatusCode, p.text)
		}
	}
	contains(t, b.get("/console/directory?kind=clients"), `href="/console/clients/acme"`)
	if p := b.act("/console/holds", "hold", "phone_number_id", ours, "reason", "wrong price"); !strings.Contains(p.text, "Held: ") {
		t.Fatal(p.text)
	}
	b.act("/console/holds", "hold", "campaign", "winter", "client", "globex", "reason", "a matter of globex")
	tenant := s.signIn("acmes")
	if p := tenant.post("/console/send", url.Values{
		"act": {"send"}, "reason": {"test"}, "phone_number_id": {theirs}, "key": {"k"}, "message": {`{"to":"` + recipient + `","type":"template","template":{"name":"sale","language":{"code":"en"}}}`},
	}); p.StatusCode != http.StatusSeeOther {
		t.Fatalf("send: %d %s", p.StatusCode, p.text)
	}
	quota.New(s.db, func(string) config.Quotas { return s.quotas }).Take(t.Context(), []message.Message{{Client: "acme", Class: message.Utility}, {Client: "acme", Class: message.Utility}})

	s.db.ZAdd(t.Context(), "sluice:suppressions:{of:acme}:times", redis.Z{Score: 1, Member: "a person"})
	uses := directory.NewUses(s.db, slog.New(slog.DiscardHandler))
	uses.Of("shop").Store(time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC).Unix())
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if err := uses.Run(stopped); err != nil {
		t.Fatal(err)
	}
	contains(t, b.get("/console/directory?kind=api_keys"), "<td>2026-01-31 12:00:00</td>")

	month, previous := now.Format("2006-01"), before.Format("2006-01")
	shown := b.get("/console/clients/acme")
	contains(t, shown, html.EscapeString(hostile), "The quota per_day is used up", ">all</th><td>day</td>", `<span class="tag bad">used up</span> 100.0 %</td><td class="n">1</td>`, ">marketing</th><td>month</td>",
		"Taken "+month, "Taken "+previous, ours+`</th><td>utility</td><td class="n">7</td><td class="n">5</td><td class="n">20</td><td class="n">10</td>`,
		`Total</th><td class="n">3,007</td><td class="n">6</td><td class="n">20</td><td class="n">10</td>`,
		"1 people are in the suppression list of the client. They get no marketing and no utility messages.", "Weight <span id=\"weight\">3</span>", `<td class="n">75.0 %</td><td class="n">75.0 %</td>`, `<span class="tag">shared</span>`, `<span class="tag warn">held</span>`, "wrong price", "Share today",
		">shop</th>", "2026-01-31 12:00:00", "2030-01-31", `old <span class="tag bad">revoked</span>`, "https://crm.example/", `href="/console/numbers/`+theirs+`"`, `>Change</a>`)
	waiting := regexp.MustCompile(theirs + `(?s)[^/]*?(?:</a>)?( <[^<]*<[^<]*)*</th>\s*<td class="n">1</td>`)
	own := tenant.get("/console/clients/acme")
	contains(t, own, "Client acme", "The quota per_day is used up", "3,007", "wrong price", `<td class="n">75.0 %</td></tr>`, "https://crm.example/")
	for what, texts := range map[*page][]string{&shown: {"others", "lake.example", "globex"}, &own: {"others", "lake.example", "globex", html.EscapeString(hostile), "Share today", `href="/console/numbers/` + theirs, ">Change<"}} {
		for _, text := range texts {
			if strings.Contains(what.text, text) {
				t.Errorf("the page of acme has %q: %s", text, what.text)
			}
		}
	}
	for _, p := range []page{shown, own} {
		if !waiting.MatchString(p.text) {
			t.Errorf("the message of acme does not wait on the shared number: %s", p.text)
		}
	}
	if p := tenant.get("/console/clients/globex"); p.StatusCode != 404 || strings.Contains(p.text, theirs) {
		t.Errorf("another client: %d %s", p.StatusCode, p.text)
	}
	if p := s.signIn("narrow").get("/console/clients/acme"); p.StatusCode != 403 {
		t.Errorf("a key for one number: %d", p.StatusCode)
	}
	if p := b.get("/console/clients/nosuch"); p.StatusCode != 404 {
		t.Errorf("no such client: %d", p.StatusCode)
	}
	contains(t, b.get("/console/clients/globex"), "has no quotas", "1,000")

	s.usages = nil // now those in Redis
	was := s.commands.Load()
	b.get("/console/clients/acme")
	if n := s.commands.Load() - was; n < 17*int64(shards) || n > 1250+2*int64(shards) { // two relay targets; docs/console.md says so
		t.Errorf("the page cost %d commands", n)
	}
}
