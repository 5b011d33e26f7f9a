package events_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// BenchmarkTrim measures what a Trim costs Redis (redis-ms) with 1 GB of events in one stream: one that only measures, and
// one that drops as much as 16 MB of new events need.
func BenchmarkTrim(b *testing.B) {
	db := open(b, redistest.Start(b, "--maxmemory", "4gb", "--appendonly", "no").Client())
	key := events.MessageKey(shards.Of(numberA))
	const size = 1600 // with about three events, as in the demo
	for i := range time.Duration(60) {
		filled(b, db, key, 10_000, size, (60-i)*time.Minute, (59-i)*time.Minute)
	}
	trim := func(b *testing.B, s *events.Stream) {
		if err := s.Trim(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	measure := func(b *testing.B, s *events.Stream, written int) {
		var used time.Duration
		for b.Loop() {
			b.StopTimer()
			fresh(b, db, key, written, size)
			before := scriptTime(b, db)
			b.StartTimer()
			trim(b, s)
			b.StopTimer()
			used += scriptTime(b, db) - before
			b.StartTimer()
		}
		b.ReportMetric(float64(used.Microseconds())/1000/float64(b.N), "redis-ms/op")
	}
	b.Run("measure", func(b *testing.B) {
		measure(b, events.New(db, shards, events.Options{Memory: 2 << 30}), 0)
	})
	b.Run("drop", func(b *testing.B) {
		s := events.New(db, shards, events.Options{Memory: 1000 << 20})
		trim(b, s)
		measure(b, s, 10_000)
	})
}

// fresh writes entries of a size.
func fresh(b *testing.B, db *store.DB, key string, entries, size int) {
	b.Helper()
	text := strings.Repeat(" ", size)
	err := db.Pipe(b.Context(), func(p redis.Pipeliner) {
		for range entries {
			p.XAdd(b.Context(), &redis.XAddArgs{Stream: key, Values: []string{events.Field, text}})
		}
	})
	if err != nil {
		b.Fatal(err)
	}
}

// scriptTime returns how long Redis has run scripts.
func scriptTime(b *testing.B, db *store.DB) time.Duration {
	b.Helper()
	_, stats, _ := strings.Cut(db.Info(b.Context(), "commandstats").Val(), "cmdstat_evalsha:")
	_, stats, _ = strings.Cut(stats, "usec=")
	var us int64
	fmt.Sscan(strings.ReplaceAll(stats, ",", " "), &us)
	return time.Duration(us) * time.Microsecond
}
