package intake_test

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// search returns the ids that a search finds, sorted, or the code of the refusal.
func (b *bench) search(t *testing.T, token, body string) []string {
	t.Helper()
	r := b.do(t, http.MethodPost, "/v1/messages/search", body, withHeader("Authorization", "Bearer "+token))
	if r.status != http.StatusOK {
		return []string{r.problem(t).Code}
	}
	var list struct{ Messages []struct{ ID string } }
	if err := json.Unmarshal([]byte(r.body), &list); err != nil {
		t.Fatal(err)
	}
	ids := []string{}
	for _, m := range list.Messages {
		ids = append(ids, m.ID)
	}
	slices.Sort(ids)
	return ids
}

// TestSearch: messages are found by everything that names them, at the numbers of the API key only.
func TestSearch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	const to = "+15551239999"
	put := func(number, key string, code int) string {
		id := message.NewID(number, key)
		b.store.messages[id] = message.Message{ID: id, From: number, Content: message.Content{To: to}}
		b.store.records[id] = message.Record{
			Context: message.Context{ID: id, From: number, Ref: "order-1", Tags: []string{"spring"}},
			State:   message.Failed, Code: code, WAMID: "wamid." + number,
		}
		return id
	}
	mine, other := put(ours, "k", 131026), put(theirs, "k", 131000)
	both := []string{mine, other}
	for _, c := range []struct {
		body         string
		wide, narrow []string
	}{
		{`{"id":"` + mine + `"}`, both[:1], both[:1]},
		{`{"id":"` + other + `"}`, both[1:], nil},
		{`{"id":"` + other + `","phone_number_id":"` + ours + `"}`, nil, nil},
		{`{"id":"x"}`, nil, nil},
		{`{"key":"k"}`, both, both[:1]},
		{`{"key":"k","phone_number_id":"` + ours + `"}`, both[:1], both[:1]},
		{`{"ref":"order-1"}`, both, both[:1]},
		{`{"ref":"order-2"}`, nil, nil},
		{`{"wamid":"wamid.` + theirs + `"}`, both[1:], nil},
		{`{"recipient":"` + to + `"}`, both, both[:1]},
		{`{"recipient":"+1 (555) 123-9999"}`, both, both[:1]},
		{`{"recipient":"15551239999","phone_number_id":"` + ours + `"}`, both[:1], both[:1]},
		{`{"recipient":"+15551239998"}`, nil, nil},
		{`{"state":"failed"}`, both, both[:1]},
		{`{"state":"queued"}`, nil, nil},
		{`{"tag":"spring","limit":200}`, both, both[:1]},
		{`{"code":131026}`, both[:1], both[:1]},
		{`{"code":0}`, nil, nil},
		{`{}`, []string{"search_unclear"}, []string{"search_unclear"}},
		{`{"id":"` + mine + `","key":"k"}`, []string{"search_unclear"}, []string{"search_unclear"}},
		{`{"key":"k","state":"failed"}`, []string{"search_unclear"}, []string{"search_unclear"}},
		{`{"phone_number_id":"` + ours + `"}`, []string{"search_unclear"}, []string{"search_unclear"}},
		{`{"key":"k","phone_number_id":"` + theirs + `"}`, both[1:], []string{"phone_number_id_not_found"}},
		{`{"state":"lost"}`, []string{"query_invalid"}, []string{"query_invalid"}},
		{`{"key":""}`, []string{"value_empty"}, []string{"value_empty"}},
		{`{"state":"failed","cursor":"x"}`, []string{"cursor_invalid"}, []string{"cursor_invalid"}},
	} {
		for token, want := range map[string][]string{b.wide: c.wide, b.narrow: c.narrow} {
			want = slices.Sorted(slices.Values(want))
			if got := b.search(t, token, c.body); !slices.Equal(got, want) {
				t.Errorf("%s, wide %t: found %q, want %q", c.body, token == b.wide, got, want)
			}
		}
	}
	if got := b.search(t, b.keys[httpapi.ScopeConsole], `{"key":"k"}`); !slices.Equal(got, both[:1]) {
		t.Errorf("with console:read: %q", got)
	}
	b.finder.unindexed = true
	if got := b.search(t, b.wide, `{"recipient":"`+to+`"}`); got[0] != "recipient_index_missing" {
		t.Errorf("without an index: %q", got)
	}
	if log := b.log.String(); strings.Contains(log, "1239999") {
		t.Errorf("the log has the recipient: %s", log)
	}
}

// TestSearchPages: a search by filter goes on where the last page ended, also with other spellings of the query.
func TestSearchPages(t *testing.T) {
	t.Parallel()
	b := setup(t)
	for _, key := range []string{"1", "2", "3"} {
		id := message.NewID(ours, key)
		b.store.records[id] = message.Record{Context: message.Context{ID: id, From: ours}, State: message.Failed}
	}
	seen, cursor := 0, ""
	for range 3 {
		r := b.do(t, http.MethodPost, "/v1/messages/search", `{"state":"failed","limit":1`+cursor+`}`, nil)
		var page struct {
			Messages   []any
			NextCursor string `json:"next_cursor"`
		}
		if err := json.Unmarshal([]byte(r.body), &page); err != nil || r.status != 200 {
			t.Fatalf("%d %s", r.status, r.body)
		}
		seen += len(page.Messages)
		cursor = `,"cursor":"` + page.NextCursor + `"`
	}
	if seen != 3 {
		t.Errorf("three pages have %d messages", seen)
	}
}

// TestCheck: a check answers what would be stored, stores nothing, and knows repeated keys. TestRefusals compares its refusals.
func TestCheck(t *testing.T) {
	t.Parallel()
	b := setup(t)
	check := func(body string, change func(*http.Request)) (reply, map[string]any) {
		t.Helper()
		r := b.do(t, http.MethodPost, "/v1/messages/check", body, change)
		answer := map[string]any{}
		if err := json.Unmarshal([]byte(r.body), &answer); err != nil {
			t.Fatal(err)
		}
		return r, answer
	}
	at := time.Now().Add(time.Hour).UTC().Truncate(time.Second).Format(time.RFC3339)
	r, answer := check(envelope(`,"key":"k","tags":["spring"],"send_at":"`+at+`"`), nil)
	payload, _ := answer["payload"].(map[string]any)
	if r.status != 200 || answer["id"] != message.NewID(ours, "k") || answer["class"] != "service" || answer["duplicate"] != false || answer["send_at"] != at ||
		answer["expires_at"] == nil || payload["messaging_product"] != "whatsapp" {
		t.Errorf("check: %d %s", r.status, r.body)
	}
	if r, answer := check(envelope(""), nil); r.status != 200 || answer["id"] != "" {
		t.Errorf("without a key: %d %s", r.status, r.body)
	}
	if len(b.store.messages) > 0 {
		t.Fatalf("a check stored %d messages", len(b.store.messages))
	}
	if r := b.post(t, envelope(`,"key":"k"`)); r.status != http.StatusAccepted {
		t.Fatalf("send: %d %s", r.status, r.body)
	}
	if r, answer := check(envelope(`,"key":"k"`), nil); r.status != 200 || answer["duplicate"] != true {
		t.Errorf("after the message was sent: %d %s", r.status, r.body)
	}
	if r, _ := check(envelope(""), withHeader("Authorization", "Bearer "+b.readOnly)); r.status != http.StatusForbidden {
		t.Errorf("without the scope: %d", r.status)
	}
}
