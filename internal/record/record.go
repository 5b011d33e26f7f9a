// Package record owns the rules of a message's life: what is stored of a message, which change of
// it is allowed, and what follows from a change. It is pure: it knows no Redis and no clock, so
// that each rule can be tested by itself and by random sequences of all of them.
package record

import (
	"slices"
	"time"

	"sluice/internal/message"
)

// Record is all that is stored of a message. The zero value is no record.
type Record struct {
	message.Record // what people see of it

	Hash      string   // of the request that made it; empty when it had no key
	Token     string   // of the attempt under way: "<worker>/<sequence>"
	Failures  int      // earlier attempts that count against the budget
	Resends   int      // resends by policy
	Others    []string // further ids that Meta gave it: proven duplicates
	Refused   []string // Meta's ids of attempts that Meta accepted and then reported as failed
	Recipient string   // names number and recipient, for the limit of the pair; dropped with the payload
	Payload   string   // Meta's message object; empty once nothing will be sent

	Account       string // WhatsApp Business Account id, once known
	Trace         string // trace id of the request that made it
	RecipientHash string // keyed hash of the recipient, to find messages by

	size    int    // length of the stored form; see Version
	unknown []byte // fields of a newer version, kept as they are
}

// maxSteps is how many steps a timeline keeps.
const maxSteps = 20

// maxOthers is how many further ids of Meta's a record keeps; Duplicates counts on.
const maxOthers = 20

// New returns the record of a message that is accepted at a time.
func New(m message.Message, recipient string, at time.Time) Record {
	at, next := milli(at), milli(m.SendAt)
	return Record{
		Record: message.Record{
			Context: m.Context(), State: message.Queued, AcceptedAt: at, SendAt: next, ExpiresAt: milli(m.ExpiresAt),
			NextAt: next, Timeline: []message.Step{{At: at, State: message.Queued}},
		},
		Hash: m.Hash, Recipient: recipient, Payload: string(m.Payload),
	}
}

// Replace lets the record be stored in the place of another, which was of no use any more.
func (r *Record) Replace(old Record) { r.size = old.size }

// milli returns a time as it is stored, so that who made a record and who reads it decide alike.
func milli(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// Exists tells whether there is a record.
func (r *Record) Exists() bool { return r.State != "" }

// Incarnation tells this record from an earlier one of the same id, whose time is over: Unix
// milliseconds of its acceptance.
func (r *Record) Incarnation() int64 { return r.AcceptedAt.UnixMilli() }

// Since is when the record came into its state.
func (r *Record) Since() time.Time {
	if len(r.Timeline) == 0 {
		return r.AcceptedAt
	}
	return r.Timeline[len(r.Timeline)-1].At
}

// Worker names the worker whose attempt is under way; empty when none is.
func (r *Record) Worker() string {
	if r.State != message.Attempting {
		return ""
	}
	for i := range len(r.Token) {
		if r.Token[i] == '/' {
			return r.Token[:i]
		}
	}
	return ""
}

// Open returns the record as those see it who decide about open messages.
func (r *Record) Open() message.Open {
	return message.Open{
		ID: r.ID, Message: r.Context, State: r.State, Reason: r.Reason, N: r.Attempt, K: r.Task, Accepted: r.Incarnation(), Worker: r.Worker(),
		Began: r.began(), Since: r.Since(), ExpiresAt: r.ExpiresAt, NextAt: r.NextAt, Resent: r.Resends, Failures: r.Failures, Code: r.Code,
	}
}

// began is when the latest attempt began; zero when the timeline does not say it.
func (r *Record) began() time.Time {
	for _, s := range slices.Backward(r.Timeline) {
		if s.State == message.Attempting {
			return s.At
		}
	}
	return time.Time{}
}

// step enters the present state into the timeline.
func (r *Record) step(at time.Time, attempt int, note string) {
	r.SendAt = r.sendAt()
	if n := len(r.Timeline) - maxSteps + 1; n > 0 {
		r.Timeline = r.Timeline[n:]
	}
	if r.Tombstone() {
		r.Timeline = nil
	}
	r.Timeline = append(slices.Clip(r.Timeline), message.Step{At: at, State: r.State, Attempt: attempt, Code: r.Code, Reason: note})
}

// sendAt is the time that the message's caller asked for, while it waits for that.
func (r *Record) sendAt() time.Time {
	if r.State == message.Queued && r.Attempt == 0 {
		return r.NextAt
	}
	return time.Time{}
}

// name notes what Meta calls the message: whether that was news, and whether it proves a second
// acceptance.
func (r *Record) name(wamid string) (news, duplicate bool) {
	switch {
	case wamid == "" || wamid == r.WAMID || slices.Contains(r.Others, wamid) || slices.Contains(r.Refused, wamid):
		return false, false
	case r.WAMID == "" || slices.Contains(r.Refused, r.WAMID): // the one was not delivered: no duplicate
		r.WAMID = wamid
		return true, false
	}
	r.Duplicates++
	if len(r.Others) < maxOthers {
		r.Others = append(slices.Clip(r.Others), wamid)
	}
	return true, true
}

// refused notes that what Meta calls so, or else the message by its present id, was not delivered.
func (r *Record) refused(wamid string) {
	if wamid == "" {
		wamid = r.WAMID
	}
	if wamid != "" && !slices.Contains(r.Refused, wamid) && len(r.Refused) < maxOthers {
		r.Refused = append(slices.Clip(r.Refused), wamid)
		r.Others = slices.DeleteFunc(slices.Clone(r.Others), func(o string) bool { return o == wamid })
	}
}

// WAMIDs returns all ids that Meta gave the message.
func (r *Record) WAMIDs() []string {
	all := slices.Clone(r.Refused)
	if r.WAMID != "" && !slices.Contains(all, r.WAMID) {
		all = append(all, r.WAMID)
	}
	return append(all, r.Others...)
}
