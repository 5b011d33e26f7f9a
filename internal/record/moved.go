package record

import (
	"cmp"
	"strconv"
	"time"

	"sluice/internal/message"
)

// When a number is removed, another number can send the messages that wait for it. The two records can be in different
// shards, so a message moves in three steps, each of which is one durable transaction:
//
//  1. MoveAway: the old record is cancelled, and has the id of the new one. It keeps its payload.
//  2. Successor: the new record is created, unless it exists.
//  3. Moved: the old record drops its payload.
//
// The id of the new record follows from the old record, so the steps 2 and 3 can be repeated. Moving finds the
// records for which they must be.

// MayMove reports whether another number may send the message: it waits, and it is certain that no attempt so far was
// delivered. A message without a template depends on its number, because Meta accepts it only within a conversation
// with that number, or in a group of it. So does a message that waits for another one, or for which another one waits.
func (r *Record) MayMove() bool {
	return r.State == message.Queued && r.Proven >= r.Attempt && r.Template != "" && r.Recipient != "" && !r.Waits() && len(r.Followers) == 0
}

// MoveAway returns the record after its message was moved to another number, and what to publish. MayMove must be true.
// There is no final event: the message that takes its place has one.
func (r Record) MoveAway(number string, at time.Time) (Record, Change) {
	// A key of a caller begins with another byte.
	r.MovedTo = message.NewID(number, "\x00"+r.ID+"\x00"+strconv.FormatInt(r.Incarnation(), 10))
	r.State, r.Reason, r.Code, r.Detail, r.Token = message.Cancelled, message.ReasonMoved, 0, message.ErrorDetail{}, ""
	r.Spent = 0
	r.step(milli(at), r.Attempt, r.Reason)
	return r, Change{Change: message.Change{To: r.State, Attempt: r.Attempt, Reason: r.Reason, MovedTo: r.MovedTo}}
}

// Moving reports whether the message that takes the place of this one is perhaps not accepted yet.
func (r *Record) Moving() bool {
	return r.State == message.Cancelled && r.MovedTo != "" && r.Payload != ""
}

// Successor is what a message that takes the place of another one has of its own.
type Successor struct {
	Account        string // the messaging account; empty: Meta chooses
	Recipient      string // identifies number and recipient
	RecipientHash  string
	Payload, Other []byte // signed for the new id
}

// Successor returns the record of the message that takes the place of r, which is accepted at a time.
func (r *Record) Successor(s Successor, at time.Time) Record {
	c := r.Context
	c.ID, c.MovedFrom, c.Account = r.MovedTo, r.ID, s.Account
	c.From, _ = message.Number(c.ID)
	n := Record{
		Record: message.Record{Context: c, State: message.Queued, AcceptedAt: milli(at), ExpiresAt: r.ExpiresAt},
		Hash:   cmp.Or(r.Hash, message.ReasonMoved), Recipient: s.Recipient, RecipientHash: s.RecipientHash, Price: r.Price, Payload: string(s.Payload), Other: string(s.Other),
	}
	if r.NextAt.After(at) {
		n.NextAt = r.NextAt
	}
	n.step(n.AcceptedAt, 0, message.ReasonMoved)
	n.ReadyAt = n.SendAt
	return n
}

// Moved returns the record after the message that takes its place was accepted.
func (r Record) Moved() Record {
	r.Payload, r.Recipient, r.Fallback, r.Other = "", "", "", ""
	r.Failures, r.NextAt, r.ReadyAt = 0, time.Time{}, time.Time{}
	return r
}
