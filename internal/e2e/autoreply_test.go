package e2e

import (
	"fmt"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestAutoReply: a person who writes a word of a rule gets its text once, also from a number that refuses messages outside of the customer
// service window, which the message opens. The settings come from an operator while all programs run.
func TestAutoReply(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{}, "secrets_key_file: marker")
	w.worker()
	number := numbers[0]
	w.change("/v1/numbers", fmt.Sprintf(`"phone_number_id":%q,"rate_limit":200,"customer_service_window":"refuse","auto_reply":{"api_key":"e2e","rules":[{"words":["price"],"text":"10 EUR"}]}`, number))
	got := func(to string) (n int) {
		for _, a := range w.sim.Accepted() {
			if a.To == to && a.Type == "text" {
				n++
			}
		}
		return n
	}
	writes := func(from, text string) {
		w.simulate("POST", "inbound", fmt.Sprintf(`{"from":%q,"to":%q,"text":%q}`, from, number, text))
	}
	n := 0
	poll.Until(t, "a producer knows the settings", func() bool { // messages from before are not answered
		n++
		writes(fmt.Sprintf("1555123%04d", n), "price")
		return len(w.sim.Accepted()) > 0
	})
	const asks, stops, last = "15559990001", "15559990002", "15559990003"
	writes(asks, "Price?")
	writes(stops, "STOP")
	writes(last, "price")
	poll.Until(t, "the answers", func() bool { return got(asks) > 0 && got(last) > 0 })
	var ids []string
	for r, err := range w.api.List(t.Context(), client.ListOptions{Tag: "auto-reply"}) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, r.ID)
	}
	for id, r := range w.settled(ids, over) {
		if r.State != client.StateDelivered || r.Class != client.ClassService {
			t.Errorf("the answer %s is %s, class %s", id, r.State, r.Class)
		}
	}
	if got(asks) != 1 || got(last) != 1 || got(stops) != 0 || len(ids) < 3 {
		t.Errorf("the people got %d and %d answers, and the one who said stop %d; want 1, 1 and 0", got(asks), got(last), got(stops))
	}
}
