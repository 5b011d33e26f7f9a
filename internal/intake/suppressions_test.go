package intake_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// fakeSuppressions are suppression lists in memory, by client and recipient.
type fakeSuppressions struct {
	off  bool // there is no secrets key
	all  map[string]message.Suppression
	err  error
	last bool     // the first page is the last one
	seen []string // recipients whose messages were refused
}

func (f *fakeSuppressions) On() bool { return !f.off }

func (f *fakeSuppressions) Check(_ context.Context, all []*message.Message) ([]*message.Suppression, error) {
	found := make([]*message.Suppression, len(all))
	for i, m := range all {
		if one, is := f.all[m.Client+" "+m.Content.Recipient()]; is && m.Class == message.Marketing {
			found[i] = &one
		}
	}
	return found, f.err
}

func (f *fakeSuppressions) change(client string, all []message.SuppressionOrder, out bool) (done []message.SuppressionChange, err error) {
	for _, o := range all {
		_, before := f.all[client+" "+o.Recipient]
		if delete(f.all, client+" "+o.Recipient); out {
			f.all[client+" "+o.Recipient] = message.Suppression{Client: client, Recipient: message.Mask(o.Recipient), Source: o.Source, Reason: o.Reason, By: o.By, At: time.Unix(1750101000, 0)}
		}
		done = append(done, message.SuppressionChange{Before: before, Stored: true})
	}
	return done, f.err
}

func (f *fakeSuppressions) Add(_ context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error) {
	return f.change(client, all, true)
}

func (f *fakeSuppressions) Remove(_ context.Context, client string, all []message.SuppressionOrder) ([]message.SuppressionChange, error) {
	return f.change(client, all, false)
}

func (f *fakeSuppressions) Get(_ context.Context, client, recipient string) (*message.Suppression, error) {
	if one, is := f.all[client+" "+recipient]; is {
		return &one, f.err
	}
	return nil, f.err
}

func (f *fakeSuppressions) Page(_ context.Context, client, _ string, _ int, whole bool) (all []message.Suppression, next string, err error) {
	for name, one := range f.all {
		if rest, is := strings.CutPrefix(name, client+" "); is {
			if whole {
				one.Recipient = rest
			}
			all = append(all, one)
		}
	}
	if f.last {
		return all, "", f.err
	}
	return all, "1750101000000.1", f.err
}

// TestSuppressedRecipients: a marketing message to a person who opted out is refused before it is stored, with its field and who added the
// person, also in a batch, in a check and on Meta's path. Other classes pass, and so do repeated requests.
func TestSuppressedRecipients(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const marketing = `,"class":"marketing"`
	first := b.post(t, envelope(marketing+`,"key":"before"`)).accepted(t)
	b.do(t, "POST", "/v1/suppressions", `{"recipient":"+1 555 123-4567","reason":"asked by mail"}`, withHeader("Authorization", "Bearer "+b.wide))
	b.suppressions.all[" US.1"] = message.Suppression{Source: message.SuppressedByWord, Number: ours}
	stored := len(b.store.messages)
	for name, c := range map[string]struct{ body, path, says string }{
		"marketing":    {envelope(marketing), "message.to", "(asked by mail), on 2025-06-16T19:10:00Z."},
		"scheduled":    {envelope(marketing + `,"send_at":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`), "message.to", "asked by mail"},
		"to a user id": {`{"from":"` + ours + `","class":"marketing","message":{"recipient":"US.1","type":"text","text":{"body":"hi"}}}`, "message.recipient", "stop word to the phone number id " + ours},
	} {
		for _, path := range []string{"/v1/messages", "/v1/messages/check"} {
			r := b.do(t, http.MethodPost, path, c.body, nil)
			p := r.problem(t)
			if r.status != http.StatusConflict || p.Code != "recipient_suppressed" || p.Errors[0].Path != c.path || !strings.Contains(p.Errors[0].Detail, c.says) {
				t.Errorf("%s: %d %s", name, r.status, r.body)
			}
		}
	}
	product := strings.Replace(hello, "{", `{"messaging_product":"whatsapp",`, 1)
	r := b.do(t, "POST", "/v25.0/"+ours+"/messages", product, withHeader("Sluice-Class", "marketing"))
	if r.status != 400 || !strings.Contains(r.body, `"code":131050`) || !strings.Contains(r.body, "to: The recipient opted out") {
		t.Errorf("Meta's path: %d %s", r.status, r.body)
	}
	if len(b.store.messages) != stored {
		t.Errorf("%d messages were stored", len(b.store.messages)-stored)
	}
	if r := b.post(t, envelope(`,"class":"authentication"`)); r.status != http.StatusAccepted {
		t.Errorf("a one-time code: %d %s", r.status, r.body)
	}
	batch := b.batch(t)
	batch.line(envelope(marketing))
	batch.line(strings.Replace(envelope(marketing), "4567", "4568", 1))
	batch.line(envelope(marketing + `,"key":"before"`))
	batch.Close()
	for i, want := range []int{409, 202, 200} {
		if a, _ := batch.next(); a.Status != want || want == 200 && a.ID != first.ID || want == 409 && a.Problem.Code != "recipient_suppressed" {
			t.Errorf("line %d: %+v", i+1, a)
		}
	}
	if want := 8; len(b.suppressions.seen) != want {
		t.Errorf("counted %q, want %d", b.suppressions.seen, want)
	}
}

// TestSuppressionLists: a key of a client has the list of this client, a key for all numbers has all, and another key has none. Without a
// secrets key there are no lists.
func TestSuppressionLists(t *testing.T) {
	t.Parallel()
	b := setup(t)
	call := func(token, method, path, body string, status int) string {
		t.Helper()
		r := b.do(t, method, path, body, withHeader("Authorization", "Bearer "+token))
		if r.status != status {
			t.Errorf("%s %s %s: %d, want %d: %s", method, path, body, r.status, status, r.body)
		}
		return r.body
	}
	const person = `"recipient":"+1 555 123-4567"`
	const add, remove, show = "/v1/suppressions", "/v1/suppressions/remove", "/v1/suppressions/show"
	for i, want := range []string{`"changed":true`, `"changed":false`} {
		if got := call(b.acmes, "POST", add, "{"+person+"}", 200); !strings.Contains(got, want) {
			t.Errorf("request %d: %s", i+1, got)
		}
	}
	call(b.acmes, "POST", add, `{"client":"globex",`+person+`}`, 422)
	call(b.wide, "POST", add, `{"client":"nosuch",`+person+`}`, 422)
	call(b.wide, "POST", add, `{"recipient":"anna"}`, 422)
	call(b.wide, "POST", add, `{`+person+`,"reason":"a\u0007b"}`, 422)
	call(b.narrow, "POST", add, "{"+person+"}", 403)
	call(b.readOnly, "POST", add, "{"+person+"}", 403)
	call(b.wide, "POST", show, "{"+person+"}", 404)
	var one struct{ Recipient, Client, Source, API_Key string }
	if json.Unmarshal([]byte(call(b.wide, "POST", show, `{"client":"acme",`+person+`}`, 200)), &one); one.Recipient != "+15***67" || one.Client != "acme" || one.Source != "api" || one.API_Key != "acmes" {
		t.Errorf("%+v", one)
	}
	if got := call(b.acmes, "GET", add, "", 200); !strings.Contains(got, `"+15***67"`) || !strings.Contains(got, `"next_cursor":"1750101000000.1"`) {
		t.Errorf("the list is %s", got)
	}
	if got := call(b.acmes, "GET", add+"?recipients=whole", "", 200); !strings.Contains(got, `"+15551234567"`) {
		t.Errorf("the list is %s", got)
	}
	for _, query := range []string{"limit=0", "recipients=all", "cursor=x", "client=globex"} {
		call(b.acmes, "GET", add+"?"+query, "", 422)
	}
	if got := call(b.acmes, "POST", remove, "{"+person+"}", 200); !strings.Contains(got, `"changed":true`) {
		t.Errorf("removed: %s", got)
	}
	call(b.acmes, "POST", show, "{"+person+"}", 404)
	b.suppressions.off = true
	for _, path := range []string{add, remove, show} {
		if got := call(b.wide, "POST", path, "{"+person+"}", 422); !strings.Contains(got, "suppressions_need_key") {
			t.Errorf("%s without a secrets key: %s", path, got)
		}
	}
}

// describeSuppressions checks the failures of the operations against their description.
func describeSuppressions(t *testing.T, b *bench, check func(name string, r reply)) {
	t.Helper()
	wide := func(r *http.Request) { r.Header.Set("Authorization", "Bearer "+b.wide) }
	for name, path := range map[string]string{"addSuppression": "", "removeSuppression": "/remove", "showSuppression": "/show"} {
		path = "/v1/suppressions" + path
		check(name, b.do(t, "POST", path, "{", wide))
		check(name, b.do(t, "POST", path, `{"recipient":"`+strings.Repeat("x", 300<<10)+`"}`, wide))
		check(name, b.do(t, "POST", path, "{}", func(r *http.Request) { wide(r); r.Header.Set("Content-Type", "text/plain") }))
		check(name, b.do(t, "POST", path, `{"recipient":"x"}`, wide))
		check(name, b.do(t, "POST", path, `{"recipient":"+15550000000"}`, nil))
		b.suppressions.err = context.DeadlineExceeded
		check(name, b.do(t, "POST", path, `{"recipient":"+15550000000"}`, wide))
		b.suppressions.err = nil
	}
	check("showSuppression", b.do(t, "POST", "/v1/suppressions/show", `{"recipient":"+15550000001"}`, wide))
	check("listSuppressions", b.do(t, "GET", "/v1/suppressions", "", nil))
	check("listSuppressions", b.do(t, "GET", "/v1/suppressions?limit=x", "", wide))
	b.suppressions.err = context.DeadlineExceeded
	check("listSuppressions", b.do(t, "GET", "/v1/suppressions", "", wide))
	csv := func(r *http.Request) { wide(r); r.Header.Set("Content-Type", "text/csv") }
	check("importSuppressions", b.do(t, "POST", "/v1/suppressions/import", "recipient\n+15550000000\n", csv))
	check("exportSuppressions", b.do(t, "GET", "/v1/suppressions/export", "", wide))
	b.suppressions.err = nil
	check("importSuppressions", b.do(t, "POST", "/v1/suppressions/import", "", csv))
	check("importSuppressions", b.do(t, "POST", "/v1/suppressions/import", "", wide))
	check("importSuppressions", b.do(t, "POST", "/v1/suppressions/import", "", func(r *http.Request) { r.Header.Set("Content-Type", "text/csv") }))
	check("exportSuppressions", b.do(t, "GET", "/v1/suppressions/export?format=x", "", wide))
	check("exportSuppressions", b.do(t, "GET", "/v1/suppressions/export", "", nil))
}

// TestSuppressionFiles: a list is exported with the recipients, and the export can be imported. Lines with mistakes do not affect others.
func TestSuppressionFiles(t *testing.T) {
	t.Parallel()
	b := setup(t)
	upload := func(media, body string, status int) string {
		t.Helper()
		r := b.do(t, "POST", "/v1/suppressions/import", body, func(r *http.Request) {
			r.Header.Set("Authorization", "Bearer "+b.acmes)
			r.Header.Set("Content-Type", media)
		})
		if r.status != status {
			t.Errorf("%s: %d, want %d: %s", body, r.status, status, r.body)
		}
		return r.body
	}
	download := func(query string) string {
		t.Helper()
		r := b.do(t, "GET", "/v1/suppressions/export"+query, "", withHeader("Authorization", "Bearer "+b.acmes))
		if r.status != 200 {
			t.Errorf("%s: %d %s", query, r.status, r.body)
		}
		return r.body
	}
	got := upload("text/csv; charset=utf-8", "\uFEFFat,recipient,reason,more\n2026-01-31T15:04:05Z,+1 555 123-4567,\"asked, by mail\",x\n,anna,,\nyesterday,+15551234568,,\n,15551234569,\"a\nb\",\n", 200)
	for _, want := range []string{`"added":1`, `"refused":3`, `{"line":3,"code":"person_invalid"}`, `{"line":4,"code":"time_invalid"}`, `{"line":5,"code":"reason_missing"}`} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer lacks %s: %s", want, got)
		}
	}
	got = upload("application/x-ndjson", "\n{\"recipient\":\"+15551234567\"}\n{\n"+strings.Repeat("x", 10_000)+"\n{\"recipient\":\"US.1\",\"reason\":\"=1\"}", 200)
	for _, want := range []string{`"added":1`, `"unchanged":1`, `"refused":2`, `{"line":3,"code":"json_invalid"}`, `{"line":4,"code":"json_invalid"}`} {
		if !strings.Contains(got, want) {
			t.Errorf("the answer lacks %s: %s", want, got)
		}
	}
	upload("text/csv", "", 422)
	upload("text/csv", "phone\n+15551234567\n", 422)
	upload("text/csv", "recipient\n\"+15551234567\n", 422)
	upload("text/plain", "recipient\n", 415)
	b.suppressions.last = true
	if got := download(""); strings.Count(got, "\n") != 2 || !strings.Contains(got, `{"recipient":"US.1","client":"acme","source":"import"`) {
		t.Errorf("exported %s", got)
	}
	table := download("?format=csv")
	if !strings.HasPrefix(table, "recipient,source,reason,api_key,phone_number_id,at\n") || !strings.Contains(table, "US.1,import,'=1,acmes,,") {
		t.Errorf("exported %s", table)
	}
	clear(b.suppressions.all)
	if got := upload("text/csv", table, 200); !strings.Contains(got, `"added":2`) {
		t.Errorf("imported again: %s", got)
	}
}
