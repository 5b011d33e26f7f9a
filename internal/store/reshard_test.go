package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/reshard"
	"sluice/internal/store"
)

// While a slot moves to another master of a Cluster and back, transactions and durable batches write to its keys. Every
// confirmed write is there, once, and the writes go on after the move.
func TestASlotMoves(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	db := openURL(t, c.URL())
	if err := db.Require(t.Context(), store.Replica, silent); err != nil {
		t.Fatal(err)
	}
	const key, records = "{s00}k", 40
	script, b, tx := db.Script(set), db.NewBatch(0), db.Transactions(false)
	var confirmed [records]atomic.Int64 // changes of each record
	var unknown [records]atomic.Int64   // changes that may have happened
	var batches sync.Map
	var stop atomic.Bool
	var writers sync.WaitGroup
	for i := range records {
		writers.Go(func() {
			for n := 0; !stop.Load(); n++ {
				if err := tx.Do(t.Context(), 0, add(fmt.Sprint(key, i))); err == nil {
					confirmed[i].Add(1)
				} else {
					unknown[i].Add(1)
				}
				k := fmt.Sprint(key, i, "-", n)
				if b.Run(t.Context(), script, []string{k}, "v").Err() == nil {
					batches.Store(k, true)
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	slot := db.ClusterKeySlot(t.Context(), key).Val()
	from := c.MasterOf(key)
	to := c.Servers[0]
	if to == from {
		to = c.Servers[1]
	}
	moved := 0
	for _, way := range [][2]*redistest.Server{{from, to}, {to, from}} {
		keys, err := reshard.Move(t.Context(), slot, way[0].Client(), way[1].Client(), time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		moved += keys
		before := confirmed[0].Load()
		poll.Until(t, "a write is confirmed after the move", func() bool { return confirmed[0].Load() > before })
	}
	stop.Store(true)
	writers.Wait()
	total := int64(0)
	for i := range records {
		changes, maybe := confirmed[i].Load(), unknown[i].Load()
		total += changes
		if got := int64(length(t, db, fmt.Sprint(key, i))); got < changes || got > changes+maybe {
			t.Errorf("record %d has %d changes, want %d, and at most %d more", i, got, changes, maybe)
		}
	}
	batches.Range(func(k, _ any) bool {
		if v, err := db.Get(t.Context(), k.(string)).Result(); err != nil || v != "v" {
			t.Errorf("%s is %q, %v", k, v, err)
		}
		return true
	})
	t.Logf("%d keys moved, %d changes confirmed", moved, total)
}

// What a Cluster answers while a slot moves is no refusal for ever: the same call succeeds later.
func TestAMovingSlotIsNoRefusal(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	from := c.MasterOf("{s00}k")
	to := c.Servers[0]
	if to == from {
		to = c.Servers[1]
	}
	one := from.Client()
	ctx := t.Context()
	if err := one.Set(ctx, "{s00}here", "v", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := reshard.Begin(ctx, one.ClusterKeySlot(ctx, "{s00}k").Val(), one, to.Client()); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{
		"a key that is not here": one.Get(ctx, "{s00}k").Err(),
		"two keys, one of them":  one.MGet(ctx, "{s00}here", "{s00}k").Err(),
		"a key of the script":    one.Eval(ctx, "return redis.call('GET', '{s00}k')", []string{"{s00}here"}).Err(),
		"the wrong master":       to.Client().Get(ctx, "{s00}k").Err(),
	} {
		if err == nil || err == redis.Nil || !store.Unreachable(err) || store.Refused(err) {
			t.Errorf("%s: %v, unreachable %v, refused %v", what, err, store.Unreachable(err), store.Refused(err))
		}
	}
}
