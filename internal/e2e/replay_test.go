package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// operate makes a request to the console and returns the answer, which must have the status 200.
func (w *world) operate(method, path, body string) map[string]any {
	w.t.Helper()
	a := ask(w.t, method, w.console+path, body, http.Header{"Authorization": {"Bearer " + apiKey}, "Content-Type": {"application/json"}})
	if a.status != http.StatusOK {
		w.t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
	}
	var answer map[string]any
	if err := json.Unmarshal([]byte(a.body), &answer); err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// TestRefusedByWebhookIsReplayed: Meta accepts messages and then reports them as failed because the account cannot pay
// (131042). That holds their numbers. When the account can pay, an operator releases the holds and replays the dead
// letters. In the end each message is delivered once: those that were refused are sent once more, the others are not.
func TestRefusedByWebhookIsReplayed(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Account: graphsim.Account{Fail: 131042}, Webhook: graphsim.Webhook{Batch: 20}}, "retry: {base: 30s}")
	w.worker()
	const messages = 400
	ids := w.order(messages, message.Utility)
	held := map[string]bool{}
	poll.Until(t, "the numbers are held", func() bool {
		for _, h := range w.operate("GET", "/v1/holds", "")["holds"].([]any) {
			h := h.(map[string]any)
			if held[h["phone_number_id"].(string)] = true; h["code"] != 131042. || h["actor"] != "sluice" || h["template"] != nil {
				t.Fatalf("held: %v", h)
			}
		}
		return len(held) == len(numbers)
	})
	if err := w.sim.SetAccount(graphsim.Account{}); err != nil {
		t.Fatal(err)
	}
	for _, n := range numbers {
		if a := w.operate("POST", "/v1/holds/release", fmt.Sprintf(`{"phone_number_id":%q,"actor":"anna","reason":"invoice paid"}`, n)); a["released"] != true {
			t.Errorf("release %s: %v", n, a)
		}
	}
	records := w.settled(ids, over)
	dead := map[string]bool{}
	for id, r := range records {
		switch r.State {
		case client.StateDead:
			if dead[id] = true; r.Reason != message.ReasonReported || r.Code != 131042 {
				t.Errorf("%s is dead: %d %s", id, r.Code, r.Reason)
			}
		case client.StateDelivered:
		default:
			t.Errorf("%s is %s %s", id, r.State, r.Reason)
		}
	}
	if len(dead) < len(numbers) || len(dead) > messages/2 {
		t.Fatalf("%d of %d messages were refused", len(dead), messages)
	}

	filter := "message_reason=" + message.ReasonReported + "&code=131042"
	if a := w.operate("GET", "/v1/dead-letters?"+filter, ""); a["count"] != float64(len(dead)) {
		t.Errorf("listed %v dead letters, want %d", a["count"], len(dead))
	}
	replayed := 0.
	for range 2 { // a second replay finds none
		for _, n := range numbers {
			a := w.operate("POST", "/v1/dead-letters/replay", fmt.Sprintf(
				`{"phone_number_id":%q,"message_reason":%q,"limit":500,"actor":"anna","reason":"invoice paid"}`, n, message.ReasonReported))
			replayed += a["replayed"].(float64)
		}
	}
	if int(replayed) != len(dead) {
		t.Errorf("%v messages were replayed, want %d", replayed, len(dead))
	}
	records = w.settled(ids, func(r client.Record) bool { return r.State == client.StateDelivered })

	received := map[string]int{}
	for _, a := range w.sim.Accepted() {
		received[strings.Split(a.Marker, ".")[2]]++
	}
	for id, r := range records {
		delivered := 0
		for _, s := range r.Timeline {
			if s.State == client.StateDelivered {
				delivered++
			}
		}
		want := 1
		if dead[id] {
			want = 2
		}
		if delivered != 1 || received[id] != want {
			t.Errorf("%s (refused: %t) was delivered %d times, and Meta received it %d times, want %d", id, dead[id], delivered, received[id], want)
		}
	}
	t.Logf("%d of %d messages were refused and replayed", len(dead), messages)
}
