package record

import (
	"time"

	"sluice/internal/message"
)

// A tombstone replaces a record whose life has ended, so the message's key outlives the record: a repeated
// request gets the last state of the message, and another message cannot get its id. It is small, because there are
// many tombstones. It has what distinguishes a repeated request from another message, the last state, and what an
// event needs to name the message.

// Tombstone reports whether the record is a tombstone.
func (r *Record) Tombstone() bool { return !r.KeyUntil.IsZero() }

// ToTombstone returns the tombstone of the record, which can be deleted at a time. A status from Meta still
// raises its state; nothing else changes it. Its stored form has another length than that of the record.
func (r Record) ToTombstone(until time.Time) Record {
	t := Record{
		Record: message.Record{
			Context: message.Context{ID: r.ID, From: r.From, Class: r.Class, Type: r.Type, To: r.To, Ref: r.Ref, Client: r.Client, MovedFrom: r.MovedFrom},
			State:   r.State, Reason: r.Reason, Code: r.Code, Attempt: r.Attempt, Duplicates: r.Duplicates,
			AcceptedAt: r.AcceptedAt, ExpiresAt: r.ExpiresAt, KeyUntil: milli(until), MovedTo: r.MovedTo,
		},
		Hash: r.Hash,
	}
	if n := len(r.Timeline); n > 0 {
		t.Timeline = []message.Step{r.Timeline[n-1]}
	}
	if t.Encode(); t.size != r.size {
		t.size = 0 // otherwise the next form is longer
	}
	return t
}
