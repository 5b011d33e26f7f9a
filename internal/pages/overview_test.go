package pages_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/observed"
	"sluice/internal/poll"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
)

// wait puts so many tasks into the queue of a number, as if they had waited since a time.
func (s *site) wait(number string, tasks int, since time.Time) {
	s.t.Helper()
	shard := shards.Of(number)
	k := queue.KeysOf(shard, number, message.Utility)
	if _, err := s.redis.Pipelined(s.t.Context(), func(p redis.Pipeliner) error {
		p.SAdd(s.t.Context(), queue.WorkKey(shard), number)
		ids := make([]any, tasks)
		for i := range ids {
			ids[i] = fmt.Sprint("m", i)
		}
		p.LPush(s.t.Context(), k.Pending, ids...)
		p.HSet(s.t.Context(), k.Task+"m0", "pending_since", since.UnixNano())
		return nil
	}); err != nil {
		s.t.Fatal(err)
	}
}

// TestOverviewPage: it says in words whether a person must act, shows what needs attention first, and links to the numbers.
func TestOverviewPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b, narrow := s.signIn("admin"), s.signIn("narrow")
	if p := b.get("/console/"); p.location() != "/console/overview" {
		t.Errorf("the first page: %q", p.location())
	}
	if p := b.get("/console/overview"); !strings.Contains(p.text, "No number needs a person now.") {
		t.Errorf("idle: %s", p.text)
	} else {
		contains(t, p, "docs/alerts.md", `id="sum-in-doubt"><a href="/console/in-doubt">0</a>`, `id="sum-parked"><a href="/console/in-doubt">0</a>`, `id="sum-dead"><a href="/console/dead-letters">0</a>`)
	}
	s.wait(theirs, 1234, time.Now().Add(-3*time.Hour))
	b.act("/console/holds", "hold", "phone_number_id", theirs, "reason", hostile)
	var p page
	poll.Until(t, "the overview shows the hold", func() bool { // one reading serves all callers for a second
		p = b.get("/console/overview")
		return strings.Contains(p.text, "Look at 1 number today.")
	})
	row := p.text[strings.Index(p.text, `id="numbers"`):]
	if strings.Index(row, theirs) > strings.Index(row, ours) || !strings.Contains(row, "utility 1,234: 3h") || !strings.Contains(row, `<td class="n">held</td>`) ||
		strings.Contains(p.text, hostile) || !strings.Contains(row, `href="/console/numbers/`+theirs+`"`) {
		t.Errorf("held: %s", p.text)
	}
	if p := narrow.get("/console/overview"); strings.Contains(p.text, theirs) || !strings.Contains(p.text, ours) {
		t.Errorf("a key of one number sees %s", p.text)
	}
	if p := b.get("/console/overview?find=" + ours); strings.Contains(p.text, theirs) || !strings.Contains(p.text, "1 to 1 of 1") {
		t.Errorf("find: %s", p.text)
	}
	if p := b.get("/console/overview?find=999"); p.StatusCode != 200 || !strings.Contains(p.text, "No number matches") {
		t.Errorf("find nothing: %s", p.text)
	}
	if p := b.get("/console/overview?offset=x"); p.StatusCode != 422 {
		t.Errorf("a wrong offset: %d", p.StatusCode)
	}
}

// TestNumberPage: it says why the number is slow, and changes its rate limit.
func TestNumberPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b, reader, narrow := s.signIn("admin"), s.signIn("reader"), s.signIn("narrow")
	path := "/console/numbers/" + theirs
	s.wait(theirs, 5, time.Now())
	if p := b.get(path); p.StatusCode != 200 || !strings.Contains(p.text, "no worker has fetched any") || !strings.Contains(p.text, `data-points="[[],[],[],[],[],[],[],[],[]]"`) {
		t.Errorf("%d %s", p.StatusCode, p.text)
	}
	if p := b.act(path, "rate", "rate", "20", "reason", "x"); p.StatusCode != 200 || !strings.Contains(p.text, "The rate limit is set") || !strings.Contains(p.text, "20/s <span class=\"dim\">set by an operator, configured 80") {
		t.Errorf("rate: %d %s", p.StatusCode, p.text)
	}
	if p := b.act(path, "rate", "rate", "many", "reason", "x"); p.StatusCode != 422 || !strings.Contains(p.text, "not 1 to 10000") || !strings.Contains(p.text, `value="many"`) {
		t.Errorf("a wrong rate: %d %s", p.StatusCode, p.text)
	}
	if p := b.act(path, "rate", "rate", "500", "from", "10", "over", "24h", "reason", "x"); !strings.Contains(p.text, "this increases to 500 until") && !strings.Contains(p.text, "no worker") {
		t.Errorf("an increase: %s", p.text)
	}
	if p := b.act(path, "reset", "reason", "x"); !strings.Contains(p.text, `id="limit">80/s</dd>`) {
		t.Errorf("reset: %s", p.text)
	}
	if p := b.get("/console/audit"); strings.Count(p.text, "<td>rate</td>") != 3 {
		t.Errorf("the audit log: %s", p.text)
	}
	if p := reader.get(path); p.StatusCode != 200 || strings.Count(p.text, "<form") != 1 {
		t.Errorf("a reader: %d %s", p.StatusCode, p.text)
	}
	if p := reader.act(path, "rate", "rate", "5", "reason", "x"); p.StatusCode != 403 {
		t.Errorf("a reader sets a rate: %d", p.StatusCode)
	}
	if p := narrow.get(path); p.StatusCode != 404 || strings.Contains(p.text, "no worker") {
		t.Errorf("a key of another number: %d", p.StatusCode)
	}
	b.act("/console/holds", "hold", "phone_number_id", theirs, "reason", hostile)
	if p := b.get(path); !strings.Contains(p.text, "It sends nothing, because anna holds it") || strings.Contains(p.text, hostile) || !strings.Contains(p.text, "/console/holds?phone_number_id="+theirs+"&amp;release=1") {
		t.Errorf("held: %s", p.text)
	}
}

// TestMessagingLimit: the page of a number says how much of the messaging limit of its portfolio is used.
func TestMessagingLimit(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b, path := s.signIn("admin"), "/console/numbers/"+theirs
	if p := b.get(path); p.StatusCode != 200 || strings.Contains(p.text, "Messaging limit used") {
		t.Errorf("without a limit: %d %s", p.StatusCode, p.text)
	}
	err := s.limits.Learn(t.Context(), theirs, "2729063490586005", 2000)
	if err == nil {
		_, err = s.limits.Admit(t.Context(), theirs, []portfolio.Ask{{Person: portfolio.Person{1}}})
	}
	if err != nil {
		t.Fatal(err)
	}
	if p := b.get(path); !strings.Contains(p.text, `<dd id="portfolio">1 of 2,000 people</dd>`) {
		t.Errorf("with a limit: %s", p.text)
	}
}

// TestWhatMetaSays: the overview shows a token that ends soon and a bad quality; the page of the number shows all that Meta says,
// its age, and charts of requests. What is not known is shown as unknown.
func TestWhatMetaSays(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	path := "/console/numbers/" + theirs
	if p := b.get(path); strings.Count(p.text, ">unknown</dd>") != 2 {
		t.Errorf("nothing is known: %s", p.text)
	}
	says := observed.New(s.db, shards)
	recorder := says.NewRecorder("w1", slog.New(slog.DiscardHandler))
	if err := errors.Join(
		says.SetTokens(t.Context(), map[string]observed.Token{theirs: {Valid: true, Expires: time.Now().Add(49 * time.Hour), At: time.Now()}, ours: {Valid: true, Expires: time.Now().Add(29*24*time.Hour + time.Hour), At: time.Now()}}),
		says.SetProfile(t.Context(), theirs, observed.Profile{Rate: 1000, Quality: "RED", Name: hostile, At: time.Now().Add(-time.Hour)}),
	); err != nil {
		t.Fatal(err)
	}
	recorder.Add(theirs, message.Outcome{Kind: message.Throttled, Limit: message.LimitNumber}, 250*time.Millisecond)
	if err := recorder.Write(t.Context(), says.Latest(t.Context())); err != nil {
		t.Fatal(err)
	}
	if err := s.fleet.Sample(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := b.get(path)
	for _, want := range []string{
		"Its access token expires on", "RED <span class=\"dim\">1h 00m ago", "1000/s <span", "unknown <span class=\"dim\">1h 00m ago", "&lt;script&gt;",
		",[0.1],[0],[250],[250]]", // throttled, failed, latencies
	} {
		if !strings.Contains(p.text, want) {
			t.Errorf("no %q in %s", want, p.text)
		}
	}
	poll.Until(t, "the overview shows what Meta says", func() bool { // one reading serves all callers for a second
		p = b.get("/console/overview")
		return strings.Contains(p.text, "1 number needs a person now")
	})
	for _, want := range []string{"token: 2 days</span>", "quality RED</span>", "token: 29 days</span>"} {
		if !strings.Contains(p.text, want) {
			t.Errorf("no %q in %s", want, p.text)
		}
	}
}
