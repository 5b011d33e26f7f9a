package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

var silent = slog.New(slog.DiscardHandler)

// TestRequire: what breaks a promise is refused, by the name of the setting.
func TestRequire(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Start(t, "--min-replicas-to-write", "1").Client())
	for _, tt := range []struct {
		setting, bad, good string
		breaks             []store.Durability
	}{
		{"appendfsync", "everysec", "always", []store.Durability{store.Fsync, store.Replica}},
		{"appendonly", "no", "yes", []store.Durability{store.Fsync, store.Replica}},
		{"maxmemory-policy", "allkeys-lru", "noeviction", []store.Durability{store.Fsync, store.Replica, store.Asserted}},
		{"maxmemory", "0", "512mb", []store.Durability{store.Fsync, store.Replica, store.Asserted}},
		{"min-replicas-to-write", "0", "1", []store.Durability{store.Replica}},
	} {
		set := func(v string) {
			if err := db.ConfigSet(t.Context(), tt.setting, v).Err(); err != nil {
				t.Fatal(err)
			}
		}
		set(tt.bad)
		for _, d := range []store.Durability{store.Fsync, store.Replica, store.Asserted, store.Relaxed} {
			err := db.Require(t.Context(), d, silent)
			if refused := err != nil; refused != contains(tt.breaks, d) {
				t.Errorf("%s %s: %s: %v", tt.setting, tt.bad, d, err)
			}
			if err != nil && !strings.Contains(err.Error(), tt.setting+` is "`+tt.bad+`"`) {
				t.Errorf("%s: %v", tt.setting, err)
			}
		}
		set(tt.good)
		if err := db.Require(t.Context(), store.Replica, silent); err != nil {
			t.Errorf("the settings we ask for: %v", err)
		}
	}
}

func contains(all []store.Durability, d store.Durability) bool {
	for _, x := range all {
		if x == d {
			return true
		}
	}
	return false
}

// TestRequireEveryMaster: one master of a Cluster that is set otherwise is enough.
func TestRequireEveryMaster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	db := openURL(t, c.URL())
	if err := db.Require(t.Context(), store.Replica, silent); err != nil {
		t.Fatal(err)
	}
	bad := c.MasterOf("{s07}")
	if err := bad.Client().ConfigSet(t.Context(), "appendfsync", "no").Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.Require(t.Context(), store.Replica, silent); err == nil || !strings.Contains(err.Error(), bad.Addr+`: appendfsync is "no"`) {
		t.Error(err)
	}
}

// TestFsyncWhereAFailoverLoses: a write on the disk of a master alone does not survive a failover, so fsync is refused
// on Sentinel and on a Cluster, unless the operator accepts the loss.
func TestFsyncWhereAFailoverLoses(t *testing.T) {
	t.Parallel()
	for kind, start := range map[string]func(t *testing.T) string{
		"sentinel": func(t *testing.T) string { return redistest.StartSentinel(t, 1).URL() },
		"cluster":  func(t *testing.T) string { return redistest.StartCluster(t).URL() },
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			db := openURL(t, start(t))
			err := db.Require(t.Context(), store.Fsync, silent)
			if err == nil || !strings.Contains(err.Error(), "redis.durability: replica") || !strings.Contains(err.Error(), "redis.failover_may_lose_writes: true") {
				t.Errorf("%v", err)
			}
			db.AllowLossAtFailover()
			var log bytes.Buffer
			if err := db.Require(t.Context(), store.Fsync, slog.New(slog.NewTextHandler(&log, nil))); err != nil || !strings.Contains(log.String(), "a failover may lose") {
				t.Errorf("%v, the log says %q", err, log.String())
			}
		})
	}
}

// TestABreachIsNoticed: at the next run id, or after a minute, and its end at once.
func TestABreachIsNoticed(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	db := openURL(t, srv.URL())
	if err := db.Require(t.Context(), store.Fsync, silent); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	look := func(broken bool) {
		t.Helper()
		store.Look(t.Context(), db, slog.New(slog.NewTextHandler(&log, nil)))
		for name, err := range map[string]error{"breach": db.Breach(), "fit": db.Fit()} {
			if (err != nil) != broken || err != nil && !strings.Contains(err.Error(), `appendfsync is "everysec"`) {
				t.Errorf("%s: %v, want an error: %t", name, err, broken)
			}
		}
	}
	set := func(v string) {
		t.Helper()
		if err := db.ConfigSet(t.Context(), "appendfsync", v).Err(); err != nil {
			t.Fatal(err)
		}
	}
	look(false)
	set("everysec")
	look(false) // it was compared a moment ago
	store.Aged(db)
	look(true)
	set("always")
	look(false)
	srv.Kill()
	srv.Restart()
	for db.Ping(t.Context()).Err() != nil {
	}
	set("everysec")
	look(true) // another run
	for _, want := range []string{"Redis settings do not fulfil redis.durability", "Redis settings fulfil redis.durability again"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log lacks %q:\n%s", want, log.String())
		}
	}
}

// TestAReplicaIsNotFit: a Redis that has become a replica refuses every write, so the program is not ready.
func TestAReplicaIsNotFit(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	db := openURL(t, srv.URL())
	look := func(when string, fit bool) {
		t.Helper()
		store.Look(t.Context(), db, silent)
		if err := db.Fit(); (err == nil) != fit || err != nil && !strings.Contains(err.Error(), "refuses writes") {
			t.Errorf("%s: %v, want an error: %t", when, err, !fit)
		}
	}
	look("a master", true)
	if err := db.SlaveOf(t.Context(), "127.0.0.1", "1").Err(); err != nil {
		t.Fatal(err)
	}
	look("a replica", false)
	if err := db.SlaveOf(t.Context(), "no", "one").Err(); err != nil {
		t.Fatal(err)
	}
	look("a master again", true)
}

// TestClockOffset: no more than what is certain; a minute makes the program unfit.
func TestClockOffset(t *testing.T) {
	t.Parallel()
	now := time.Now()
	for d, want := range map[time.Duration]time.Duration{0: 0, 30 * time.Millisecond: 0, time.Minute: time.Minute - 50*time.Millisecond, -time.Minute: -time.Minute} {
		if got := store.Offset(now.Add(d), now, now.Add(50*time.Millisecond)); got != want {
			t.Errorf("%s ahead of when it was asked: %s, want %s", d, got, want)
		}
	}
	if got := store.Stepped(now, now.Add(time.Second)); got != 0 {
		t.Errorf("a clock that nobody set was set by %s", got)
	}
	db := openURL(t, redistest.Start(t).URL())
	store.Look(t.Context(), db, silent)
	if got := db.ClockOffset(); got != 0 {
		t.Errorf("a clock that is the same is %s ahead", got)
	}
	for d, fit := range map[time.Duration]bool{0: true, 59 * time.Second: true, time.Minute: false, -time.Minute: false} {
		store.Ahead(db, d)
		if err := db.Fit(); (err == nil) != fit {
			t.Errorf("%s ahead: %v", d, err)
		}
		if got := db.ClockOffset(); got != d {
			t.Errorf("%s ahead: the offset is %s", d, got)
		}
	}
}

// TestRequireWhereConfigIsForbidden: as on many a managed Redis.
func TestRequireWhereConfigIsForbidden(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--rename-command", "CONFIG", "")
	db := open(t, srv.Client())
	if err := db.Require(t.Context(), store.Fsync, silent); err == nil || !strings.Contains(err.Error(), "asserted") {
		t.Error(err)
	}
	said := func(d store.Durability) string {
		var log bytes.Buffer
		if err := db.Require(t.Context(), d, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Errorf("%s: %v", d, err)
		}
		return log.String()
	}
	if got := said(store.Asserted); !strings.Contains(got, "guarantees") {
		t.Errorf("asserted says %q", got)
	}
	if got := said(store.Relaxed); !strings.Contains(got, "does not report how much") {
		t.Errorf("relaxed says %q", got)
	}
}

// TestRelaxedReportsItsWindow: how much a crash may lose stands in the log.
func TestRelaxedReportsItsWindow(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	for _, tt := range []struct{ fsync, want string }{
		{"always", "loses no confirmed write"}, {"everysec", "last second"}, {"no", "half minute"},
	} {
		db.ConfigSet(t.Context(), "appendfsync", tt.fsync)
		var log bytes.Buffer
		if err := db.Require(t.Context(), store.Relaxed, slog.New(slog.NewTextHandler(&log, nil))); err != nil || !strings.Contains(log.String(), tt.want) {
			t.Errorf("%s: %q, %v", tt.fsync, log.String(), err)
		}
	}
	mini := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
	if err := open(t, mini).Require(t.Context(), store.Relaxed, silent); err != nil {
		t.Errorf("the Redis of the demo: %v", err)
	}
	if err := open(t, mini).Require(t.Context(), store.Fsync, silent); err == nil {
		t.Error("a server that cannot tell its settings passes")
	}
}

// TestUnconfirmed: what no replica has is not called safe, and neither is its repeat, which
// writes nothing; once the replica is back it is.
func TestUnconfirmed(t *testing.T) {
	t.Parallel()
	for kind, start := range map[string]func(t *testing.T) (url string, replica func(key string) *redistest.Server){
		"sentinel": func(t *testing.T) (string, func(string) *redistest.Server) {
			s := redistest.StartSentinel(t, 1)
			return s.URL(), func(string) *redistest.Server { return s.Servers[1] }
		},
		"cluster": func(t *testing.T) (string, func(string) *redistest.Server) {
			c := redistest.StartCluster(t)
			return c.URL(), func(key string) *redistest.Server { return c.ReplicaOf(key) }
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			url, replicaOf := start(t)
			db := openURL(t, url)
			if err := db.Require(t.Context(), store.Replica, silent); err != nil {
				t.Fatal(err)
			}
			once := db.Script("return redis.call('SET', KEYS[1], 'v', 'NX') and 'made' or 'there'")
			b := db.NewBatch(0)
			run := func() (string, error) {
				cmd := b.Run(t.Context(), once, []string{"{s00}k"})
				return fmt.Sprint(cmd.Val()), cmd.Err()
			}
			replica := replicaOf("{s00}k")
			replica.Signal(syscall.SIGSTOP)
			for _, want := range []string{"made", "there"} {
				got, err := run()
				late := err != nil && strings.HasPrefix(err.Error(), "NOREPLICAS") // after 3 s the master itself refuses
				if !late && (got != want || !errors.Is(err, store.ErrUnconfirmed)) {
					t.Errorf("without the replica: %q, %v", got, err)
				}
			}
			replica.Signal(syscall.SIGCONT)
			for {
				got, err := run()
				if err == nil && got != "" {
					break
				}
				if !errors.Is(err, store.ErrUnconfirmed) && !strings.Contains(fmt.Sprint(err), "NOREPLICAS") {
					t.Fatalf("with the replica: %q, %v", got, err)
				}
			}
			// Keys of several masters at once.
			err := db.Durably(t.Context(), func(p redis.Pipeliner) {
				for i := range 16 {
					p.Set(t.Context(), fmt.Sprintf("{s%02d}x", i), i, 0)
				}
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
}
