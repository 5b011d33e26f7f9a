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
	orders, moments := 1400, []int{400, 1000, 1600}
	if on != single { // the same with fewer messages
		orders, moments = 500, []int{200, 500}
	}
	faults := graphsim.Faults{Latency: graphsim.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond}}
	w := setupOn(t, on, rate, graphsim.Options{
		Seed: 7, Faults: faults,
		Webhook: graphsim.Webhook{Delay: graphsim.Span{Min: 8 * time.Second, Max: 10 * time.Second}, Read: 0.5, Batch: 20},
	}, "classes: {service: {in_doubt_window: 12s, in_doubt_policy: park}}")
	workers := []*worker{w.worker(), w.worker()}

	ids := w.order(orders, message.Service)
	var kills []time.Time
	for _, at := range moments {
		w.await(at)
		w.sim.SetFaults(graphsim.Faults{Latency: graphsim.Span{Min: 5 * time.Second}}) // so that the kill comes before the answer
		victim := w.amidARequest(workers, func() { ids = append(ids, w.order(200, message.Service)...) })
		kills = append(kills, time.Now())
		workers[victim].kill()
		w.sim.SetFaults(faults)
		workers[victim] = w.worker()
	}
	records := w.settled(ids, time.Minute, over)

	if n := w.sim.Duplicates(); n != 0 {
		t.Errorf("Meta accepted %d messages twice", n)
	}
	// The arrivals on a busy machine vary. If both workers sent during a change, half as many more would arrive.
	for number, largest := range w.sim.Stats().Windows {
		if largest > rate*13/10 {
			t.Errorf("%d messages of %s arrived within a second, at a rate of %d", largest, number, rate)
		}
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
			if s.Reason != message.ReasonWorkerDied || s.State != client.StateInDoubt {
				continue
			}
			died++
			if late := s.At.Sub(latestBefore(kills, s.At)); late > 30*time.Second { // the fault matrix measures the promise of 10 s
				t.Errorf("%s was reclaimed %s after its worker's death", id, late)
			}
		}
	}
	last := kills[len(kills)-1]
	for id, r := range records {
		for _, s := range r.Timeline {
			// Tasks that the dead worker had fetched and not begun. The backlog itself lasts 2 s longer.
			if s.State == client.StateSubmitted && s.At.Sub(last) > 30*time.Second {
				t.Errorf("%s was sent only %s after the last kill", id, s.At.Sub(last))
			}
		}
	}
	t.Logf("states %v, attempts of dead workers %d", states(records), died)
	if died == 0 {
		t.Error("no kill hit an attempt: this test proves nothing")
	}
}

func latestBefore(times []time.Time, t time.Time) time.Time {
	latest := times[0]
	for _, x := range times {
		if x.Before(t) {
			latest = x
		}
	}
	return latest
}

// Meta answers 5xx to everything for a minute. No message is parked or given up, and all are
// sent afterwards.
func TestOutageOfMetaUsesNoAttempts(t *testing.T) {
	t.Parallel()
	outage := time.Minute
	if testing.Short() {
		outage = 15 * time.Second
	}
	w := setup(t, 250, graphsim.Options{Seed: 3, Webhook: graphsim.Webhook{Batch: 100}},
		"classes: {utility: {server_error_window: 10s}}", "retry: {base: 1s, max: 10s}")
	w.worker()
	w.worker()
	const messages = 5000
	ids := w.order(messages/2, message.Utility)
	w.await(messages / 10)
	w.sim.SetOutage(true)
	end := time.After(outage)
	ids = append(ids, w.order(messages/2, message.Utility)...)
	<-end
	during := w.sim.Stats().Accepted
	w.sim.SetOutage(false)
	records := w.settled(ids, 2*time.Minute, over)
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
	if t.Logf("%d messages were in doubt", doubted); doubted > messages/5 {
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
