package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestFailoverLosesNothingConfirmed: a master is killed amid durable writes; the next one has
// all that were confirmed, and takes more soon after it has a replica.
func TestFailoverLosesNothingConfirmed(t *testing.T) {
	t.Parallel()
	const key = "{s00}k"
	for kind, start := range map[string]func(t *testing.T) (url string, kill func()){
		"sentinel": func(t *testing.T) (string, func()) {
			s := redistest.StartSentinel(t, 1)
			return s.URL(), func() { old := s.Master(); old.Kill(); s.Await(old); old.Restart() }
		},
		"cluster": func(t *testing.T) (string, func()) {
			c := redistest.StartCluster(t)
			return c.URL(), func() {
				old := c.MasterOf(key)
				old.Kill()
				for c.MasterOf(key) == old {
				}
				old.Restart()
			}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url, kill := start(t)
			db := openURL(t, url)
			if err := db.Require(t.Context(), store.Replica, silent); err != nil {
				t.Fatal(err)
			}
			s, b := db.Script(set), db.NewBatch(0)
			var n atomic.Int64
			var confirmed sync.Map
			var last atomic.Int64 // when a write was last confirmed
			write := func() bool {
				k := fmt.Sprint(key, n.Add(1))
				ok := b.Run(t.Context(), s, []string{k}, "v").Err() == nil
				if ok {
					confirmed.Store(k, true)
					last.Store(time.Now().UnixNano())
				}
				return ok
			}
			var stop atomic.Bool
			var writers sync.WaitGroup
			for range 4 {
				writers.Go(func() {
					for !stop.Load() {
						if !write() {
							time.Sleep(5 * time.Millisecond)
						}
					}
				})
			}
			for n.Load() < 200 {
				time.Sleep(time.Millisecond)
			}
			killed := time.Now()
			kill()
			back := time.Now()
			poll.Until(t, "a write is confirmed after the old master's return", func() bool { return last.Load() >= back.UnixNano() })
			t.Logf("replaced and restarted after %s, writes confirmed after %s", back.Sub(killed), time.Since(killed))
			stop.Store(true)
			writers.Wait()
			total, lost := 0, 0
			confirmed.Range(func(k, _ any) bool {
				total++
				if v, err := db.Get(t.Context(), k.(string)).Result(); err != nil || v != "v" {
					lost++
				}
				return true
			})
			t.Logf("%d confirmed of %d", total, n.Load())
			if lost > 0 {
				t.Errorf("%d of %d confirmed writes are lost", lost, total)
			}
		})
	}
}
