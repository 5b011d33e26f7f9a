package e2e

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/store"
)

func (w *world) holds() *holds.Store {
	w.t.Helper()
	db, err := store.Open(w.t.Context(), w.redis.url)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	return holds.New(db, message.DefaultShards, slog.New(slog.DiscardHandler))
}

// TestBrokenTokenHoldsTheBacklog: with a broken token a few messages of a number are tried and the others are held.
// With a good token all are sent.
func TestBrokenTokenHoldsTheBacklog(t *testing.T) {
	t.Parallel()
	onEach(t, brokenTokenHoldsTheBacklog)
}

func brokenTokenHoldsTheBacklog(t *testing.T, on kind) {
	// Slow numbers: half of the messages would be tried only if a hold took seconds to be set.
	w := setupOn(t, on, 20, graphsim.Options{Token: "good", Webhook: graphsim.Webhook{Batch: 20}}, "retry: {base: 5s}")
	w.worker()
	const messages = 200
	ids := w.order(messages, message.Utility)
	holds := w.holds()
	var held []message.Hold
	poll.Until(t, "the numbers are held", func() bool {
		var err error
		if held, err = holds.List(t.Context()); err != nil {
			t.Fatal(err)
		}
		return len(held) == len(numbers)
	})
	if held[0].Code != 190 || held[0].Template != "" || held[0].By != "sluice" {
		t.Errorf("held: %+v", held[0])
	}
	if err := os.WriteFile(filepath.Join(filepath.Dir(w.config), "token"), []byte("good"), 0o600); err != nil {
		t.Fatal(err)
	}
	records := w.settled(ids, over)
	if by := states(records); by[client.StateDelivered] != messages {
		t.Errorf("with a good token: %v, want all %d delivered", by, messages)
	}
	if tried := w.sim.Stats().Requests["190"]; tried > messages/2 {
		t.Errorf("%d of %d messages were tried with the broken token", tried, messages)
	}
}

// TestTokenRotatesWhileSending: the token changes while messages are sent, at Meta a moment before the worker reads it.
// No message fails, and the new token releases the hold that the refusals of the old one set.
func TestTokenRotatesWhileSending(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Token: "e2e-access-token", Webhook: graphsim.Webhook{Batch: 50}})
	w.worker()
	const messages = 400
	ids := w.order(messages, message.Utility)
	w.await(messages / 4)
	if err := w.sim.SetAccount(graphsim.Account{Token: graphsim.Token{Value: "second"}}); err != nil {
		t.Fatal(err)
	}
	rotated := time.Now()
	poll.Until(t, "the old token is refused", func() bool { return w.sim.Stats().Requests["190"] > 0 })
	if err := os.WriteFile(filepath.Join(filepath.Dir(w.config), "token"), []byte("second"), 0o600); err != nil {
		t.Fatal(err)
	}
	records := w.settled(ids, over)
	if by := states(records); by[client.StateDelivered] != messages {
		t.Errorf("%v, want all %d delivered", by, messages)
	}
	t.Logf("%d refusals; all settled %s after the rotation", w.sim.Stats().Requests["190"], time.Since(rotated))
	if n := w.sim.Duplicates(); n != 0 {
		t.Errorf("Meta accepted %d messages twice", n)
	}
}

// TestPausedTemplateSlowsNoOther: hundreds of messages of a paused template wait without a slot, and the other
// messages of the number are sent. After the release the held messages are sent in their order.
func TestPausedTemplateSlowsNoOther(t *testing.T) {
	t.Parallel()
	w := setup(t, 200, graphsim.Options{Webhook: graphsim.Webhook{Batch: 50}})
	holds := w.holds()
	const paused, others = 500, 50
	hold := message.Hold{Number: numbers[0], Template: "campaign/en_US", Reason: "quality", By: "test"}
	if _, err := holds.Set(t.Context(), hold); err != nil {
		t.Fatal(err)
	}
	send := func(n int, name string) []string {
		ids := make([]string, n)
		for i := range n {
			r, err := w.api.Send(t.Context(), client.Message{
				From: numbers[0], Key: fmt.Sprint(name, i), Class: client.ClassUtility,
				Content: json.RawMessage(fmt.Sprintf(`{"to":"+1555%07d","type":"template","template":{"name":%q,"language":{"code":"en_US"}}}`, 2_200_000+i, name)),
			})
			if err != nil {
				t.Fatal(err)
			}
			ids[i] = r.ID
		}
		return ids
	}
	held := send(paused, "campaign")
	free := send(others, "receipt")
	w.worker()
	w.settled(free, over)
	if n := len(w.sim.Accepted()); n != others {
		t.Errorf("Meta took %d messages, want the %d of the other template", n, others)
	}
	if ok, err := holds.Release(t.Context(), hold); !ok || err != nil {
		t.Fatal(ok, err)
	}
	w.await(others + paused)
	for i, a := range w.sim.Accepted()[others:] {
		if at := slices.Index(held, idOf(a.Marker)); at > i+100 { // requests run at the same time
			t.Errorf("message %d of the held ones came to Meta as number %d", at, i)
		}
	}
}
