package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/client"
	"sluice/internal/directory"
	"sluice/internal/graphsim"
	"sluice/internal/message"
	"sluice/internal/poll"
)

// TestMoveBacklog: a number that Meta blocks is removed, and its messages move to another number of the account, while workers are killed.
// Each message is sent once, from the other number. A repeated request there sends no message again.
func TestMoveBacklog(t *testing.T) {
	t.Parallel()
	const messages, to, leaving = 400, "106540352242924", "106540352242925"
	from := numbers[0]
	w := setup(t, 200, graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{
		ID: "900", Templates: []graphsim.Template{{Name: "sale", Category: "UTILITY", Status: "APPROVED"}},
	}, Webhook: graphsim.Webhook{Batch: 20}}, configured([]string{to, leaving}, 200))
	w.other.Store(graphsim.New(graphsim.Options{Token: "e2e-access-token", Account: graphsim.Account{ID: otherAccount}}))
	holds := w.holds()
	for _, number := range []string{from, to, leaving} { // to: a kill during an attempt would leave it in doubt
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
	if _, err := order(leaving, messages); err != nil {
		t.Fatal(err)
	}
	workers := []*worker{w.worker(), w.worker()}
	console := client.New(w.console, apiKey, client.WithRetryFor(0))
	remove := func(number string, members map[string]string) error {
		members["actor"], members["reason"] = "anna", "blocked"
		var removed struct{ Removed bool }
		return console.Call(t.Context(), "POST", "/v1/numbers/"+number+"/remove", members, &removed)
	}
	moveTo := func(to string) error { return remove(from, map[string]string{"backlog": "move", "to": to}) }
	poll.Until(t, "the accounts of all numbers are known", func() bool {
		of, err := w.redis.admin.HGetAll(t.Context(), "sluice:accounts").Result()
		return err == nil && of[from] == "900" && of[to] == "900" && of[leaving] == "900" && of[numbers[1]] == otherAccount
	})
	if err := remove(leaving, map[string]string{"backlog": "drain"}); err != nil {
		t.Fatal(err)
	}
	for to, want := range map[string]string{from: "is the number that is removed", leaving: "is being removed itself", numbers[1]: "belongs to the WhatsApp Business Account " + otherAccount} {
		if err := moveTo(to); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("to %s: %v", to, err)
		}
	}
	listed := func() (all struct{ Numbers []directory.Number }) {
		if err := console.Call(t.Context(), "GET", "/v1/numbers?phone_number_id="+from, nil, &all); err != nil {
			t.Fatal(err)
		}
		return all
	}
	if all := listed(); all.Numbers[0].Leaving != "" {
		t.Fatalf("a refused removal changed the number: %+v", all.Numbers[0])
	}
	if err := moveTo(to); err != nil {
		t.Fatal(err)
	}
	if n := listed().Numbers[0]; n.LeavingTo != to || n.Left != messages {
		t.Errorf("%+v", n)
	}

	// moving returns how many moves have begun and not ended.
	moving := func() (count int64) {
		for _, key := range w.redis.keys(t, "sluice:*:moving") {
			count += w.redis.admin.ZCard(t.Context(), key).Val()
		}
		return count
	}
	amid, last := int64(0), int64(0)
	for range 3 {
		for moving() == last && len(listed().Numbers) > 0 {
			time.Sleep(time.Millisecond) // moves are fast
		}
		for _, k := range workers {
			k.cmd.Process.Kill()
		}
		for _, k := range workers {
			k.kill()
		}
		last = moving()
		amid += last
		t.Logf("killed the workers amid %d moves", last)
		for i := range workers {
			workers[i] = w.worker()
		}
	}
	if amid == 0 {
		t.Error("no kill hit a move")
	}
	poll.Until(t, "the number is removed", func() bool { return len(listed().Numbers) == 0 })
	if n := moving(); n > 0 {
		t.Errorf("%d moves have not ended", n)
	}
	type entry struct{ Action, Target, Actor, Reason string }
	var audit struct{ Entries []entry }
	if err := console.Call(t.Context(), "GET", "/v1/audit", nil, &audit); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(audit.Entries, entry{"number-move", from + " to " + to, "anna", "blocked"}) {
		t.Errorf("%+v", audit.Entries)
	}

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
