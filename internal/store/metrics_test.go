package store_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestRoundTripsAreCounted: a command, a pipeline and a transaction are one each.
func TestRoundTripsAreCounted(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db, err := store.Open(ctx, redistest.Start(t).URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reg := prometheus.NewRegistry()
	db.Measure(reg)
	three := func(p redis.Pipeliner) error {
		for range 3 {
			p.Incr(ctx, "k")
		}
		return nil
	}
	trips := func() float64 {
		if err := db.Ping(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if err := db.Pipe(ctx, func(p redis.Pipeliner) { three(p) }); err != nil {
			t.Fatal(err)
		}
		if err := db.Tx(ctx, three); err != nil {
			t.Fatal(err)
		}
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "sluice_redis_round_trips_total" {
				return f.GetMetric()[0].GetCounter().GetValue()
			}
		}
		t.Fatal("not counted")
		return 0
	}
	first := trips() // with the greeting of a new connection
	if got := trips() - first; got != 3 {
		t.Errorf("%v round trips, want 3", got)
	}
}
