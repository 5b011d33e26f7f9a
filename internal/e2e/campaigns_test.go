package e2e

import (
	"fmt"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestCampaignCountersEqualMetas: while a worker is killed amid its requests, some messages of a campaign are delivered, some refused and
// some reported as failed. In the end its counters are those of the records, and what they say of Meta is what the simulator did.
func TestCampaignCountersEqualMetas(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}}})
	workers := []*worker{w.worker(), w.worker()}
	var ids []string
	order := func(to func(i int) string, n int) {
		for result, err := range w.api.SendBatch(t.Context(), func(yield func(client.Message) bool) {
			for i := range n {
				if !yield(client.Message{From: numbers[i%2], Class: client.ClassMarketing, Campaign: "spring", Content: client.Text(to(i), "Hello")}) {
					return
				}
			}
		}) {
			if err != nil || result.Problem != nil {
				t.Fatalf("line %d: %v %v", result.Line, result.Problem, err)
			}
			ids = append(ids, result.ID)
		}
	}
	order(func(i int) string { return fmt.Sprintf("+15551%06d", i) }, 150)
	order(func(int) string { return "+99999131026" }, 6) // refused, or taken and reported as failed
	order(func(int) string { return "+99999131009" }, 6)
	workers[w.amidARequest(workers, func() { order(func(i int) string { return fmt.Sprintf("+15552%06d", i) }, 150) })].kill()
	w.worker()
	// A request that the dead worker may have sent stays in doubt until Meta reports its message.
	done := func(r client.Record) bool { return over(r) || r.State == client.StateInDoubt }
	var records map[string]client.Record
	var c client.Campaign
	reached := func() (n int) {
		for _, a := range w.sim.Accepted() {
			if a.To[:4] == "1555" {
				n++
			}
		}
		return n
	}
	poll.Until(t, "the counters are those of the records, and Meta's", func() bool {
		records = w.settled(ids, done)
		var err error
		if c, err = w.api.Campaign(t.Context(), "", "spring"); err != nil {
			t.Fatal(err)
		}
		return c.Messages == len(ids) && c.Delivered == reached() && fmt.Sprint(c.States) == fmt.Sprint(states(records))
	})
	undelivered := 0
	for r, err := range w.api.List(t.Context(), client.ListOptions{Campaign: "spring", States: []client.State{client.StateFailed, client.StateRejected, client.StateExpired, client.StateDead, client.StateCancelled}}) {
		if err != nil {
			t.Fatal(err)
		}
		if records[r.ID].State != r.State {
			t.Errorf("%s is %s, the list says %s", r.ID, records[r.ID].State, r.State)
		}
		undelivered++
	}
	if undelivered != c.Undelivered || undelivered == 0 {
		t.Errorf("the list has %d undelivered messages, the counter says %d", undelivered, c.Undelivered)
	}
	poll.Until(t, "the list of campaigns has the same counters", func() bool {
		all, err := w.api.Campaigns(t.Context(), "", 0)
		return err == nil && len(all) == 1 && all[0].Campaign == "spring" && all[0].Messages == c.Messages && all[0].Delivered == c.Delivered
	})
}
