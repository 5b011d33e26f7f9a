package repository

import (
	"context"
	"time"

	"sluice/internal/content"
	"sluice/internal/conversations"
	"sluice/internal/dispatch"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
)

// maxConversationWait is the longest pause between two looks at a message that waits for a conversation. Usually none is needed:
// a webhook says that the conversation has another owner. Its message may have been fetched at that moment.
const maxConversationWait = 10 * time.Minute

// elsewhere puts off the service messages in out whose conversations another app owns, so that they use no slot. The records are
// those of out. It is one round trip, or none for a number that no other app shares.
func (c *Candidates) elsewhere(ctx context.Context, all []record.Record, out []dispatch.Candidate, now time.Time) error {
	var asked []conversations.Conversation
	var of []int
	for i := range all {
		r := &all[i]
		if out[i].Verdict != dispatch.Sendable || r.Template != "" || out[i].Recipient == (ratelimit.Recipient{}) || !c.owners.Shared(r.From) || !c.waits(r.From) {
			continue
		}
		if _, service := content.Addressee(r.Payload); !service {
			continue
		}
		asked, of = append(asked, conversations.Conversation{Number: r.From, Person: out[i].Recipient}), append(of, i)
	}
	until, err := c.owners.Elsewhere(ctx, asked)
	if err != nil {
		return err
	}
	for i, end := range until {
		if end.IsZero() {
			continue
		}
		o := &out[of[i]]
		o.Verdict, o.At = dispatch.Elsewhere, now.Add(min(max(now.Sub(o.Accepted)/4, minNamedWait), maxConversationWait))
		if end.Before(o.At) {
			o.At = end
		}
	}
	return nil
}
