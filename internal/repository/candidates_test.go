package repository

import (
	"testing"
	"time"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/send"
)

// TestCandidate: a task is sent only when it is the message's latest one, the message waits, its time has
// come, and its deadline has not passed.
func TestCandidate(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_000_000)
	queued := func(change func(r *record.Record)) *record.Record {
		r := &record.Record{}
		r.State, r.Task, r.ExpiresAt, r.Template, r.Recipient = message.Queued, 2, now.Add(time.Minute), "sale/en", "12345678"
		if change != nil {
			change(r)
		}
		return r
	}
	for name, tt := range map[string]struct {
		r    *record.Record
		task int
		want dispatch.Verdict
		at   time.Time
	}{
		"ready":                {queued(nil), 2, dispatch.Sendable, time.Time{}},
		"an earlier task":      {queued(nil), 1, dispatch.Void, time.Time{}},
		"ended":                {queued(func(r *record.Record) { r.State = message.Cancelled }), 2, dispatch.Void, time.Time{}},
		"no record":            {&record.Record{}, 0, dispatch.Void, time.Time{}},
		"expired":              {queued(func(r *record.Record) { r.ExpiresAt = now }), 2, dispatch.Void, time.Time{}},
		"too early":            {queued(func(r *record.Record) { r.NextAt = now.Add(time.Second) }), 2, dispatch.NotYet, now.Add(time.Second)},
		"its time has come":    {queued(func(r *record.Record) { r.NextAt = now }), 2, dispatch.Sendable, time.Time{}},
		"in an attempt":        {queued(func(r *record.Record) { r.State = message.Attempting }), 2, dispatch.NotYet, now.Add(send.BusyWait)},
		"in doubt of its task": {queued(func(r *record.Record) { r.State = message.InDoubt }), 2, dispatch.Void, time.Time{}},
	} {
		got := candidate(tt.r, tt.task, now)
		if got.Verdict != tt.want || !got.At.Equal(tt.at) {
			t.Errorf("%s: %+v, want %v at %s", name, got, tt.want, tt.at)
		}
		if got.Verdict == dispatch.Sendable && (got.Template != "sale/en" || string(got.Recipient[:]) != "12345678" || got.Known != tt.r) {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

// TestAttempting: messages that were in an attempt are returned once, to the caller that asks for their shard.
func TestAttempting(t *testing.T) {
	t.Parallel()
	c := &Candidates{shards: message.DefaultShards}
	const one, other = "106540352242922", "1" // of two shards
	c.suspect(message.NewID(one, "a"))
	c.suspect(message.NewID(other, "a"))
	for range 2 {
		c.suspect(message.NewID(other, "b"))
	}
	shard := []message.Shard{message.DefaultShards.Of(other)}
	if got := c.Attempting(shard); len(got) != 2 {
		t.Errorf("%q, want both messages of %s", got, other)
	}
	if got := c.Attempting(shard); len(got) != 0 {
		t.Errorf("again: %q", got)
	}
	if got := c.Attempting(message.DefaultShards.All()); len(got) != 1 || got[0] != message.NewID(one, "a") {
		t.Errorf("all: %q", got)
	}
}
