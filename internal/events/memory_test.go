package events_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/events"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const mib = 1 << 20

// kept trims and returns what the streams have.
func kept(t *testing.T, s *events.Stream) events.Kept {
	t.Helper()
	if err := s.Trim(t.Context()); err != nil {
		t.Fatal(err)
	}
	k, err := s.Kept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// ageOf returns the age of the oldest entry of a stream.
func ageOf(t *testing.T, db *store.DB, key string) time.Duration {
	t.Helper()
	now, err := db.Now(t.Context(), key)
	if err != nil {
		t.Fatal(err)
	}
	var ms int64
	if _, err := fmt.Sscanf(db.XRangeN(t.Context(), key, "-", "+", 1).Val()[0].ID, "%d-", &ms); err != nil {
		t.Fatal(err)
	}
	return now.Sub(time.UnixMilli(ms))
}

// TestEventsStayWithinTheirMemory: one number has ten times as many events as another one, and together more than fit.
// The busy one uses most of the memory, and both keep events of the same time.
func TestEventsStayWithinTheirMemory(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{Retention: 2 * time.Hour, Memory: 4 * mib})
	busy, quiet := events.MessageKey(shards.Of(numberA)), events.MessageKey(shards.Of(numberB))
	filled(t, db, busy, 6000, 1000, time.Hour, 0)
	filled(t, db, quiet, 600, 1000, time.Hour, 0)
	if err := db.XGroupCreate(t.Context(), busy, "crm", "0").Err(); err != nil {
		t.Fatal(err)
	}
	k := kept(t, s)
	if k.Budget != 4*mib || k.Bytes > k.Budget || k.Bytes < k.Budget*8/10 {
		t.Errorf("%d bytes of %d in use", k.Bytes, k.Budget)
	}
	if !k.Short() || k.Retention != 2*time.Hour || k.Effective < 20*time.Minute || k.Effective > 40*time.Minute {
		t.Errorf("kept for %s of %s", k.Effective, k.Retention)
	}
	for _, key := range []string{busy, quiet} { // Redis drops whole nodes, and one of the quiet number has 4 entries of 6 s each
		if age := ageOf(t, db, key); (age - k.Effective).Abs() > 30*time.Second {
			t.Errorf("%s begins %s ago, events are kept for %s", key, age, k.Effective)
		}
	}
	if !db.HExists(t.Context(), busy+":gaps", "crm").Val() {
		t.Error("the group that missed events gets no gap event")
	}
	before := db.XLen(t.Context(), busy).Val()
	if again := kept(t, s); db.XLen(t.Context(), busy).Val() != before || again.Effective < k.Effective || !again.Short() {
		t.Errorf("without further events %s became %s", k.Effective, again.Effective)
	}
	filled(t, db, events.MetaKey(shards.Of(numberB)), 1000, 1000, 10*time.Second, 0)
	apply(t, db, numberB, "9999999999999-0")
	if more := kept(t, s); more.Bytes > more.Budget || more.Effective >= k.Effective {
		t.Errorf("after more events %d bytes of %d in use, kept for %s", more.Bytes, more.Budget, more.Effective)
	}
}

// TestLargeEntriesCount: those of a burst are larger than the ones before it.
func TestLargeEntriesCount(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	key := events.MessageKey(shards.Of(numberA))
	filled(t, db, key, 3000, 200, time.Hour, time.Minute)
	filled(t, db, key, 100, 100_000, time.Minute, 0)
	if k := kept(t, s); k.Bytes < 10_000_000 || k.Bytes > 13_000_000 {
		t.Errorf("%d bytes in use, want a little more than 10,600,000", k.Bytes)
	}
}

// TestMemoryOfACluster: each master has an equal part of the memory, because the streams of a number are on one of them.
func TestMemoryOfACluster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t)
	db, err := store.Open(t.Context(), cluster.URL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	s := events.New(db, shards, events.Options{Memory: 6 * mib})
	filled(t, db, events.MessageKey(shards.Of(numberA)), 4000, 1000, time.Hour, 0)
	if k := kept(t, s); k.Budget != 6*mib || k.Bytes > 2*mib || k.Bytes < 15*mib/10 || !k.Short() {
		t.Errorf("of 4 MB on one of 3 masters it has %+v", k)
	}
}

// TestUnappliedEventsStay: although they need more memory than they may use.
func TestUnappliedEventsStay(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{Memory: mib})
	key := events.MetaKey(shards.Of(numberA))
	ids := filled(t, db, key, 3000, 1000, time.Hour, 0)
	apply(t, db, numberA, ids[999])
	if k := kept(t, s); k.Bytes < 2*mib || !k.Short() {
		t.Errorf("%d bytes in use, kept for %s", k.Bytes, k.Effective)
	}
	if l := db.XLen(t.Context(), key).Val(); l < 2000 || l > 2010 {
		t.Errorf("%d entries left, 2000 are not applied", l)
	}
	after, _ := s.Kept(t.Context())
	if k := kept(t, s); k.Effective < after.Effective {
		t.Errorf("nothing was dropped, but %s became %s", after.Effective, k.Effective)
	}
}

// TestComputedMemory: without events.memory it follows from what Redis may use, at any time.
func TestComputedMemory(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	var machine int64
	if _, err := fmt.Sscan(db.InfoMap(t.Context(), "memory").Item("Memory", "total_system_memory"), &machine); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		maxmemory string
		want      int64
	}{
		{"512mb", 128 * mib},
		{"1gb", 256 * mib},
		{"0", machine / 4},
		{"1", 16 * mib}, // Redis is full, and says so to no other writer than this one
	} {
		if err := db.ConfigSet(t.Context(), "maxmemory", tt.maxmemory).Err(); err != nil {
			t.Fatal(err)
		}
		if k := kept(t, s); k.Budget != tt.want || k.Short() || k.Effective != 24*time.Hour {
			t.Errorf("maxmemory %s: %+v, want %d bytes", tt.maxmemory, k, tt.want)
		}
	}
}

func TestCheckMemory(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	for _, tt := range []struct {
		maxmemory string
		memory    int64
		want      string
	}{
		{"512mb", 0, ""},
		{"512mb", 256 * mib, ""},
		{"512mb", 257 * mib, "events.memory: 257 MiB does not fit. Redis has a maxmemory of 512 MiB, and events may use half of it. Set events.memory to 256 MiB or less, or raise maxmemory"},
		{"0", 257 * mib, ""},
		{"0", 1 << 50, "events.memory: 1048576.0 GiB does not fit. Redis has no maxmemory, and its machine has "},
	} {
		if err := db.ConfigSet(t.Context(), "maxmemory", tt.maxmemory).Err(); err != nil {
			t.Fatal(err)
		}
		err := events.CheckMemory(t.Context(), db, tt.memory)
		if (err == nil) != (tt.want == "") || err != nil && !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%d of %s: %v", tt.memory, tt.maxmemory, err)
		}
	}
}
