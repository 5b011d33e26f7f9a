// Package record has the rules of a message's life: what is stored of a message, which changes of it are
// allowed, and what follows from a change. It uses neither Redis nor a clock, so each rule can be tested alone,
// and random sequences of all rules too.
package record

import (
	"slices"
	"time"

	"sluice/internal/message"
)

// Record is everything stored about a message. The zero value is no record.
type Record struct {
	message.Record // the part that people see

	Hash      string   // of the request that created it; empty without a key
	Token     string   // of the running attempt: "<worker>/<sequence>"
	Failures  int      // earlier attempts that count against the budget
	Resends   int      // resends by policy
	Proven    int      // of the attempts from the first to this one it is proven that Meta did not deliver the message
	Published bool     // the final event of this life is published, although the state is not final
	Others    []string // further ids that Meta gave the message: proven duplicates
	Refused   []string // Meta's ids of attempts that Meta accepted and then reported as failed
	Recipient string   // identifies number and recipient, for the pair limit; deleted with the payload
	Payload   string   // Meta's message object; empty when nothing more will be sent
	Other     string   // the payload with the fallback template; empty: there is none

	ReadyAt time.Time // since when the message can be sent, if that is not AcceptedAt; see Ready

	Billed        string    // the category for which Meta charges, once a status said so
	Price         int       // what the message costs at Meta by an estimate, in millionths of the currency of the prices; 0: unknown
	SpentAt       time.Time // since when Spent counts
	Spent         int       // what of it counts as spent: Price since the first attempt, 0 if Meta does not charge, and what Meta charges once it said so
	Account       string    // WhatsApp Business Account id, once known
	RecipientHash string    // keyed hash of the recipient, to find messages of a recipient; empty: not indexed

	size    int    // length of the stored form; see Version
	unknown []byte // fields of a newer version, stored unchanged
}

// maxSteps is how many steps a timeline keeps.
const maxSteps = 20

// maxOthers is how many further ids of Meta's a record keeps; Duplicates counts all.
const maxOthers = 20

// New returns the record of a message that was accepted at a time.
func New(m message.Message, recipient string, at time.Time) Record {
	at, next := milli(at), milli(m.SendAt)
	if m.After.ID != "" {
		next = milli(m.AfterBy)
		if m.ExpiresAt.Before(next) {
			next = milli(m.ExpiresAt)
		}
	}
	r := Record{
		Record: message.Record{
			Context: m.Context(), State: message.Queued, AcceptedAt: at, ExpiresAt: milli(m.ExpiresAt),
			NextAt: next, After: m.After, Timeline: []message.Step{{At: at, State: message.Queued}},
		},
		Hash: m.Hash, Recipient: recipient, Payload: string(m.Payload), Other: string(m.Fallback.Payload), Price: m.Price,
	}
	r.SendAt = r.sendAt()
	r.ReadyAt = r.SendAt
	return r
}

// Ready returns since when the message can be sent, apart from holds: since it was accepted, or since the time that its
// caller asked for, the message that it waited for reached the state, or an operator sent it again. A retry does not
// change it.
func (r *Record) Ready() time.Time {
	if r.ReadyAt.IsZero() {
		return r.AcceptedAt
	}
	return r.ReadyAt
}

// Replace lets the record replace another stored record, which is of no further use.
func (r *Record) Replace(old Record) { r.size = old.size }

// milli returns a time as it is stored, so that the writer and the readers of a record decide alike.
func milli(t time.Time) time.Time {
	if t.IsZero() {
		return t
	}
	return time.UnixMilli(t.UnixMilli()).UTC()
}

// Exists reports whether there is a record.
func (r *Record) Exists() bool { return r.State != "" }

// Incarnation distinguishes this record from an earlier one of the same id whose life has ended: Unix
// milliseconds of its acceptance.
func (r *Record) Incarnation() int64 { return r.AcceptedAt.UnixMilli() }

// Since returns when the record came into its state.
func (r *Record) Since() time.Time {
	if len(r.Timeline) == 0 {
		return r.AcceptedAt
	}
	return r.Timeline[len(r.Timeline)-1].At
}

// Worker returns the worker whose attempt is running; empty when none is.
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

// Open returns the record for the decisions about open messages.
func (r *Record) Open() message.Open {
	return message.Open{
		ID: r.ID, Message: r.Context, State: r.State, Reason: r.Reason, N: r.Attempt, K: r.Task, Accepted: r.Incarnation(), Worker: r.Worker(),
		Began: r.began(), Since: r.Since(), ExpiresAt: r.ExpiresAt, NextAt: r.NextAt, Resent: r.Resends, Failures: r.Failures,
		After: r.After, MovedTo: r.MovedTo,
	}
}

// began returns when the latest attempt began; zero when the timeline does not show it.
func (r *Record) began() time.Time {
	for _, s := range slices.Backward(r.Timeline) {
		if s.State == message.Attempting {
			return s.At
		}
	}
	return time.Time{}
}

// step adds the present state to the timeline.
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

// sendAt returns the time that the caller asked for, while the message waits for it.
func (r *Record) sendAt() time.Time {
	if r.State == message.Queued && r.Attempt == 0 && !r.Waits() {
		return r.NextAt
	}
	return time.Time{}
}

// addWAMID records an id that Meta gave the message. It returns whether the id is new, and whether it proves
// a second acceptance.
func (r *Record) addWAMID(wamid string) (added, duplicate bool) {
	switch {
	case wamid == "" || wamid == r.WAMID || slices.Contains(r.Others, wamid) || slices.Contains(r.Refused, wamid):
		return false, false
	case r.WAMID == "" || slices.Contains(r.Refused, r.WAMID): // the first one was not delivered: no duplicate
		r.WAMID = wamid
		return true, false
	}
	r.Duplicates++
	if len(r.Others) < maxOthers {
		r.Others = append(slices.Clip(r.Others), wamid)
	}
	return true, true
}

// addRefused records that the message with this id of Meta's, or else with its present id, was not delivered.
func (r *Record) addRefused(wamid string) {
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
