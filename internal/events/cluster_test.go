package events_test

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// On a Cluster the shards are in different slots: no command and no script may use keys of two shards.
func TestEverythingWorksOnACluster(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, "--cluster-enabled", "yes")
	if err := server.Client().Do(t.Context(), "CLUSTER", "ADDSLOTSRANGE", 0, 16383).Err(); err != nil {
		t.Fatal(err)
	}
	c := redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{server.Addr}, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	eventually(t, "a cluster", func() bool { return c.Set(t.Context(), "probe", 1, 0).Err() == nil })
	db := open(t, c)
	s := events.New(db, shards, events.Options{Retention: time.Hour})
	for n := range 30 { // several entries
		appendAll(t, s, append(statuses(numberA, 10*n, 10*n+10), statuses(numberB, 10*n+1000, 10*n+1010)...))
	}
	got := newSeen()
	var failed atomic.Bool
	stop := read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		if shard == shards.Of(numberB) && !failed.Swap(true) {
			return false, errors.New("once")
		}
		return got.handle(ctx, shard, batch, also)
	})
	got.until(t, 600)
	applied(t, s)
	stop()
	for _, n := range []string{numberA, numberB} {
		if w, err := s.Watermark(t.Context(), shards.Of(n)); err != nil || time.Since(w).Abs() > time.Minute {
			t.Errorf("watermark %v, %v", w, err)
		}
	}
	add(t, db, events.MetaKey(shards.Of(numberB)), "*", events.Field, "{")
	stop = read(t, s, "one", got.handle)
	eventually(t, "a dead entry", func() bool { return db.XLen(t.Context(), events.DeadKey(shards.Of(numberB))).Val() == 1 })
	stop()
	began := time.Now()
	heartbeat(t, s.NewLiveness("host-one"))
	if c := channel(t, s); c.Gap.Before(began.Add(time.Second)) { // the clock of another master may be ahead by that much
		t.Errorf("the gap before the first start ends at %s, it began at %s", c.Gap, began)
	}
	short := events.New(db, shards, events.Options{Retention: time.Millisecond})
	if k := kept(t, short); k.Bytes == 0 || k.Budget != 128*mib {
		t.Errorf("the streams have %+v", k)
	}
	for _, n := range []string{numberA, numberB} {
		if l := db.XLen(t.Context(), events.MetaKey(shards.Of(n))).Val(); l > 10 {
			t.Errorf("%d entries left after trimming", l)
		}
	}
	tail := events.NewTail(s)
	run(t, tail.Run)
	<-tail.Changed()
	for _, n := range []string{numberA, numberB} {
		last, err := tail.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		appendAll(t, s, statuses(n, 700, 710))
		if all, _ := until(t, tail, events.MetaKey(shards.Of(n)), last[events.MetaKey(shards.Of(n))], 10); !slices.Equal(all, wamids(700, 710)) {
			t.Errorf("tail of %s: %v", n, all)
		}
	}
}
