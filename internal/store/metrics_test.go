package store_test

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
)

// TestRoundTripsAreCounted: a command, a pipeline and a transaction are one each.
func TestRoundTripsAreCounted(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	reg := prometheus.NewRegistry()
	db.Measure(reg)
	ctx := t.Context()
	three := func(p redis.Pipeliner) {
		for range 3 {
			p.Incr(ctx, "k")
		}
	}
	db.Ping(ctx)
	if err := db.Pipe(ctx, three); err != nil {
		t.Fatal(err)
	}
	if err := db.Tx(ctx, func(p redis.Pipeliner) error { three(p); return nil }); err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil || len(families) != 1 {
		t.Fatalf("%d families, %v", len(families), err)
	}
	if got := families[0].GetMetric()[0].GetCounter().GetValue(); got != 3 {
		t.Errorf("%v round trips, want 3", got)
	}
}
