package store_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// add is a change that makes a string longer by one.
func add(key string) store.Change {
	return store.Change{Keys: []string{key}, Slot: key, Decide: func(values []string, w *store.Writes) error {
		w.Set(key, []byte(values[0]+"x"))
		return nil
	}}
}

// length is how often add was made with a key.
func length(t testing.TB, db *store.DB, key string) int {
	t.Helper()
	n, err := db.StrLen(t.Context(), key).Result()
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// onBoth runs a test as on does, and also where transactions are scripts.
func onBoth(t *testing.T, f func(t *testing.T, db *store.DB)) {
	on(t, f)
	t.Run("redis by scripts", func(t *testing.T) {
		t.Parallel()
		f(t, openURL(t, redistest.Start(t).URL()+"?transactions=script"))
	})
	t.Run("miniredis by scripts", func(t *testing.T) {
		t.Parallel()
		f(t, openURL(t, "redis://"+miniredis.RunT(t).Addr()+"?transactions=script"))
	})
}

func TestNoChangeIsLostAmongMany(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		const each, keys = 100, 3
		var wg sync.WaitGroup
		for range 4 { // each is a process of its own
			tx := db.Transactions(false)
			for i := range each {
				wg.Go(func() {
					if err := tx.Do(t.Context(), time.Millisecond, add(fmt.Sprint("{x}", i%keys))); err != nil {
						t.Error(err)
					}
				})
			}
		}
		wg.Wait()
		sum := 0
		for i := range keys {
			sum += length(t, db, fmt.Sprint("{x}", i))
		}
		if sum != 4*each {
			t.Errorf("%d changes are left of %d", sum, 4*each)
		}
	})
}

// A change sees what those before it in the same transaction wrote.
func TestChangesOfOneTransactionSeeEachOther(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		all := make([]store.Change, 60)
		for i := range all {
			all[i] = add("{x}n")
		}
		for _, err := range db.Transactions(false).DoAll(t.Context(), 0, all) {
			if err != nil {
				t.Fatal(err)
			}
		}
		if got := length(t, db, "{x}n"); got != 60 {
			t.Errorf("60 changes made %d", got)
		}
	})
}

func TestARefusalConcernsNoOther(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		refused := errors.New("refused")
		no := store.Change{Keys: []string{"{x}n"}, Slot: "{x}n", Decide: func(_ []string, w *store.Writes) error {
			w.Set("{x}n", []byte("a long one")) // what it wrote before it failed is not written
			w.LPush("{x}l", "v")
			return refused
		}}
		errs := db.Transactions(false).DoAll(t.Context(), 0, []store.Change{add("{x}n"), no, add("{x}n")})
		if errs[0] != nil || errs[1] != refused || errs[2] != nil {
			t.Errorf("got %v", errs)
		}
		if got := length(t, db, "{x}n"); got != 2 {
			t.Errorf("%d changes were made", got)
		}
		if db.Exists(t.Context(), "{x}l").Val() != 0 {
			t.Error("half of a change that failed was written")
		}
	})
}

// A connection that goes back to the pool watches nothing: otherwise the transaction of another caller would fail.
func TestNoWatchIsLeftBehind(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		tx := db.Transactions(false)
		reads := store.Change{Keys: []string{"{x}n"}, Slot: "{x}n", Decide: func([]string, *store.Writes) error { return nil }}
		for range 20 {
			if err := tx.Do(t.Context(), 0, reads); err != nil {
				t.Fatal(err)
			}
			if err := db.Incr(t.Context(), "{x}n").Err(); err != nil {
				t.Fatal(err)
			}
			if err := db.Tx(t.Context(), func(p redis.Pipeliner) error { p.Incr(t.Context(), "{x}other"); return nil }); err != nil {
				t.Fatalf("a transaction of somebody else: %v", err)
			}
		}
	})
}

// All kinds of writes, merged, and the last word on a member holds.
func TestWrites(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		ctx := t.Context()
		db.Set(ctx, "{x}gone", "x", 0)
		write := func(i int) store.Change {
			return store.Change{Slot: "{x}", Decide: func(_ []string, w *store.Writes) error {
				n := strconv.Itoa(i)
				w.Set("{x}k"+n, []byte(n))
				w.Delete("{x}gone")
				w.HSet("{x}h", "a"+n, n, "b", n)
				w.ZAdd("{x}z", int64(i), "m"+n)
				w.ZAdd("{x}z", 9, "moved")
				if i == 2 {
					w.ZRem("{x}z", "m1")
					w.ZRem("{x}z", "moved")
					w.HDel("{x}h", "a1")
					w.HDelIf("{x}owned", "f1", "1")
					w.HDelIf("{x}owned", "f2", "1")
					w.HDelIf("{x}owned", "f2", "1") // it has another value
					w.HDelIf("{x}owned", "f3", "3")
					w.HDelIf("{x}owned", "f3", "4")
					w.HDelIf("{x}none", "f", "1")
				}
				w.HSet("{x}owned", "f1", "1", "f2", "2", "f3", "3", "f4", n)
				w.SAdd("{x}s", n)
				w.LPush("{x}l", "l"+n)
				w.RPush("{x}l", "r"+n)
				w.IncrBy("{x}c", 2)
				w.Append("{x}e", "events", []byte(`{"n":`+n+`}`))
				w.Do("setbit", "{x}bit", i, 1)
				return nil
			}}
		}
		for _, err := range db.Transactions(false).DoAll(ctx, 0, []store.Change{write(1), write(2)}) {
			if err != nil {
				t.Fatal(err)
			}
		}
		entries := db.XRange(ctx, "{x}e", "-", "+").Val()
		got := fmt.Sprint(
			db.MGet(ctx, "{x}k1", "{x}k2", "{x}gone").Val(), db.HGetAll(ctx, "{x}h").Val(), db.HGetAll(ctx, "{x}owned").Val(),
			db.ZRangeWithScores(ctx, "{x}z", 0, -1).Val(), db.SMembers(ctx, "{x}s").Val(),
			db.LRange(ctx, "{x}l", 0, -1).Val(), db.Get(ctx, "{x}c").Val(), db.GetBit(ctx, "{x}bit", 2).Val(), len(entries), entries[0].Values)
		want := `[1 2 <nil>] map[a2:2 b:2] map[f2:2 f4:2] [{2 m2}] [1 2] [l2 l1 r1 r2]41 1 map[events:{"n":1}` + "\n" + `{"n":2}]`
		if got != want {
			t.Errorf("got  %s\nwant %s", got, want)
		}
	})
}

// A full Redis refuses strict transactions, and takes the others.
func TestAFullRedisTakesWhatDrains(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	db := open(t, s.Client())
	ctx := t.Context()
	if err := db.Transactions(false).Do(ctx, 0, add("{x}n")); err != nil {
		t.Fatal(err)
	}
	if err := db.ConfigSet(ctx, "maxmemory", "1").Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.Transactions(true).Do(ctx, 0, add("{x}n")); !redis.IsOOMError(err) {
		t.Errorf("a strict transaction on a full Redis: %v", err)
	}
	var conflict sync.Once
	tries := 0
	err := db.Transactions(false).Do(ctx, 0, store.Change{Keys: []string{"{x}n"}, Slot: "{x}", Decide: func(values []string, w *store.Writes) error {
		tries++
		conflict.Do(func() { // between the reading and the writing
			db.ConfigSet(ctx, "maxmemory", "0")
			db.Set(ctx, "{x}n", "xxxxx", 0)
			db.ConfigSet(ctx, "maxmemory", "1")
		})
		w.Set("{x}n", []byte(values[0]+"x"))
		w.ZAdd("{x}z", 5, "m")
		return nil
	}})
	if got := length(t, db, "{x}n"); err != nil || got != 6 || tries != 2 || db.ZScore(ctx, "{x}z", "m").Val() != 5 {
		t.Errorf("err %v, %d changes after %d tries", err, got, tries)
	}
}

// A caller that left is not waited for, and a Redis that failed and came back is found again.
func TestTransactionsOutliveARestart(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	db := open(t, s.Client())
	tx := db.Transactions(false)
	if err := tx.Do(t.Context(), 0, add("{x}n")); err != nil {
		t.Fatal(err)
	}
	s.Restart()
	deadline, cancel := context.WithTimeout(t.Context(), poll.Limit)
	defer cancel()
	for deadline.Err() == nil {
		if tx.Do(deadline, 0, add("{x}n")) == nil {
			break
		}
	}
	if got := length(t, db, "{x}n"); got != 2 {
		t.Errorf("%d changes", got)
	}
}

// The writes of a transaction go with the reads of the next, a single change waits for others as long as it may, and
// nothing runs on when no caller waits: a bubble does not end before its goroutines.
func TestTransactionsShareRoundTrips(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		callers, keys int
		within        time.Duration
		trips         int64
		took          time.Duration
	}{
		{1, 1, 0, 2, 20 * time.Millisecond},
		{1, 1, 5 * time.Millisecond, 2, 25 * time.Millisecond},
		{25, 25, 5 * time.Millisecond, 2, 20 * time.Millisecond}, // no more fit in
		{100, 100, 5 * time.Millisecond, 5, 50 * time.Millisecond},
		{100, 1, 5 * time.Millisecond, 2, 20 * time.Millisecond},
		{250, 1, time.Hour, 5, time.Hour + 20*time.Millisecond}, // the last 50 wait on
	} {
		t.Run(fmt.Sprint(tt.callers, tt.keys, tt.within), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, trips := counted(t)
				trips.hold = func() { time.Sleep(10 * time.Millisecond) }
				tx := db.Transactions(false)
				start := time.Now()
				together(tt.callers, func(i int) {
					if err := tx.Do(t.Context(), tt.within, add(fmt.Sprint("{x}", i%tt.keys))); err != nil {
						t.Error(err)
					}
				})
				if took := time.Since(start); trips.n.Load() != tt.trips || took != tt.took {
					t.Errorf("%d round trips in %s, want %d in %s", trips.n.Load(), took, tt.trips, tt.took)
				}
			})
		})
	}
}
