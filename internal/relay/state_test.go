package relay

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestDeadLettersInRedis: a replay removes the dead letters that were read and no later ones, and a full list counts what it
// drops.
func TestDeadLettersInRedis(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	s := newStates(w.db, "a")
	if err := w.db.Set(t.Context(), leaseKey(0), "a", 0).Err(); err != nil {
		t.Fatal(err)
	}
	save := func(c changes) (dropped int) {
		t.Helper()
		owned, dropped, err := s.Save(t.Context(), 0, "crm", c)
		if !owned || err != nil {
			t.Fatal(owned, err)
		}
		return dropped
	}
	letters := func(from, to int) (all []aside) {
		for n := from; n < to; n++ {
			all = append(all, aside{Key: "stream", Place: strconv.Itoa(n+1) + "-0/1/0", Text: strconv.Itoa(n)})
		}
		return all
	}
	save(changes{dead: letters(0, 3)})
	_, last, err := s.Dead(t.Context(), 0, "crm")
	if err != nil {
		t.Fatal(err)
	}
	save(changes{dead: letters(3, 5)}) // between the reading and the removal
	save(changes{dead: letters(5, 6), deadEnd: last})
	if all, _, err := s.Dead(t.Context(), 0, "crm"); err != nil || len(all) != 3 || all[0].Text != "3" {
		t.Errorf("after a replay: %v, %v", all, err)
	}
	if dropped := save(changes{dead: letters(6, 1005)}); dropped != 2 {
		t.Errorf("%d dead letters dropped, want 2", dropped)
	}
	if all, _, err := s.Dead(t.Context(), 0, "crm"); err != nil || len(all) != 1000 || all[0].Text != "5" {
		t.Errorf("%d dead letters, %v", len(all), err)
	}
	if owned, _, err := newStates(w.db, "b").Save(t.Context(), 0, "crm", changes{}); owned || err != nil {
		t.Errorf("without the lease: stored %v, %v", owned, err)
	}
}

// TestOrdersAreDurable: an order that a failover could lose is reported as failed.
func TestOrdersAreDurable(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always", "--maxmemory", "64mb", "--maxmemory-policy", "noeviction").Client())
	w.set(t, message.RelayTarget{Name: "crm", Format: message.RelaySluice}, "")
	replicas := func(n string) {
		if err := w.db.ConfigSet(t.Context(), "min-replicas-to-write", n).Err(); err != nil {
			t.Fatal(err)
		}
	}
	replicas("1")
	if err := w.db.Require(t.Context(), store.Replica, w.options("a", time.Second, nil).Log); err != nil {
		t.Fatal(err)
	}
	replicas("0")
	if _, err := w.targets.Hold(t.Context(), "crm", "anna", "test"); !errors.Is(err, store.ErrUnconfirmed) {
		t.Errorf("a hold that no replica has: %v", err)
	}
}

// TestALateDeparture: a shard that was lost and taken again stays, although the goodbye to the old lease comes late.
func TestALateDeparture(t *testing.T) {
	t.Parallel()
	w := newWorld(t, redistest.Client(t))
	r := New(w.db, w.options("a", time.Minute, nil))
	r.round(t.Context())
	r.share(t.Context(), true)
	if len(r.owned) != int(testShards) {
		t.Fatalf("%d shards, want %d", len(r.owned), testShards)
	}
	r.letGo(0)
	late := <-r.left
	r.lose(0)
	r.share(t.Context(), true)
	r.departed(late)
	if w.owner(t, 0) != "a" || r.owned[0] == nil {
		t.Errorf("the shard belongs to %q", w.owner(t, 0))
	}
	r.letGo(0)
	r.departed(<-r.left)
	if w.owner(t, 0) != "" || r.owned[0] != nil {
		t.Errorf("the shard that was let go belongs to %q", w.owner(t, 0))
	}
}
