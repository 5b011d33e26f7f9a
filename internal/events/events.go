// Package events is the streams of all that happens: what Meta reports, and every change of a
// message's state. It appends to Redis streams, two for each shard, lets the reconciler apply what
// Meta reports, at least once and in order, and trims what is applied. docs/events.md describes
// the streams for consumers outside of Sluice.
package events

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Limits of what is kept for people only.
const (
	maxQuarantined     = 1000     // bodies
	maxQuarantinedBody = 64 << 10 // bytes of each
	maxDead            = 10_000   // entries of each shard
)

// Options adjust a Stream. The zero value is usable.
type Options struct {
	Retention  time.Duration         // how long events are kept for other consumers; 0: 24 hours
	MaxLen     int                   // events kept in each stream, about, whatever their age; 0: 20,000
	Registerer prometheus.Registerer // nil: the metrics are not registered
	Log        *slog.Logger          // nil: no logs
}

// Stream is the event streams of an installation. It is safe for concurrent use.
type Stream struct {
	db      *store.DB
	shards  message.Shards
	o       Options
	log     *slog.Logger
	metrics metrics

	trim, meet, hear, save, beat store.Script

	share   atomic.Pointer[share] // of a process that reads
	lag     lag
	appends appender
}

// New returns the streams of an installation with that many shards. It does not use Redis yet.
func New(db *store.DB, shards message.Shards, o Options) *Stream {
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	o.MaxLen = cmp.Or(o.MaxLen, 20_000)
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Stream{
		db: db, shards: shards, o: o, log: log, metrics: newMetrics(o.Registerer),
		trim:    db.Script(trimLua),
		meet:    db.Script(meetLua),
		hear:    db.Script(hearLua),
		save:    db.Script(saveLua),
		beat:    db.Script(beatLua),
		appends: appender{db: db, apart: isCluster(db), lanes: map[message.Shard]*lane{}},
	}
}

// isCluster tells whether one command or pipeline cannot reach the keys of all shards at once.
func isCluster(db *store.DB) bool {
	_, is := db.UniversalClient.(*redis.ClusterClient)
	return is
}

// Field is the only field of an entry of the event streams. Its value is one or more events as JSON, one
// a line: separated by "\n", without one at the end.
const Field = "events"

// MessageKey is the Redis key of the stream of a shard's message events: the changes of state that
// Sluice made.
func MessageKey(s message.Shard) string { return store.Key(s, "events:message") }

// MetaKey is the Redis key of the stream of a shard's status, inbound and update events: what Meta
// reported.
func MetaKey(s message.Shard) string { return store.Key(s, "events:meta") }

// DeadKey is the Redis key of the dead-letter stream of a shard: what could not be applied.
func DeadKey(s message.Shard) string { return store.Key(s, "events:dead") }

// QuarantineKey is the Redis key of the stream of signed webhook bodies that are not JSON, and of items
// that cannot be events.
func QuarantineKey() string { return store.Key(message.Shard(0), "quarantine") }

// WatermarkKey is the Redis key of a shard's watermark: Unix milliseconds as a decimal.
func WatermarkKey(s message.Shard) string { return store.Key(s, "watermark") }

// AppliedKey is the Redis key of the reconciler's position in a shard's stream of Meta events: the
// id of the last entry that is applied.
func AppliedKey(s message.Shard) string { return store.Key(s, "applied") }

// Quarantine keeps a signed body that could not be understood, for people: the newest
// thousand or so, each cut to 64 KiB. why is a short constant text.
func (s *Stream) Quarantine(ctx context.Context, body []byte, why string) error {
	err := s.db.Durably(ctx, func(p redis.Pipeliner) {
		p.XAdd(ctx, &redis.XAddArgs{
			Stream: QuarantineKey(), MaxLen: maxQuarantined, Approx: true,
			Values: []any{"why", why, "bytes", len(body), "body", body[:min(len(body), maxQuarantinedBody)]},
		})
	})
	if err != nil {
		return fmt.Errorf("quarantine a body: %w", err)
	}
	s.metrics.quarantined.Inc()
	return nil
}
