package record

import (
	"time"

	"sluice/internal/message"
)

// A tombstone stands in the place of a record whose life is over, so that the message's key outlives
// the record: whoever repeats the request learns what became of the message, and another message cannot
// take its id. It is small, because there are many of them: it has what tells a repeat from another
// message, the last state, and what an event needs to name the message.

// Tombstone tells whether the record is one.
func (r *Record) Tombstone() bool { return !r.KeyUntil.IsZero() }

// Entomb returns the tombstone of the record, which is to be dropped at a time. A report of Meta's still
// raises its state; nothing else changes it. Its stored form is not as long as that of the record.
func (r Record) Entomb(until time.Time) Record {
	t := Record{
		Record: message.Record{
			Context: message.Context{ID: r.ID, From: r.From, Class: r.Class, Type: r.Type, To: r.To, Ref: r.Ref},
			State:   r.State, Reason: r.Reason, Code: r.Code, Attempt: r.Attempt, Duplicates: r.Duplicates,
			AcceptedAt: r.AcceptedAt, ExpiresAt: r.ExpiresAt, KeyUntil: milli(until),
		},
		Hash: r.Hash,
	}
	if n := len(r.Timeline); n > 0 {
		t.Timeline = []message.Step{r.Timeline[n-1]}
	}
	if t.Encode(); t.size != r.size {
		t.size = 0 // else the next form is longer
	}
	return t
}
