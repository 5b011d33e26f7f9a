package e2e

import (
	"errors"
	"fmt"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// TestCancelCampaign: a campaign that is being sent is cancelled, while workers are killed. Nothing of it is sent from then on, its counters
// are those of the simulator, another campaign of the same number goes on, and new messages are refused until it is opened.
func TestCancelCampaign(t *testing.T) {
	t.Parallel()
	const messages, others = 2000, 200
	w := setup(t, 100, graphsim.Options{})
	workers := []*worker{w.worker(), w.worker()}
	one := func(campaign string, i int) client.Message {
		return client.Message{From: numbers[0], Class: client.ClassMarketing, Campaign: campaign, Content: client.Text(fmt.Sprintf("+1555%d%06d", len(campaign), i), "Hello")}
	}
	order := func(campaign string, n int) {
		for result, err := range w.api.SendBatch(t.Context(), func(yield func(client.Message) bool) {
			for i := range n {
				if !yield(one(campaign, i)) {
					return
				}
			}
		}) {
			if err != nil || result.Problem != nil {
				t.Fatalf("line %d: %v %v", result.Line, result.Problem, err)
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
	order("spring", messages)
	order("winter-2", others)
	poll.Until(t, "some are sent", func() bool { return sent("spring") > 50 })
	console := client.New(w.console, apiKey, client.WithRetryFor(0))
	give := func(verb string) {
		t.Helper()
		var answer map[string]any
		if err := console.Call(t.Context(), "POST", "/v1/campaigns/spring/"+verb, map[string]string{"actor": "anna", "reason": "wrong price"}, &answer); err != nil {
			t.Fatal(err)
		}
	}
	give("cancel")
	atCancel := sent("spring")
	counters := func(campaign string) client.Campaign {
		c, err := w.api.Campaign(t.Context(), "", campaign)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for i := range workers {
		before := counters("spring").States[client.StateCancelled]
		poll.Until(t, "messages are cancelled", func() bool {
			return counters("spring").States[client.StateCancelled] > before || counters("spring").States[client.StateQueued] == 0
		})
		workers[i].kill()
		workers[i] = w.worker()
	}
	poll.Until(t, "nothing waits", func() bool {
		c := counters("spring")
		return c.States[client.StateQueued] == 0 && c.Messages == messages
	})
	if n := sent("spring"); n > atCancel+20 { // those that had a slot
		t.Errorf("%d were sent at the cancel, and %d in the end", atCancel, n)
	}
	poll.Until(t, "the counters are the simulator's", func() bool {
		c := counters("spring")
		return c.States[client.StateCancelled]+c.States[client.StateInDoubt]+sent("spring") == messages || c.States[client.StateCancelled]+sent("spring") == messages
	})
	poll.Until(t, "the other campaign is sent", func() bool { return sent("winter-2") == others })
	poll.Until(t, "new messages are refused", func() bool {
		_, err := w.api.Send(t.Context(), one("spring", messages))
		p, is := errors.AsType[*client.Problem](err)
		return is && p.Errors[0].Code == "campaign_cancelled"
	})
	poll.Until(t, "the hold has ended", func() bool {
		return len(counters("spring").Holds) == 0 || counters("spring").States[client.StateInDoubt] > 0
	})
	give("open")
	before := sent("spring")
	poll.Until(t, "new messages are accepted", func() bool {
		_, err := w.api.Send(t.Context(), one("spring", messages+1))
		return err == nil
	})
	poll.Until(t, "the message is sent", func() bool { return sent("spring") > before })
}
