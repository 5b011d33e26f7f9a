package ledger_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/redistest"
)

// TestAttemptsShareRoundTrips: what begins or ends at the same time asks Redis together.
func TestAttemptsShareRoundTrips(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	const n = 100
	ids := make([]string, n)
	for i := range ids {
		ids[i] = f.accepted(fmt.Sprint(i))
	}
	known, err := f.ReadAll(t.Context(), f.shard, ids)
	if err != nil {
		t.Fatal(err)
	}
	trips := f.trips()
	before := trips()
	attempts := make([]message.Attempt, n)
	together(n, func(i int) {
		a, err := f.Begin(t.Context(), ids[i], 0, fmt.Sprintf("w/%d", i), &known[i])
		if err != nil || a.Verdict != message.Go || a.ID != ids[i] || a.Message.ID != ids[i] {
			t.Errorf("begin %d: %+v, %v", i, a, err)
		}
		attempts[i] = a
	})
	begun := trips() - before
	together(n, func(i int) {
		st, _, err := f.Finish(t.Context(), attempts[i], message.Move{To: message.Submitted, WAMID: fmt.Sprintf("wamid.%d", i)})
		if err != nil || st != message.Submitted {
			t.Errorf("finish %d: %s, %v", i, st, err)
		}
	})
	finished := trips() - before - begun
	if begun > n/4 || finished > n/4 {
		t.Errorf("%v round trips to begin %d attempts, %v to finish them", begun, n, finished)
	}
	for i, id := range ids {
		if r := f.get(id); r.State != message.Submitted || r.WAMID != fmt.Sprintf("wamid.%d", i) {
			t.Errorf("message %d: %+v", i, r)
		}
	}
}

// trips returns a function that counts the round trips to Redis.
func (f fixture) trips() func() float64 {
	reg := prometheus.NewRegistry()
	f.db.Measure(reg)
	return func() float64 {
		f.t.Helper()
		families, err := reg.Gather()
		if err != nil {
			f.t.Fatal(err)
		}
		for _, family := range families {
			if family.GetName() == "sluice_redis_round_trips_total" {
				return family.GetMetric()[0].GetCounter().GetValue()
			}
		}
		return 0
	}
}

// together runs f for 0 to n-1 at the same time.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// TestStartOnAFullRedis: a worker that starts while Redis is full passes the check of shards and sends its heartbeats,
// so that it can help to drain.
func TestStartOnAFullRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Client(t))
	ctx := t.Context()
	full := func(maxmemory string) {
		t.Helper()
		if err := f.db.ConfigSet(ctx, "maxmemory", maxmemory).Err(); err != nil {
			t.Fatal(err)
		}
	}
	full("1")
	if err := f.CheckShards(ctx); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("the first start of all, on a full Redis: %v", err)
	}
	full("0")
	if err := f.CheckShards(ctx); err != nil {
		t.Fatal(err)
	}
	full("1")
	if err := f.CheckShards(ctx); err != nil {
		t.Errorf("a later start: %v", err)
	}
	f.heartbeat("w", 1, 0, "")
	if alive, err := f.Workers(ctx, time.Minute); err != nil || !alive["w"] {
		t.Errorf("alive: %v, %v", alive, err)
	}
}
