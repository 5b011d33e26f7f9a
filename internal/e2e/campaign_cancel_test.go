package e2e

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// campaignMessages is an environment variable: how many messages TestStopCampaign sends in its campaign. Default: 1000.
const campaignMessages = "SLUICE_TEST_CAMPAIGN_MESSAGES"

// TestStopCampaign: a campaign that is being sent is held, released, and cancelled while workers are killed. After each answer Meta gets no
// more of it than the requests that were on their way. Messages that are accepted meanwhile wait, and are refused after the cancel. Another
// campaign of the same number goes on. In the end the counters are those of the records, and what they say of Meta is what the simulator did.
func TestStopCampaign(t *testing.T) {
	t.Parallel()
	const rate = 200
	const onTheirWay = rate / 2 // more than workers have fetched: by their slots half of what is sent meanwhile would be of the campaign
	messages, err := strconv.Atoi(cmp.Or(os.Getenv(campaignMessages), "1000"))
	if err != nil {
		t.Fatalf("%s: %v", campaignMessages, err)
	}
	w := setup(t, rate, graphsim.Options{Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 10 * time.Millisecond, Max: 100 * time.Millisecond}}})
	one := func(campaign string, i int) client.Message {
		return client.Message{From: numbers[0], Key: fmt.Sprint(campaign, i), Class: client.ClassMarketing, Campaign: campaign, Content: client.Text(fmt.Sprintf("+1555%d%06d", len(campaign), i), "Hello")}
	}
	order := func(campaign string, from, to int) {
		t.Helper()
		var wanted, again []int
		for i := from; i < to; i++ {
			wanted = append(wanted, i)
		}
		for ; len(wanted) > 0; wanted, again = again, nil {
			for result, err := range w.api.SendBatch(t.Context(), func(yield func(client.Message) bool) {
				for _, i := range wanted {
					if !yield(one(campaign, i)) {
						return
					}
				}
			}) {
				switch {
				case err == nil && result.Problem == nil:
				case err == nil && result.Problem.Status == http.StatusServiceUnavailable: // Redis is slow on a busy machine
					again = append(again, wanted[result.Line-1])
				default:
					t.Fatalf("line %d: %v %v", result.Line, result.Problem, err)
				}
			}
		}
	}
	sent := func(campaign string) (n int) {
		for _, a := range w.sim.Accepted() {
			if a.To[:5] == fmt.Sprintf("1555%d", len(campaign)) {
				n++
			}
		}
		return n
	}
	counters := func() client.Campaign {
		t.Helper()
		c, err := w.api.Campaign(t.Context(), "", "spring")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	console := client.New(w.console, apiKey, client.WithRetryFor(0))
	tell := func(path string, order map[string]string) {
		t.Helper()
		order["actor"], order["reason"] = "anna", "wrong price"
		if err := console.Call(t.Context(), "POST", path, order, nil); err != nil {
			t.Fatal(err)
		}
	}
	campaign := func() map[string]string { return map[string]string{"campaign": "spring"} }
	others := 0
	// sentSince returns how many messages of the campaign Meta got after n, when the number has used slots for the other campaign.
	sentSince := func(n int) int {
		t.Helper()
		order("winter-2", others, others+rate)
		others += rate
		poll.Until(t, "the other campaign goes on", func() bool { return sent("winter-2") == others })
		return sent("spring") - n
	}

	begin := time.Now()
	order("spring", 0, messages-100)
	t.Logf("%d messages accepted in %s", messages-100, time.Since(begin).Round(time.Millisecond))
	workers := []*worker{w.worker(), w.worker()} // now, so that most of the campaign waits, however slow the machine is
	poll.Until(t, "some are sent", func() bool { return sent("spring") > 50 })
	tell("/v1/holds", campaign())
	held := sent("spring")
	order("spring", messages-100, messages) // while it is held
	if n := sentSince(held); n > onTheirWay {
		t.Errorf("%d messages were sent after the answer of the hold", n)
	} else {
		t.Logf("held after %d messages: %d more were sent", held, n)
	}
	held = sent("spring")
	tell("/v1/holds/release", campaign())
	begin = time.Now()
	poll.Until(t, "the campaign goes on", func() bool { return sent("spring") > held+50 })
	t.Logf("released: 50 messages were sent after %s", time.Since(begin).Round(time.Millisecond))

	begin = time.Now()
	if err := w.api.CancelCampaign(t.Context(), "", "spring", "wrong price"); err != nil {
		t.Fatal(err)
	}
	cancelled := sent("spring")
	if n := sentSince(cancelled); n > onTheirWay {
		t.Errorf("%d messages were sent after the answer of the cancel", n)
	} else {
		t.Logf("cancelled after %d messages: %d more were sent", cancelled, n)
	}
	cancelled = sent("spring")
	for i := range workers {
		before := counters().States[client.StateCancelled]
		poll.Until(t, "messages are cancelled", func() bool {
			c := counters()
			return c.States[client.StateCancelled] > before || c.States[client.StateQueued] == 0
		})
		workers[i].kill()
		workers[i] = w.worker()
	}
	for waiting := counters().States[client.StateQueued]; waiting > 0; waiting = counters().States[client.StateQueued] {
		poll.Until(t, "fewer messages wait", func() bool { return counters().States[client.StateQueued] < waiting })
	}
	t.Logf("nothing waits after %s", time.Since(begin).Round(time.Millisecond))
	poll.Until(t, "new messages are refused", func() bool {
		_, err := w.api.Send(t.Context(), one("spring", messages))
		p, is := errors.AsType[*client.Problem](err)
		return is && p.Status == 409 && p.Errors[0].Code == "campaign_cancelled"
	})
	if n := sent("spring"); n > cancelled {
		t.Errorf("%d messages were sent when the workers were killed", n-cancelled)
	}

	// A request that a dead worker may have sent stays in doubt until Meta reports its message.
	var c client.Campaign
	poll.Until(t, "the counters are the simulator's", func() bool {
		c = counters()
		return c.Delivered == sent("spring") && c.States[client.StateCancelled]+c.States[client.StateInDoubt]+c.Delivered == c.Messages
	})
	records := 0
	for r, err := range w.api.List(t.Context(), client.ListOptions{Campaign: "spring", States: []client.State{client.StateCancelled}}) {
		if err != nil {
			t.Fatal(err)
		}
		if r.State == client.StateCancelled {
			records++
		}
	}
	if records != c.States[client.StateCancelled] || c.Messages < messages || c.CancelReason != "wrong price" {
		t.Errorf("%d records are cancelled, the counters say %+v of %d", records, c, messages)
	}
	if n := w.sim.Duplicates(); n != 0 {
		t.Errorf("Meta accepted %d messages twice", n)
	}
	if c.States[client.StateInDoubt] == 0 {
		poll.Until(t, "the hold has ended", func() bool { return len(counters().Holds) == 0 })
	}
	t.Logf("counters: %v", c.States)

	tell("/v1/campaigns/spring/open", map[string]string{})
	before := sent("spring")
	poll.Until(t, "new messages are accepted", func() bool {
		_, err := w.api.Send(t.Context(), one("spring", messages+1))
		return err == nil
	})
	poll.Until(t, "the message is sent", func() bool { return sent("spring") > before })
}
