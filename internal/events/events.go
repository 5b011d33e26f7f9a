// Package events is the stream of all that happens: what Meta reports and every change of a
// message's state. It appends to Redis streams, one for each shard, hands their entries to
// consumer groups at least once, and trims what has been handled. docs/events.md describes
// it for consumers outside of Sluice.
package events

import (
	"cmp"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// field is the only field of an entry; its value is the event as JSON.
const field = "event"

// Limits of what is kept for people only.
const (
	maxQuarantined     = 1000     // bodies
	maxQuarantinedBody = 64 << 10 // bytes of each
	maxDead            = 10_000   // entries of each shard
)

var (
	//go:embed lua/passed.lua
	passedLua string
	//go:embed lua/watermark.lua
	watermarkLua string
	//go:embed lua/trim.lua
	trimLua string
	//go:embed lua/bury.lua
	buryLua string
	//go:embed lua/retire.lua
	retireLua string
)

// Options adjust a Stream. The zero value is usable.
type Options struct {
	Retention  time.Duration         // how long handled entries are kept for other consumers; 0: 24 hours
	MaxLen     int                   // handled entries kept in each shard, whatever their age; 0: 20,000
	MinIdle    time.Duration         // entries that a consumer holds longer than this are taken over by others; 0: 15 seconds, more than handling them may take
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

	watermark, trim, bury, retire, meet, hear store.Script

	shares sync.Map // group -> *share, of those that this process consumes for

	appends *store.Batch // callers of Append share round trips
}

// New returns the streams of an installation with that many shards. It does not use Redis yet.
func New(db *store.DB, shards message.Shards, o Options) *Stream {
	o.Retention = cmp.Or(o.Retention, 24*time.Hour)
	o.MaxLen = cmp.Or(o.MaxLen, 20_000)
	o.MinIdle = cmp.Or(o.MinIdle, 15*time.Second)
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	return &Stream{
		db: db, shards: shards, o: o, log: log, metrics: newMetrics(o.Registerer),
		watermark: db.Script(passedLua + watermarkLua),
		trim:      db.Script(passedLua + trimLua),
		bury:      db.Script(buryLua),
		retire:    db.Script(retireLua),
		meet:      db.Script(meetLua),
		hear:      db.Script(hearLua),
		appends:   db.NewBatch(0),
	}
}

// DeadKey is the Redis key of the stream of a shard's entries that nobody could handle.
func DeadKey(s message.Shard) string { return s.Key("events:dead") }

// QuarantineKey is the Redis key of the stream of signed webhook bodies that are not JSON.
func QuarantineKey() string { return message.Shard(0).Key("quarantine") }

// WatermarkKey is the Redis key of a shard's watermark: Unix milliseconds as a decimal.
func WatermarkKey(s message.Shard) string { return s.Key("watermark") }

// gapsKey is a shard's hash of what groups missed and were not yet told; see trim.lua.
func gapsKey(s message.Shard) string { return s.Key("events:gaps") }

// Append writes events to the streams of their numbers, or of their accounts where they have
// no number. It returns nil only when Redis confirmed every one of them; after an error any
// of them may have been written.
func (s *Stream) Append(ctx context.Context, events []message.Event) error {
	if len(events) == 0 {
		return nil
	}
	entries := make([]*redis.XAddArgs, len(events))
	for i, e := range events {
		text, err := encode(e)
		if err != nil {
			return fmt.Errorf("encode event: %w", err)
		}
		shard := s.shards.Of(cmp.Or(e.Number, e.WABA))
		entries[i] = &redis.XAddArgs{Stream: shard.StreamKey(), Values: []any{field, text}}
	}
	err := s.appends.Do(ctx, func(p redis.Pipeliner) {
		for _, e := range entries {
			p.XAdd(ctx, e)
		}
	})
	if err != nil {
		return fmt.Errorf("append events: %w", err)
	}
	return nil
}

// encode writes an event as JSON. Meta goes in as it is: it is JSON already, and the most of it.
func encode(e message.Event) ([]byte, error) {
	e.Version = cmp.Or(e.Version, message.EventVersion)
	meta := e.Meta
	e.Meta = nil
	text, err := json.Marshal(e)
	if err != nil || len(meta) == 0 {
		return text, err
	}
	text = append(text[:len(text)-1], `,"meta":`...)
	return append(append(text, meta...), '}'), nil
}

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

// decode reads the event out of an entry's fields.
func decode(values map[string]any) (message.Event, error) {
	var e message.Event
	text, ok := values[field].(string)
	if !ok {
		return e, fmt.Errorf("no field %q", field)
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return e, fmt.Errorf("not an event: %w", err)
	}
	return e, nil
}
