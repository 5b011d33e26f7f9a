package e2e

import (
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// TestMoveBacklog: a number that Meta blocks is removed, and its messages move to another number of the account, while workers are killed.
// Each message is sent once, from the other number. A caller who repeats a request there sends nothing more.
func TestMoveBacklog(t *testing.T) {
	t.Parallel()
	const messages = 200
	from, to := numbers[0], numbers[1]
	w := setup(t, 200, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{
		ID: "900", Templates: []graphsim.Template{{Name: "sale", Category: "UTILITY", Status: "APPROVED"}},
	}, Webhook: graphsim.Webhook{Batch: 20}})
	holds := w.holds()
	for _, number := range numbers { // the other one too: a kill during an attempt would leave it in doubt
		if _, err := holds.Set(t.Context(), message.Hold{Number: number, Reason: "blocked", By: "test"}); err != nil {
			t.Fatal(err)
		}
	}
	order := func(number string, i int) (client.Accepted, error) {
		m := client.Message{From: number, Key: fmt.Sprint("order-", i), Class: client.ClassUtility, Content: client.Template(fmt.Sprintf("+1555%07d", 2_200_000+i), "sale", "en_US")}
		if i%10 == 0 {
			m.Key = "" // cannot be repeated
		}
		return w.api.Send(t.Context(), m)
	}
	ids := make([]string, messages)
	var g errgroup.Group
	g.SetLimit(16)
	for i := range ids {
		g.Go(func() error {
			r, err := order(from, i)
			ids[i] = r.ID
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	workers := []*worker{w.worker(), w.worker()}
	console := client.New(w.console, apiKey, client.WithRetryFor(0))
	remove := func(to string) error {
		var removed struct{ Removed bool }
		return console.Call(t.Context(), "POST", "/v1/numbers/"+from+"/remove", map[string]string{"backlog": "move", "to": to, "actor": "anna", "reason": "blocked"}, &removed)
	}
	if err := remove(from); err == nil || !strings.Contains(err.Error(), "is the number that is removed") {
		t.Errorf("to itself: %v", err)
	}
	poll.Until(t, "the account of both numbers is known", func() bool {
		err := remove(to)
		if err != nil && !strings.Contains(err.Error(), "is not known yet") {
			t.Fatal(err)
		}
		return err == nil
	})
	moved := func(id string) bool {
		r, err := w.api.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return r.State == client.StateCancelled
	}
	for range 2 {
		some := 0
		poll.Until(t, "a message is moved", func() bool {
			for some < messages && moved(ids[some]) {
				some++
			}
			return some > 0
		})
		for i, k := range workers {
			k.kill()
			workers[i] = w.worker()
		}
		t.Logf("killed the workers after message %d", some)
	}
	poll.Until(t, "the number is removed", func() bool {
		var all struct{ Numbers []struct{} }
		if err := console.Call(t.Context(), "GET", "/v1/numbers?phone_number_id="+from, nil, &all); err != nil {
			t.Fatal(err)
		}
		return len(all.Numbers) == 0
	})

	if _, err := holds.Release(t.Context(), message.Hold{Number: to}); err != nil {
		t.Fatal(err)
	}
	next := make([]string, messages)
	for i, id := range ids {
		r, err := w.api.Get(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		if next[i] = r.MovedTo; r.State != client.StateCancelled || r.Reason != message.ReasonMoved || !strings.HasPrefix(r.MovedTo, to+"-") {
			t.Fatalf("%+v", r)
		}
		if i%10 == 0 {
			continue
		}
		if again, err := order(to, i); err != nil || !again.Duplicate || again.ID != r.MovedTo {
			t.Fatalf("repeated at the other number: %+v, %v", again, err)
		}
	}
	records := w.settled(next, over)
	if by := states(records); by[client.StateDelivered] != messages {
		t.Errorf("%v, want all %d delivered", by, messages)
	}
	sent := map[string]int{}
	for _, a := range w.sim.Accepted() {
		if sent[a.To]++; a.Number != to {
			t.Errorf("%s sent a message", a.Number)
		}
	}
	if len(sent) != messages || len(w.sim.Accepted()) != messages {
		t.Errorf("%d messages to %d recipients, want one each to %d", len(w.sim.Accepted()), len(sent), messages)
	}
	if records[next[1]].MovedFrom != ids[1] {
		t.Errorf("%+v", records[next[1]])
	}
}
