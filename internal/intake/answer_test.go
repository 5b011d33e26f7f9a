package intake

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// The append methods write what encoding/json writes for the types of the description.
func TestAnswersAreWrittenAsDescribed(t *testing.T) {
	t.Parallel()
	whole := acceptedMessage{
		ID: "1-a", State: message.Queued, Class: message.Utility, ExpiresAt: time.Date(2030, 1, 2, 3, 4, 5, 60e6, time.UTC), Duplicate: true,
		WAMID: "wamid.<x>", Code: 131026, Reason: `"why"`, Warnings: unknown{"type", "text.x", true, "sale/en"}.warnings(),
	}
	failure := refuse("json_invalid").Document()
	for _, a := range []acceptedMessage{{}, whole} {
		if want, _ := json.Marshal(a); string(a.append(nil)) != string(want) {
			t.Errorf("got %s, want %s", a.append(nil), want)
		}
		for _, v := range []lineResult{{Line: 7, Status: 202, acceptedMessage: &a}, {Line: 8, Status: 400, Problem: &failure}} {
			if want, _ := json.Marshal(v); string(v.append(nil)) != string(want) {
				t.Errorf("got %s, want %s", v.append(nil), want)
			}
		}
	}
}

// asked has the members of a hash: the hashes in existing records are of the text that encoding/json writes for
// it.
type asked struct {
	From      string        `json:"from"`
	Class     message.Class `json:"class"`
	Ref       string        `json:"ref"`
	Tags      []string      `json:"tags"`
	SendAt    time.Time     `json:"send_at"`
	ExpiresAt time.Time     `json:"expires_at"`
	Message   any           `json:"message"`
}

// Hashes must not change, because a request may be repeated after an upgrade.
func TestHashStays(t *testing.T) {
	t.Parallel()
	for _, more := range []string{
		``, `,"class":"marketing","ref":"ü<1>","tags":["a","\u00e4"]`, `,"tags":[],"send_at":"2030-01-02T03:04:05.678+01:00","expires_at":"2030-01-03T00:00:00Z"`,
	} {
		text := `{"from":"9","key":"k","message":{ "type":"text", "to":"+1 555 123 4567","text":{"body":"a \u2028 <b>","preview_url":false,"x":[1e2,null]}}` + more + `}`
		e := newEnvelope()
		if refused := e.read([]byte(text)); refused != nil {
			t.Fatal(refused)
		}
		e.open(e.body.Root())
		m := e.newMessage(nil)
		if e.finish(&m); e.problems != nil {
			t.Fatal(e.problems)
		}
		var given struct{ Message any }
		decoder := json.NewDecoder(strings.NewReader(text))
		decoder.UseNumber()
		if err := decoder.Decode(&given); err != nil {
			t.Fatal(err)
		}
		canonical, err := json.Marshal(asked{m.From, m.Class, m.Ref, m.Tags, m.SendAt, m.ExpiresAt, given.Message})
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(canonical)
		if want := base64.RawURLEncoding.EncodeToString(sum[:16]); m.Hash != want {
			t.Errorf("%s: hash %s, want %s", text, m.Hash, want)
		}
		e.free()
	}
}

func TestGraphPath(t *testing.T) {
	t.Parallel()
	for path, want := range map[string]string{
		"/v25.0/1/messages": "/v25.0/1/messages", "/v1.12/": "/v1.12", "/v25.0": "/v25.0", "/v999.99/x": "/v999.99/x", "//v25.0//1//messages/": "/v25.0/1/messages",
		"/1/messages": "/v9.9/1/messages", "/1/": "/v9.9/1", "/me": "/v9.9/me", "/v25.0/1/../2": "/v25.0", "/1/./media": "/v9.9",
		"/v1000.0/x": "", "/v1.123/x": "", "/v1/messages": "", "/v.0/x": "", "/v25./x": "", "/x": "", "v": "", "/v": "", "/": "", "": "", "/docs": "",
	} {
		if got, ok := graphPath(path, "v9.9"); got != want || ok != (want != "") {
			t.Errorf("%q: %q %t, want %q", path, got, ok, want)
		}
	}
}

// A freed envelope has nothing of its request left.
func TestEnvelopeIsFreed(t *testing.T) {
	t.Parallel()
	in := New(Options{Reader: noReader{}, Numbers: func(string) bool { return true }})
	e := new(envelope)
	g := newGroup()
	key := httpapi.Key{Numbers: []string{httpapi.AllNumbers}}
	in.readLine(e, g, key, 1, message.Order{Body: []byte(`{"from":"9","message":{"to":"+15551234567","type":"text","text":{"body":"hi"}},"ref":"1","class":"x"}`)}, in.metrics.count)
	in.readLine(e, g, key, 2, message.Order{Body: []byte(`{"from":"9","message":{"to":"+15551234567","type":"text","text":{"body":"hi"}}}`)}, in.metrics.count)
	if g.lines[0].refused.Status() != http.StatusUnprocessableEntity || len(g.messages) != 1 || g.messages[0].Ref != "" || g.lines[1].refused != nil {
		t.Errorf("%+v", g)
	}
}

type noReader struct{ reader }
