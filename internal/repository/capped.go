package repository

import (
	"cmp"
	"context"

	"sluice/internal/dispatch"
	"sluice/internal/frequency"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
)

// capped finds the messages in out with which their recipients would get more than the caps of the client allow, so that they use no slot. The
// others are counted: it comes last. The records are those of out. It is one round trip, or none without a client that has caps.
func (c *Candidates) capped(ctx context.Context, all []record.Record, out []dispatch.Candidate) error {
	var asked []frequency.Message
	var of []int
	for i := range all {
		r := &all[i]
		if out[i].Verdict != dispatch.Sendable || out[i].Recipient == (ratelimit.Recipient{}) || !c.caps.Concern(r.Client, r.Class) {
			continue
		}
		counted := cmp.Or(r.MovedFrom, r.ID) // a worker may have counted it before it was moved to this number
		asked = append(asked, frequency.Message{ID: counted, Client: r.Client, Number: r.From, Class: r.Class, Recipient: recipientIn(r.Payload)})
		of = append(of, i)
	}
	may, err := c.caps.Admit(ctx, asked)
	for i, is := range may {
		if !is {
			o := &out[of[i]]
			o.Verdict, o.Why = dispatch.Suppressed, message.ReasonFrequency
		}
	}
	return err
}
