package pages_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/internal/admission"
	"sluice/internal/audit"
	"sluice/internal/backlog"
	"sluice/internal/budget"
	"sluice/internal/campaigns"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/holds"
	"sluice/internal/httpapi"
	"sluice/internal/intake"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/quiethours"
	"sluice/internal/quota"
	"sluice/internal/repository"
	"sluice/internal/signature"
)

// callers is the real API of callers on the Redis of the site.
func (s *site) callers(keys httpapi.Keys, reader *backlog.Reader, book *ledger.Ledger) http.Handler {
	held := holds.New(s.db, shards, slog.New(slog.DiscardHandler))
	budgets := budget.New(s.db, budget.Options{Of: func(string) (none config.Budgets) { return none }, Campaign: func(message.Flow) message.Amount { return s.budget }, Corrected: book.Corrected})
	ofCampaigns := campaigns.NewStore(s.db, held, audit.New(s.db, shards))
	return intake.New(intake.Options{
		Acceptor: admission.NewAcceptor(s.db, book, queue.NewClient(s.db, shards), shards, signature.New("")),
		Reader:   book, Finder: book, Canceller: book,
		Waiting: repository.NewWaiting(repository.WaitingOptions{
			Backlog: reader, Holds: held, Records: book, Quiet: quiethours.New(func(string, string) (none [2][]config.QuietHours) { return none }, nil, nil), Campaigns: ofCampaigns,
			Budgets: budgets,
		}),
		Estimate: func(*message.Message, time.Time) *message.Cost {
			return &message.Cost{Amount: 100_000, Currency: "EUR"}
		},
		Campaigns: repository.NewCampaigns(book, reader, held, ofCampaigns, budgets),
		Keys:      keys, All: func() []string { return []string{ours, theirs} },
		Numbers: func(number string) bool { return number == ours || number == theirs },
		Explain: explain,
		Clients: func() []string { return []string{"acme", "globex"} },
		Quotas: quota.New(s.db, func(client string) (q config.Quotas) {
			if client == "acme" {
				q = s.quotas
			}
			return q
		}),
		Usage: func(ctx context.Context, client string, from, to time.Time) (all []message.Usage, err error) {
			if s.usages == nil {
				return book.Usage(ctx, client, from, to)
			}
			for _, u := range s.usages {
				if (client == "" || u.Client == client) && u.Day >= from.Format(time.DateOnly) && u.Day <= to.Format(time.DateOnly) {
					all = append(all, u)
				}
			}
			return all, nil
		},
	}).Handler()
}

func explain(code int) (title, advice string) {
	e, _ := cloudapi.Lookup(code)
	return e.Title, e.Advice
}

const recipient = "+4915123456789"

// send sends a message with a key, a hostile reference and a hostile tag, and returns its id.
func (s *site) send(b *browser, key string) string {
	s.t.Helper()
	p := b.post("/console/send", url.Values{
		"act": {"send"}, "reason": {"test"}, "phone_number_id": {ours}, "key": {key}, "ref": {hostile}, "tags": {"spring," + hostile},
		"message": {`{"to":"` + recipient + `","type":"text","text":{"body":"secret text ` + key + `"}}`},
	})
	id := message.NewID(ours, key)
	if p.StatusCode != http.StatusSeeOther || p.location() != "/console/messages/"+id {
		s.t.Fatalf("send: %d %s %s", p.StatusCode, p.location(), p.text)
	}
	return id
}

// move changes the state of a message, as a worker does.
func (s *site) move(id string, m message.Move) {
	s.t.Helper()
	book := ledger.New(s.db, ledger.Options{Shards: shards})
	o, err := book.ReadOpen(s.t.Context(), id)
	if err == nil {
		_, err = book.Sweep(s.t.Context(), o, m)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

func contains(t *testing.T, p page, texts ...string) {
	t.Helper()
	for _, text := range texts {
		if !strings.Contains(p.text, text) {
			t.Errorf("%s: %d without %q:\n%s", p.Request.URL, p.StatusCode, text, p.text)
		}
	}
	if strings.Contains(p.text, "<script>alert") {
		t.Errorf("%s has a hostile text as it is", p.Request.URL)
	}
	for _, private := range []string{recipient, recipient[1:], "secret text"} {
		if strings.Contains(p.text, private) {
			t.Errorf("%s has %q", p.Request.URL, private)
		}
	}
}

// TestMessages: a message is found by each of its names and by a filter, and its page shows what happened to it.
func TestMessages(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	id := s.send(b, "k1")
	b.get("/console/messages/" + id) // takes the notice
	for by, text := range map[string]string{"id": id, "key": "k1", "ref": hostile, "recipient": "+49 151 23456789"} {
		contains(t, b.act("/console/messages", "find", "by", by, "text", text), `href="/console/messages/`+id+`"`, "49***89", "&lt;script&gt;")
	}
	contains(t, b.act("/console/messages", "find", "by", "wamid", "text", "wamid.none"), "No message was found.")
	contains(t, b.act("/console/messages", "find", "by", "name", "text", "x"), "Choose what to search by.")
	contains(t, b.get("/console/messages?state=queued&tag=spring"), `href="/console/messages/`+id+`"`)
	contains(t, b.get("/console/messages?recipient="+url.QueryEscape(recipient)), "Find a message") // an address has no recipient: nothing is searched
	contains(t, b.get("/console/messages?code=x"), "digits only")
	contains(t, b.get("/console/messages?state=lost"), "value of this parameter is not valid")

	contains(t, b.get("/console/messages/"+id), ">queued</span>", "behind 0 messages", "&lt;script&gt;", `id="timeline"`, "Cancel the message")
	if p := s.signIn("reader").get("/console/messages/" + id); p.StatusCode != 200 || strings.Contains(p.text, "Cancel the message") {
		t.Errorf("the page of a key that may only read: %d %s", p.StatusCode, p.text)
	}
	if p := s.signIn("reader").post("/console/messages/"+id, url.Values{"act": {"cancel"}, "reason": {"test"}}); p.StatusCode != 403 {
		t.Errorf("a key that may only read cancels: %d", p.StatusCode)
	}
	contains(t, b.act("/console/messages/"+id, "cancel"), "reason is missing")
	contains(t, b.act("/console/messages/"+id, "cancel", "reason", hostile), "The message is cancelled.", ">cancelled</span>")
	contains(t, b.act("/console/messages/"+id, "resend", "reason", "test"), "cannot be sent again")
	contains(t, b.get("/console/audit"), "ask to send text "+id, "cancel", "anna")
	if p := b.get("/console/messages/" + message.NewID(theirs, "none")); p.StatusCode != 404 {
		t.Errorf("no such message: %d", p.StatusCode)
	}
}

// TestMovedMessage: a message that took the place of another one, and moved on, links to both.
func TestMovedMessage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	id, first, last := s.send(b, "moved"), message.NewID(theirs, "first"), message.NewID(theirs, "last")
	r, err := ledger.New(s.db, ledger.Options{Shards: shards}).Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	r.MovedFrom, r.MovedTo = first, last
	if err := s.redis.Set(t.Context(), ledger.RecordPrefix(shards.Of(ours))+id, r.Encode(), 0).Err(); err != nil {
		t.Fatal(err)
	}
	contains(t, b.get("/console/messages/"+id), "In place of", "messages/"+first, "Moved to", "messages/"+last)
}

// TestUndelivered: dead letters and failed messages are grouped with advice, counted by a dry run, and sent again.
func TestUndelivered(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	for i := range 3 {
		s.move(s.send(b, fmt.Sprint("k", i)), message.Move{To: message.Dead, Code: 131000, Reason: message.ReasonAttempts, Keep: true})
	}
	contains(t, b.get("/console/failed"), "Choose a number.")
	for _, path := range []string{"/console/dead-letters", "/console/failed?phone_number_id=" + ours} {
		p := b.get(path)
		contains(t, p, "3 in all.", "code 131000", message.ReasonAttempts, "report it to Meta with the fbtrace_id", "Send again")
		at := strings.Index(p.text, `&amp;resend=dead`)
		begin, end := strings.LastIndex(p.text[:at], `"`)+1, at+strings.Index(p.text[at:], `"`)
		to := strings.ReplaceAll(p.text[begin:end], "&amp;", "&")
		contains(t, b.get(to), `<form method="post" class="fields" id="resend">`)
		form := []string{"phone_number_id", ours, "state", "dead", "code", "131000", "message_reason", message.ReasonAttempts, "rate", "20"}
		contains(t, b.act(to, "resend", append(form, "dry_run", "true")...), "Dry run: nothing was changed.", "3 would be sent again")
		contains(t, b.act(to, "resend", form...), "reason is missing")
		contains(t, b.act(to, "resend", append(form, "rate", "fast", "reason", "x")...), "not a whole number")
		if p := s.signIn("reader").get(path); strings.Contains(p.text, "Send again") {
			t.Errorf("%s lets a key act that may only read", path)
		}
	}
	p := b.act("/console/dead-letters?resend=dead&phone_number_id="+ours, "resend", "phone_number_id", ours, "state", "dead", "reason", "Meta is back")
	contains(t, p, "3 messages queued again.")
	contains(t, b.get("/console/dead-letters"), "There are no dead letters.")
}

// TestGroupWithoutReason: a group without a reason cannot be sent again as a whole while another of the same code has a reason: the
// order would take both.
func TestGroupWithoutReason(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	check := func(want int) {
		t.Helper()
		for _, path := range []string{"/console/dead-letters", "/console/failed?phone_number_id=" + ours} {
			if got := strings.Count(b.get(path).text, ">Send again</a>"); got != want {
				t.Errorf("%s offers Send again for %d groups, want %d", path, got, want)
			}
		}
	}
	s.move(s.send(b, "k1"), message.Move{To: message.Dead, Code: 131000, Keep: true})
	check(1)
	s.move(s.send(b, "k2"), message.Move{To: message.Dead, Code: 131049, Reason: message.ReasonAttempts, Keep: true})
	check(2)
	s.move(s.send(b, "k3"), message.Move{To: message.Dead, Code: 131000, Reason: message.ReasonAttempts, Keep: true})
	check(2) // of three
}

// TestInDoubtPage: chosen messages are decided about, first on a dry run.
func TestInDoubtPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	contains(t, b.get("/console/in-doubt"), "No message is in doubt.")
	id := s.send(b, "k1")
	s.move(id, message.Move{To: message.Parked, Reason: message.ReasonNoAnswer})
	contains(t, b.get("/console/in-doubt"), id, "1: ", message.ReasonNoAnswer)
	const path = "/console/in-doubt"
	contains(t, b.act(path, "resolve", "resolution", "sent", "reason", "x"), "Choose the messages")
	p := b.act(path, "resolve", "id", id, "resolution", "sent", "dry_run", "true")
	contains(t, p, "Dry run: nothing was changed.", "applied to 1", `value="`+id+`" aria-label="Choose `+id+`" checked`, `value="sent" required checked`)
	contains(t, b.act(path, "resolve", "id", id, "resolution", "sent", "reason", "the customer has it"), "The decision is applied to 1 message.", "No message is in doubt.")
	contains(t, b.get("/console/messages/"+id), ">submitted</span>")
	if p := s.signIn("reader").post(path, url.Values{"act": {"resolve"}, "id": {id}, "resolution": {"cancel"}, "reason": {"x"}}); p.StatusCode != 403 {
		t.Errorf("a key that may only read decides: %d", p.StatusCode)
	}
}

// TestSendPage: the check shows mistakes by field, a preview and the command, and never an API key.
func TestSendPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	contains(t, b.get("/console/send"), "to real people", `id="send-message"`)
	check := func(text string) page {
		return b.post("/console/send", url.Values{"act": {"check"}, "phone_number_id": {ours}, "key": {"it's"}, "message": {text}})
	}
	if p := check(`{"to":"+1","type":"text","text":{"body":""}}`); p.StatusCode != 200 || !strings.Contains(p.text, "<code>message.text.body</code>") {
		t.Errorf("a wrong message: %d %s", p.StatusCode, p.text)
	}
	contains(t, check(`{`), "The message is not JSON")
	p := check(`{"to":"+15551234567","type":"text","text":{"body":"` + strings.ReplaceAll(hostile, `"`, `'`) + ` it's"}}`)
	for _, text := range []string{"Sluice would accept this message", `<span class="dim">body</span> &lt;script&gt;`, "$SLUICE_API_KEY", `it&#39;\&#39;&#39;s`} {
		if !strings.Contains(p.text, text) {
			t.Errorf("without %q: %s", text, p.text)
		}
	}
	if strings.Contains(p.text, s.tokens["admin"]) || strings.Contains(p.text, "<script>alert") {
		t.Error("the page has the API key or a hostile text")
	}
	contains(t, s.signIn("reader").get("/console/send"), "may not send")
	if p := s.signIn("reader").post("/console/send", url.Values{"act": {"send"}, "reason": {"x"}, "phone_number_id": {ours}, "message": {`{"to":"+15551234567","text":{"body":"a"}}`}}); p.StatusCode != 403 {
		t.Errorf("a key that may only read sends: %d", p.StatusCode)
	}
	s.send(b, "twice")
	b.get("/console/messages/" + s.send(b, "twice"))
}

// TestExamples: the examples of the Send page are those of docs/messages.md, and each of them would be accepted.
func TestExamples(t *testing.T) {
	t.Parallel()
	type example struct {
		Name    string
		Message map[string]any
	}
	read := func(file string) (all []example) {
		text, err := os.ReadFile(file)
		if err == nil {
			err = json.Unmarshal(text, &all)
		}
		if err != nil {
			t.Fatal(err)
		}
		return all
	}
	var want []example
	for _, name := range []string{"2-free-form", "3-interactive", "4-commerce", "5-template"} {
		want = append(want, read(filepath.Join("..", "content", "testdata", "messages", name+".json"))...)
	}
	got := read("examples.json")
	if !reflect.DeepEqual(got, want) {
		t.Error("examples.json differs from internal/content/testdata/messages: copy the names and the messages")
	}
	s := setup(t)
	b := s.signIn("admin")
	for _, e := range got {
		text, err := json.Marshal(e.Message)
		if err != nil {
			t.Fatal(err)
		}
		p := b.post("/console/send", url.Values{"act": {"check"}, "phone_number_id": {ours}, "key": {"k"}, "message": {string(text)}})
		if !strings.Contains(p.text, "Sluice would accept this message") || strings.Contains(p.text, "There is no text to show") && e.Name != "pin" {
			t.Errorf("%s: %s", e.Name, p.text)
		}
		if p := b.get("/console/send?example=" + url.QueryEscape(e.Name)); !strings.Contains(p.text, `<option selected>`) {
			t.Errorf("%s is not chosen: %s", e.Name, p.text)
		}
	}
}

// TestMessageIsLive: the page of a message shows its next state without being loaded again.
func TestMessageIsLive(t *testing.T) {
	t.Parallel()
	s := setup(t)
	b := s.signIn("admin")
	id := s.send(b, "k1")
	status, next := b.stream("/console/live/messages/" + id)
	if first := next(); status != 200 || !strings.Contains(first, ">queued</span>") {
		t.Fatalf("%d %s", status, first)
	}
	s.move(id, message.Move{To: message.Cancelled, Reason: message.ReasonCaller})
	for {
		if text := next(); strings.Contains(text, ">cancelled</span>") {
			return
		} else if text == "" {
			t.Fatal("the page did not change")
		}
	}
}
