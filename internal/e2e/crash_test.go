package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/message"
)

func hash(key string) string {
	sum := sha256.Sum256([]byte(key))
	return hex.EncodeToString(sum[:])
}

// A worker is killed several times while it sends. Meta reports only seconds later, so messages whose requests were
// running are in doubt first, and most of them are settled by Meta's statuses. Every message ends in one
// state, and Meta accepts none twice: the policy of the class is park, so nothing is resent.
// Workers that die and start do not change the rate.
func TestKilledWorkerLosesAndRepeatsNothing(t *testing.T) {
	t.Parallel()
	onEach(t, killedWorkerLosesAndRepeatsNothing)
}

func killedWorkerLosesAndRepeatsNothing(t *testing.T, on kind) {
	const rate = 200
	orders, moments := 600, []int{200, 500}
	if on != single { // the same with fewer messages
		orders, moments = 200, []int{100}
	}
	faults := graphsim.Faults{Latency: graphsim.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}}
	w := setupOn(t, on, rate, graphsim.Options{
		Seed: 7, Faults: faults,
		Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 8 * time.Second, Max: 10 * time.Second}, Read: 0.5, Batch: 20},
	}, "classes: {service: {in_doubt_window: 12s, in_doubt_policy: park}}")
	workers := []*worker{w.worker(), w.worker()}

	ids := w.order(orders, message.Service)
	for _, at := range moments {
		w.await(at)
		w.sim.SetFaults(graphsim.Faults{Latency: graphsim.Span{Min: 5 * time.Second}}) // so that the kill comes before the answer
		victim := w.amidARequest(workers, func() { ids = append(ids, w.order(100, message.Service)...) })
		workers[victim].kill()
		w.sim.SetFaults(faults)
		workers[victim] = w.worker()
	}
	records := w.settled(ids, over)

	if n := w.sim.Duplicates(); n != 0 {
		t.Errorf("Meta accepted %d messages twice", n)
	}
	taken := map[string]bool{}
	for _, a := range w.sim.Accepted() {
		taken[idOf(a.Marker)] = true
	}
	died := 0
	for id, r := range records {
		if accepted := r.State != client.StateParked; accepted != taken[id] {
			t.Errorf("%s is %s, and that Meta took it is %v", id, r.State, taken[id])
		}
		for _, s := range r.Timeline {
			if s.Reason == message.ReasonWorkerDied && s.State == client.StateInDoubt {
				died++
			}
		}
	}
	t.Logf("states %v, attempts of dead workers %d", states(records), died)
	if died == 0 {
		t.Error("no kill hit an attempt: this test proves nothing")
	}
}

// Meta answers 5xx to everything for twice as long as the window of the class. No message is parked or given up, and all are
// sent afterwards.
func TestOutageOfMetaUsesNoAttempts(t *testing.T) {
	t.Parallel()
	w := setup(t, 80, graphsim.Options{Seed: 3, Webhook: graphsim.Webhook{Batch: 100}},
		"classes: {utility: {server_error_window: 10s}}", "retry: {base: 1s, max: 10s}")
	w.worker()
	w.worker()
	const messages = 1000
	ids := w.order(messages/2, message.Utility)
	w.await(messages / 10)
	w.sim.SetOutage(true)
	end := time.After(20 * time.Second)
	ids = append(ids, w.order(messages/2, message.Utility)...)
	<-end
	during := w.sim.Stats().Accepted
	w.sim.SetOutage(false)
	records := w.settled(ids, over)
	by := states(records)
	if by[client.StateDelivered] != messages {
		t.Errorf("after the outage: %v, want all %d delivered", by, messages)
	}
	if n := w.sim.Duplicates(); n != 0 {
		t.Errorf("Meta accepted %d messages twice", n)
	}
	doubted := 0
	for _, r := range records {
		for _, s := range r.Timeline {
			if s.State == client.StateInDoubt {
				doubted++
				break
			}
		}
	}
	// The requests that were running when the outage began, and then one probe per second for each number.
	if t.Logf("%d messages were in doubt", doubted); doubted > messages/3 {
		t.Errorf("%d messages were in doubt", doubted)
	}
	if during >= messages {
		t.Error("everything was sent before the outage: this test proves nothing")
	}
}

// A program that does not stop is killed, prints what its goroutines do, and fails the test.
func TestAProgramThatDoesNotStopIsEnded(t *testing.T) {
	t.Parallel()
	k := (&world{t: t}).process("deaf")
	if err := k.stop(100 * time.Millisecond); err == nil || !strings.Contains(k.said, "time.Sleep") {
		t.Errorf("%v; it said %q", err, k.said)
	}
	if err := k.stop(time.Minute); err != nil {
		t.Errorf("once it has ended: %v", err)
	}
}
