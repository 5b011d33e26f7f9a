package store_test

import (
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/poll"
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
	timed := func() uint64 {
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == "sluice_redis_round_trip_duration_seconds" {
				return f.GetMetric()[0].GetHistogram().GetSampleCount()
			}
		}
		t.Fatal("not timed")
		return 0
	}
	before := timed()
	db.XRead(ctx, &redis.XReadArgs{Streams: []string{"s", "0"}, Block: time.Millisecond}) // it waits for events, not for Redis
	if got := timed() - before; got != 0 {
		t.Errorf("%d reads of a stream are timed", got)
	}
	trips()
	if got := timed() - before; got != 3 {
		t.Errorf("%d round trips are timed, want 3", got)
	}
}

// TestPersistenceAndReplicas: what the metrics say of a master whose snapshot fails, and that has a replica.
func TestPersistenceAndReplicas(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	master, replica := redistest.Start(t), redistest.Start(t)
	db, err := store.Open(ctx, master.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	reg := prometheus.NewRegistry()
	db.Measure(reg)
	value := func(name string) float64 {
		t.Helper()
		store.Look(ctx, db, silent)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == name {
				return f.GetMetric()[0].GetGauge().GetValue()
			}
		}
		t.Fatalf("no %s", name)
		return 0
	}
	if failed, replicas := value("sluice_redis_persistence_failed"), value("sluice_redis_replicas"); failed != 0 || replicas != 0 {
		t.Errorf("at the start: failed %v, replicas %v", failed, replicas)
	}
	// No file can be renamed to the name of a directory that is not empty.
	snapshot := filepath.Join(db.ConfigGet(ctx, "dir").Val()["dir"], "dump.rdb")
	if err := os.MkdirAll(filepath.Join(snapshot, "inside"), 0o755); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "the failed snapshot is seen", func() bool {
		db.BgSave(ctx)
		return value("sluice_redis_persistence_failed") == 1
	})
	if err := os.RemoveAll(snapshot); err != nil {
		t.Fatal(err)
	}
	host, port, _ := net.SplitHostPort(master.Addr)
	if err := replica.Client().ReplicaOf(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	poll.Until(t, "the replica is seen", func() bool { return value("sluice_redis_replicas") == 1 })

	if up := value("sluice_redis_up"); up != 1 {
		t.Errorf("up: %v", up)
	}
	master.Kill()
	if up := value("sluice_redis_up"); up != 0 {
		t.Errorf("up without a Redis: %v", up)
	}
}
