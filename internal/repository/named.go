package repository

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/content"
	"sluice/internal/dispatch"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
)

// Named translates the ids of Sluice with which messages name other messages of their number: a reply, a reaction. It
// is safe for concurrent use.
type Named struct{ records *ledger.Ledger }

// NewNamed returns a Named that reads records.
func NewNamed(records *ledger.Ledger) Named { return Named{records} }

// Translate returns a stored message of a number with Meta's ids. It returns message.ErrNamedWaits if Meta has not
// accepted one of the named messages yet, or if Redis does not answer, and message.ErrNamedNotSent if one ended without
// an id of Meta's, or has no record.
func (n Named) Translate(ctx context.Context, number string, object []byte) ([]byte, error) {
	ids := content.Named(string(object), number)
	if len(ids) == 0 {
		return object, nil
	}
	named, err := n.records.Progress(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", message.ErrNamedWaits, err)
	}
	theirs := map[string]string{}
	for i, r := range named {
		switch {
		case r.WAMID != "":
			theirs[ids[i]] = r.WAMID
		case waitsForID(r):
			return nil, message.ErrNamedWaits
		default:
			return nil, message.ErrNamedNotSent
		}
	}
	return content.Rename(object, theirs), nil
}

// waitsForID reports whether Meta may still give an id to a message.
func waitsForID(r message.Record) bool {
	return r.State != "" && r.WAMID == "" && r.KeyUntil.IsZero() && (r.State.Sendable() || !r.State.Final())
}

// The pauses between two looks at a message that another one names grow with the age of the other one.
const (
	minNamedWait = time.Second
	maxNamedWait = time.Minute
)

// putOff puts off the messages in out that name a message without an id of Meta's, so that they use no slot. The
// records are those of out.
func (c *Candidates) putOff(ctx context.Context, shard message.Shard, all []record.Record, out []dispatch.Candidate, now time.Time) error {
	var ids []string
	var of []int // the index of the record that names each id
	for i := range all {
		if out[i].Verdict != dispatch.Sendable {
			continue
		}
		for _, id := range content.Named(all[i].Payload, all[i].From) {
			ids, of = append(ids, id), append(of, i)
		}
	}
	named, _, err := c.records.ReadReadable(ctx, shard, ids)
	if err != nil {
		return err
	}
	for i := range named {
		if waitsForID(named[i].Record) {
			wait := min(max(now.Sub(all[of[i]].AcceptedAt)/4, minNamedWait), maxNamedWait)
			out[of[i]] = dispatch.Candidate{Verdict: dispatch.NotYet, At: now.Add(wait)}
		}
	}
	return nil
}
