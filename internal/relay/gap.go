package relay

import (
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
)

// missed notes that entries were dropped before they were read. first is the oldest entry that is available; empty: none.
// The gap event follows with the next entry. Until the target has it, the position stays before the gap, so that a worker
// that takes over finds the gap again.
func (c *courier) missed(p *part, r *reading, first string, now time.Time) {
	ms, n := splitEntry(r.next.Entry)
	if ms < r.from {
		ms, n = r.from, -1
	}
	r.gap = fmt.Sprintf("%d-%d", ms, n+1)
	end, _ := splitEntry(first)
	p.gaps++
	p.gapFrom, p.gapTo = ms, cmp.Or(end, now.UnixMilli())
	c.metrics.missed.Inc()
	c.log.Error("events were dropped before they were relayed", slog.String("target", c.target.Name), slog.String("stream", r.key), slog.Time("from", time.UnixMilli(p.gapFrom)), slog.Time("to", time.UnixMilli(p.gapTo)))
	r.next, r.stale = events.Place{}, true
}

// gap returns the item of the gap before a line; nil: the target does not get gap events.
func (c *courier) gap(p *part, r *reading, next events.Line) *item {
	e := message.Event{
		Version: message.EventVersion, Type: message.EventGap, At: time.Now().UnixMilli(),
		Gap: &message.Gap{Target: c.target.Name, Stream: r.key, From: r.gap, To: next.Place.Entry},
	}
	if !c.prepare(c.target).wantsOwn(&e) {
		return nil
	}
	text, _ := json.Marshal(e) // strings and numbers: cannot fail
	ms, n := splitEntry(next.Place.Entry)
	before := events.Place{Entry: fmt.Sprintf("%d-%d", ms, n-1), Count: next.Place.Count - 1}
	if n == 0 {
		before.Entry = fmt.Sprintf("%d-%d", ms-1, math.MaxInt64)
	}
	return &item{
		line:    events.Line{Key: r.key, Shard: p.shard, Place: before, Text: string(text), Event: e},
		relayed: cloudapi.Relayed{Event: e}, group: "g" + r.key, written: time.UnixMilli(ms),
	}
}
