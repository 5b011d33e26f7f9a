package repository

import (
	"context"
	"log/slog"
	"sync"

	"golang.org/x/sync/errgroup"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
	"sluice/internal/suppression"
)

// suppressed finds the messages in out whose recipients opted out, so that they use no slot. The records are those of out. It is one round
// trip, or none if no message of a class concerned has a client whose suppression list has entries.
func (c *Candidates) suppressed(ctx context.Context, all []record.Record, out []dispatch.Candidate) error {
	var asked []suppression.Query
	var of []int
	for i := range all {
		r := &all[i]
		if out[i].Verdict != dispatch.Sendable || out[i].Recipient == (ratelimit.Recipient{}) || !c.optOuts.Concerns(r.Context) {
			continue
		}
		asked, of = append(asked, suppression.Query{Client: r.Client, Number: r.From, Recipient: recipientIn(r.Payload)}), append(of, i)
	}
	found, err := c.optOuts.Find(ctx, asked)
	for i, one := range found {
		if one != nil {
			o := &out[of[i]]
			o.Verdict, o.Why = dispatch.Suppressed, message.ReasonSuppressed
		}
	}
	return err
}

// Suppressed ends messages to recipients who opted out, had as many as the caps allow, or have a closed customer service window. It is safe
// for concurrent use.
type Suppressed struct {
	Messages *Messages
	Count    func(reason string, to message.State, c message.Class) // is called for each changed message
	Log      *slog.Logger
}

// cancelsAtOnce is how many messages are cancelled at the same time. They share transactions.
const cancelsAtOnce = 64

// Cancel ends messages, or gives them their fallback templates, see dispatch.Options.
func (s Suppressed) Cancel(ctx context.Context, some []dispatch.Candidate) []bool {
	done := make([]bool, len(some))
	var g errgroup.Group
	g.SetLimit(cancelsAtOnce)
	var failed sync.Once
	for i, c := range some {
		r, ok := c.Known.(*record.Record)
		if !ok {
			continue
		}
		g.Go(func() error {
			m := ending(r, c.Why)
			changed, err := s.Messages.Move(ctx, r.Open(), m)
			if err != nil {
				failed.Do(func() {
					s.Log.Warn("cannot end a message that its recipient must not get, it is not sent, will retry", "message_id", r.ID, "err", err)
				})
				return nil
			}
			if done[i] = changed; changed {
				s.Count(c.Why, m.To, r.Class)
			}
			return nil
		})
	}
	g.Wait()
	return done
}
