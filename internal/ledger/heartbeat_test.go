package ledger_test

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// heartbeat sends a heartbeat of a worker in the fixture's shard.
func (f fixture) heartbeat(worker string, n, answered int64, replayed string) message.Epoch {
	f.t.Helper()
	run := f.Heartbeat(f.t.Context(), []message.Heartbeat{{Shard: f.shard, Worker: worker, N: n, Answered: answered, Replayed: replayed}})[0]
	if run.Err != nil {
		f.t.Fatal(run.Err)
	}
	return run
}

func TestHeartbeat(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for i, w := range []string{"a", "b", "b"} {
			f.heartbeat(w, int64(i+1), 0, "")
		}
		workers := store.Key(f.shard, "workers")
		for name, age := range map[string]time.Duration{"silent": 9 * time.Second, "from the future": -time.Minute} {
			at := float64(time.Now().Add(-age).UnixMilli())
			if err := f.db.ZAdd(t.Context(), workers, redis.Z{Score: at, Member: name}).Err(); err != nil {
				t.Fatal(err)
			}
		}
		wantAlive := func(want ...string) {
			t.Helper()
			other := message.DefaultShards.All()[(int(f.shard)+1)%16]
			all := f.Alive(t.Context(), []message.Shard{other, f.shard}, 8*time.Second)
			if all[0].Err != nil || len(all[0].Workers) != 0 {
				t.Errorf("in another shard: %+v", all[0])
			}
			alive := all[1]
			if alive.Err != nil {
				t.Fatal(alive.Err)
			}
			if d := time.Since(alive.Now).Abs(); d > time.Minute {
				t.Errorf("the server's clock is %s off", d)
			}
			if got := slices.Sorted(maps.Keys(alive.Workers)); !slices.Equal(got, want) {
				t.Errorf("alive: %v, want %v", got, want)
			}
		}
		wantAlive("a", "b")

		ancient := float64(time.Now().Add(-25 * time.Hour).UnixMilli())
		if err := f.db.ZAdd(t.Context(), workers, redis.Z{Score: ancient, Member: "long dead"}).Err(); err != nil {
			t.Fatal(err)
		}
		f.heartbeat("a", 2, 1, "")
		if known := f.db.ZRange(t.Context(), workers, 0, -1).Val(); slices.Contains(known, "long dead") || len(known) != 4 {
			t.Errorf("known: %v, want all but the long dead", known)
		}
		if err := f.Leave(t.Context(), "b"); err != nil {
			t.Fatal(err)
		}
		wantAlive("a")
	})
}
