package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestCustomerServiceWindow: Meta gets no free-form message outside the customer service window: a new one is refused, and one that waits is
// rejected without an attempt, or its fallback template is sent. A message of the person opens the window, also for a message that waits.
func TestCustomerServiceWindow(t *testing.T) {
	t.Parallel()
	const number, ann, bob, carl = "106540352242956", "15551230001", "15551230002", "15551230003"
	w := setup(t, 80, graphsim.Options{Window: true},
		`  - {phone_number_id: "`+number+`", token_file: token, rate_limit: 80, customer_service_window: refuse, classes: {service: {webhook_retry_window: 1s}}}`, "secrets_key_file: marker")
	w.worker()
	template := map[string]any{"name": "order", "language": map[string]any{"code": "en"}}
	text := func(to string) client.Message {
		return client.Message{From: number, Content: client.Text("+"+to, "Hello")}
	}
	with := func(m client.Message) client.Message {
		m.FallbackTemplate = template
		return m
	}
	send := func(m client.Message) string {
		t.Helper()
		a, err := w.api.Send(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return a.ID
	}
	refused := func(to string) bool {
		_, err := w.api.Send(t.Context(), text(to))
		p, is := errors.AsType[*client.Problem](err)
		if err != nil && (!is || p.Status != http.StatusUnprocessableEntity || p.Code != "service_window_closed" || p.Errors[0].Path != "message.to") {
			t.Fatal(err)
		}
		return is
	}
	// The number is tracked for a day, and the status of its first message proves that its webhooks arrive.
	const since = "sluice:windows:since"
	poll.Until(t, "the number is tracked", func() bool {
		fields := w.redis.admin.HKeys(t.Context(), since).Val()
		return len(fields) == 1 && w.redis.admin.HSet(t.Context(), since, fields[0], time.Now().Add(-25*time.Hour).UnixMilli()).Err() == nil
	})
	content := json.RawMessage(`{"to":"+` + carl + `","type":"template","template":{"name":"order","language":{"code":"en"}}}`)
	proof := []string{send(client.Message{From: number, Content: content})}
	w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":"hi"}`, ann, number))
	delivered := func(r client.Record) bool { return r.State == client.StateDelivered }
	w.settled(proof, delivered)
	// Before that Meta decides. A check sends nothing.
	poll.Until(t, "the windows are known", func() bool {
		_, open := w.api.Check(t.Context(), text(ann))
		_, closed := w.api.Check(t.Context(), text(bob))
		return open == nil && closed != nil
	})
	if !refused(bob) || refused(ann) {
		t.Error("a new message: only the one to a person who did not write is refused")
	}
	sent := []string{send(text(ann)), send(with(text(bob)))}

	// Messages wait in the queue while the windows are closed.
	hold := fmt.Sprintf(`{"phone_number_id":%q,"actor":"anna","reason":"test"}`, number)
	w.operate("POST", "/v1/holds", hold)
	later := func(m client.Message) client.Message {
		m.SendAt = time.Now().Add(time.Second)
		return m
	}
	closed, replaced, opened := send(later(text(bob))), send(later(with(text(bob)))), send(later(with(text(carl))))
	window := func(id string) string {
		e, err := w.api.Explain(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return e.CustomerServiceWindow
	}
	w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":"hi"}`, carl, number))
	poll.Until(t, "the window is open again", func() bool { return window(opened) == "open" })
	if got := window(closed); got != "closed" {
		t.Errorf("the window is %s", got)
	}
	w.operate("POST", "/v1/holds/release", hold)
	for id, r := range w.settled(append(sent, closed, replaced, opened), over) {
		want := client.Record{State: client.StateDelivered, Info: client.Info{Type: "text"}}
		switch id {
		case sent[1], replaced:
			want.Type, want.Template, want.FallbackFor = "template", "order/en", "text"
		case closed:
			want.State, want.Reason = client.StateRejected, "service_window_closed"
		}
		if r.State != want.State || r.Type != want.Type || r.Template != want.Template || r.FallbackFor != want.FallbackFor || r.Reason != want.Reason || id == closed && r.Attempt != 0 || r.Code != 0 {
			t.Errorf("%+v, want %+v", r, want)
		}
	}
}
