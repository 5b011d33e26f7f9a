// Package events has the event streams: what Meta reports, and every state change of a message. It appends to
// Redis streams, two for each shard. It delivers what Meta reports to the reconciler, at least once and in
// order, and trims applied entries. docs/events.md describes the streams for consumers outside of Sluice.
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

// Limits of the quarantine and of the dead-letter streams.
const (
	maxQuarantined     = 1000     // bodies
	maxQuarantinedBody = 64 << 10 // bytes of each
	maxDead            = 10_000   // entries of each shard
)

// Options configure a Stream. The zero value is usable.
type Options struct {
	Retention  time.Duration         // how long events are kept for other consumers; 0: 24 hours
	Memory     int64                 // bytes of Redis memory for all streams together; 0: a quarter of what Redis may use
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

	trim, measure, readers, received, save, heartbeat, keep, lags store.Script

	share   atomic.Pointer[share] // nil unless this process reads
	lag     lag
	appends *store.GroupCommit[*part]
}

// New returns the streams of an installation with shards. It does not access Redis.
func New(db *store.DB, shards message.Shards, o Options) *Stream {
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Stream{
		db: db, shards: shards, o: o, log: log, metrics: newMetrics(o.Registerer),
		trim:      db.Script(trimLua),
		measure:   db.Script(measureLua),
		readers:   db.Script(readersLua),
		received:  db.Script(receivedLua),
		save:      db.Script(saveLua),
		heartbeat: db.Script(heartbeatLua),
		keep:      db.Script(keepLua),
		lags:      db.Script(lagLua),
		appends:   newAppends(db),
	}
}

// isCluster reports whether Redis is a Cluster: then one command cannot use the keys of several shards.
func isCluster(db *store.DB) bool {
	_, is := db.UniversalClient.(*redis.ClusterClient)
	return is
}

// Field is the only field of an entry of the event streams. Its value is one or more events as JSON, separated
// by "\n".
const Field = "events"

// MessageKey returns the Redis key of the stream of message events of a shard: the state changes that Sluice
// made.
func MessageKey(s message.Shard) string { return store.Key(s, "events:message") }

// MetaKey returns the Redis key of the stream of status, inbound and update events of a shard: what Meta
// reported.
func MetaKey(s message.Shard) string { return store.Key(s, "events:meta") }

// DeadKey returns the Redis key of the dead-letter stream of a shard: events that could not be applied.
func DeadKey(s message.Shard) string { return store.Key(s, "events:dead") }

// QuarantineKey returns the Redis key of the quarantine: a stream of signed webhook bodies that are not JSON, and
// of single items that cannot be events.
func QuarantineKey() string { return store.Key(message.Shard(0), "quarantine") }

// WatermarkKey returns the Redis key of the watermark of a shard: Unix milliseconds as a decimal number.
func WatermarkKey(s message.Shard) string { return store.Key(s, "watermark") }

// AppliedKey returns the Redis key of the position of the reconciler in the stream of Meta events of a shard:
// the id of the last applied entry.
func AppliedKey(s message.Shard) string { return store.Key(s, "applied") }

// Quarantine stores a signed body that cannot be read, so that an operator can look at it. Redis keeps about the
// last 1,000, each cut to 64 KiB. why is a short constant text.
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
