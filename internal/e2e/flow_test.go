package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// idOf returns the message id in a marker sl1.<env>.<id>.<n>.<mac>.
func idOf(marker string) string {
	if parts := strings.Split(marker, "."); len(parts) == 5 {
		return parts[2]
	}
	return ""
}

// A message goes from the request to the state read, and its timeline has each step.
func TestMessageGoesAllTheWay(t *testing.T) {
	t.Parallel()
	onEach(t, messageGoesAllTheWay)
}

func messageGoesAllTheWay(t *testing.T, on kind) {
	w := setupOn(t, on, 80, graphsim.Options{Webhook: graphsim.Webhook{Read: 1, Double: 0.5, Shuffle: 0.5, Batch: 5}})
	w.worker()
	ids := w.order(50, "")
	for id, r := range w.settled(ids, func(r client.Record) bool { return r.State == client.StateRead }) {
		var way []client.State
		for _, s := range r.Timeline {
			way = append(way, s.State)
		}
		if len(way) < 3 || way[0] != client.StateQueued || way[1] != client.StateAttempting || way[len(way)-1] != client.StateRead {
			t.Errorf("%s went %v", id, way)
		}
		if r.WAMID == "" || r.Attempt != 1 {
			t.Errorf("%s: wamid %q after %d attempts", id, r.WAMID, r.Attempt)
		}
	}
}

// Two requests with the same key are one message, also after it was sent. With other content the second is refused.
func TestSameKeyIsOneMessage(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{})
	w.worker()
	order := client.Message{
		From: numbers[0], Key: "order-1", Class: client.ClassUtility,
		Content: json.RawMessage(`{"to":"+15552200001","type":"text","text":{"body":"one"}}`),
	}
	first, err := w.api.Send(t.Context(), order)
	if err != nil || first.Duplicate {
		t.Fatalf("first: %+v, %v", first, err)
	}
	w.settled([]string{first.ID}, over)
	order.Content = json.RawMessage(`{"type":"text", "text":{"body":"one"}, "to":"+15552200001"}`)
	again, err := w.api.Send(t.Context(), order)
	if err != nil || !again.Duplicate || again.ID != first.ID || again.State != client.StateDelivered {
		t.Errorf("again: %+v, %v", again, err)
	}
	order.Content = json.RawMessage(`{"to":"+15552200001","type":"text","text":{"body":"two"}}`)
	_, err = w.api.Send(t.Context(), order)
	if p, ok := err.(*client.Problem); !ok || p.Status != http.StatusUnprocessableEntity || p.Code != "idempotency_key_reused" {
		t.Errorf("other content: %v", err)
	}
	w.order(5, message.Utility) // goes through the queue behind whatever the repeats left there
	w.await(6)
	if n := len(w.sim.Accepted()); n != 6 {
		t.Errorf("Meta took %d messages, want 6", n)
	}
}

// A webhook with a wrong signature is refused and changes nothing. The same body with a valid signature is applied, by
// the wamid because it has no marker.
func TestSignatureDecidesWhatIsBelieved(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: time.Hour, Max: time.Hour}}})
	w.worker()
	id := w.order(1, message.Utility)[0]
	r := w.settled([]string{id}, func(r client.Record) bool { return r.State == client.StateSubmitted })[id]
	body := fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{
		"messaging_product":"whatsapp","metadata":{"phone_number_id":%q},
		"statuses":[{"id":%q,"status":"read","timestamp":"%d","recipient_id":"15552200000"}]}}]}]}`, numbers[0], r.WAMID, time.Now().Unix())

	if got := w.post(body, cloudapi.Sign("another secret", body)); got != http.StatusUnauthorized {
		t.Errorf("wrong signature: %d, want 401", got)
	}
	if got := w.post(body, ""); got != http.StatusUnauthorized {
		t.Errorf("no signature: %d, want 401", got)
	}
	if n, err := w.redis.admin.XLen(t.Context(), events.MetaKey(message.DefaultShards.Of(numbers[0]))).Result(); err != nil || n != 0 {
		t.Errorf("the stream has %d entries (%v), want none", n, err)
	}
	if got := w.post(body, cloudapi.Sign(appSecret, body)); got != http.StatusOK {
		t.Errorf("right signature: %d, want 200", got)
	}
	w.settled([]string{id}, func(r client.Record) bool { return r.State == client.StateRead })
}
