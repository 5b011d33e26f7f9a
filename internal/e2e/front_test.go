package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"iter"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"sluice/client"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// call makes a request to the API and returns the body of the answer.
func (w *world) call(method, path, media, body string, want int) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, w.api.String()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", media)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	if resp.StatusCode != want {
		w.t.Fatalf("%s %s: %d %s", method, path, resp.StatusCode, answer)
	}
	return string(answer)
}

// TestClassOfTheCategory: a template has the class of its category at Meta through each interface, once a worker has read it.
func TestClassOfTheCategory(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{Templates: []graphsim.Template{
		{Name: "code", Category: "AUTHENTICATION"}, {Name: "order", Category: "UTILITY"}, {Name: "sale", Category: "MARKETING"},
	}}})
	w.worker()
	poll.Until(t, "a worker has read the templates", func() bool {
		return strings.Contains(w.call("POST", "/v1/messages/check", "application/json", `{"from":"`+numbers[0]+`","message":{"to":"+15552300001","type":"template","template":{"name":"code","language":{"code":"en_US"}}}}`, 200), `"class":"authentication"`)
	})
	for name, want := range map[string]message.Class{"code": message.Authentication, "order": message.Utility, "sale": message.Marketing} {
		object := `"to":"+15552300001","type":"template","template":{"name":"` + name + `","language":{"code":"en_US"}}}`
		line := `{"from":"` + numbers[0] + `","message":{` + object + `}`
		var first, second struct {
			ID    string
			Class message.Class
		}
		if err := json.Unmarshal([]byte(w.call("POST", "/v1/messages/batch", "application/x-ndjson", line+"\n", 200)), &first); err != nil || first.Class != want {
			t.Errorf("%s: %+v, %v; want %s", name, first, err, want)
		}
		var sent struct{ Messages []struct{ ID string } }
		answer := w.call("POST", "/v25.0/"+numbers[1]+"/messages", "application/json", `{"messaging_product":"whatsapp",`+object, 200)
		if err := json.Unmarshal([]byte(answer), &sent); err != nil || len(sent.Messages) != 1 {
			t.Fatalf("%s", answer)
		}
		if err := json.Unmarshal([]byte(w.call("GET", "/v1/messages/"+sent.Messages[0].ID, "", "", 200)), &second); err != nil || second.Class != want {
			t.Errorf("%s at the second number: %+v, %v; want %s", name, second, err, want)
		}
	}
}

// Through each interface a message is sent in the same way. A caller that waits gets Meta's id. Forwarded calls reach Meta
// with its token. All events match their schema.
func TestEveryDoor(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Token: "e2e-access-token", Webhook: graphsim.Webhook{Read: 1}})
	w.worker()
	const text = `"to":"+15552300001","type":"text","text":{"body":"Hello"}`
	var ids []string

	var one struct{ ID, WAMID string }
	answer := w.call("POST", "/v1/messages?wait=submitted", "application/json", `{"from":"`+numbers[0]+`","message":{`+text+`}}`, 202)
	if err := json.Unmarshal([]byte(answer), &one); err != nil || !strings.HasPrefix(one.WAMID, "wamid.") {
		t.Errorf("waited, and got %s", answer)
	}
	ids = append(ids, one.ID)

	var sent struct{ Messages []struct{ ID string } }
	answer = w.call("POST", "/v21.0/"+numbers[1]+"/messages", "application/json", `{"messaging_product":"whatsapp",`+text+`}`, 200)
	if err := json.Unmarshal([]byte(answer), &sent); err != nil || len(sent.Messages) != 1 {
		t.Fatalf("dropped in, and got %s", answer)
	}
	ids = append(ids, sent.Messages[0].ID)

	var lines strings.Builder
	for i := range 50 {
		fmt.Fprintf(&lines, `{"from":"%s","key":"line-%d","message":{%s}}`+"\n", numbers[i%2], i, strings.ReplaceAll(text, "0001", fmt.Sprintf("%04d", i)))
	}
	answer = w.call("POST", "/v1/messages/batch", "application/x-ndjson", lines.String()+"{\n", 200)
	verdicts := json.NewDecoder(strings.NewReader(answer))
	for n := 1; verdicts.More(); n++ {
		var v struct {
			Line, Status int
			ID           string
		}
		if err := verdicts.Decode(&v); err != nil || v.Line != n || (v.Status == 202) != (n <= 50) {
			t.Fatalf("line %d: %+v, %v", n, v, err)
		}
		if v.ID != "" {
			ids = append(ids, v.ID)
		}
	}

	if answer = w.call("POST", "/v25.0/"+numbers[0]+"/messages", "application/json", `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`, 200); !strings.Contains(answer, `"success":true`) {
		t.Errorf("marked as read, and got %s", answer)
	}
	if answer = w.call("GET", "/v25.0/"+numbers[0], "", "", 200); !strings.Contains(answer, `"id"`) {
		t.Errorf("asked for the number, and got %s", answer)
	}

	if len(ids) != 52 {
		t.Fatalf("%d messages accepted", len(ids))
	}
	w.settled(ids, func(r client.Record) bool { return r.State == client.StateRead })
	w.checkEvents()
}

// streamed returns the events of a shard as they are in its streams.
func (w *world) streamed(shard message.Shard) iter.Seq2[string, string] {
	return func(yield func(stream, text string) bool) {
		for _, stream := range []string{events.MessageKey(shard), events.MetaKey(shard)} {
			entries, err := w.redis.admin.XRange(w.t.Context(), stream, "-", "+").Result()
			if err != nil {
				w.t.Fatal(err)
			}
			for _, e := range entries {
				for text := range strings.SplitSeq(e.Values[events.Field].(string), "\n") {
					if !yield(stream, text) {
						return
					}
				}
			}
		}
	}
}

// checkEvents compares all events in the streams with the published schema.
func (w *world) checkEvents() {
	w.t.Helper()
	schema, err := jsonschema.NewCompiler().Compile("../../docs/events.schema.json")
	if err != nil {
		w.t.Fatal(err)
	}
	types := map[string]int{}
	for _, shard := range message.DefaultShards.All() {
		for stream, text := range w.streamed(shard) {
			value, err := jsonschema.UnmarshalJSON(strings.NewReader(text))
			if err == nil {
				err = schema.Validate(value)
			}
			if err != nil {
				w.t.Errorf("%v in %s", err, text)
				continue
			}
			kind := value.(map[string]any)["type"].(string)
			if ours := kind == message.EventMessage || kind == message.EventFinal; ours != (stream == events.MessageKey(shard)) {
				w.t.Errorf("%s in %s", kind, stream)
			}
			types[kind]++
		}
	}
	if types[message.EventMessage] == 0 || types[message.EventStatus] == 0 {
		w.t.Errorf("only %v were seen", types)
	}
}
