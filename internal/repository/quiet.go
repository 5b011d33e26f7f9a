package repository

import (
	"context"
	"time"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/quiethours"
	"sluice/internal/record"
)

// quietly puts off the messages in out that quiet hours keep, so that they use no slot. It decides at each fetch, so also before each
// retry. The records are those of out.
func (c *Candidates) quietly(all []record.Record, out []dispatch.Candidate, now time.Time) {
	for i := range all {
		if out[i].Verdict != dispatch.Sendable {
			continue
		}
		if end := quietUntil(c.quiet, &all[i], now); !end.IsZero() {
			out[i].Verdict, out[i].At = dispatch.NotYet, end
		}
	}
}

// quietUntil returns when the quiet hours end that keep a message at a time; zero: none does.
func quietUntil(rules *quiethours.Rules, r *record.Record, now time.Time) time.Time {
	m := quiethours.Message{Client: r.Client, Number: r.From, Campaign: r.Campaign, Class: r.Class}
	if !rules.Concern(m) {
		return time.Time{}
	}
	m.Recipient = recipientIn(r.Payload)
	return rules.Until(m, now)
}

// quietUntil returns when the quiet hours end that keep a message; zero: none does.
func (wt *Waiting) quietUntil(ctx context.Context, r message.Record) (time.Time, error) {
	if !wt.o.Quiet.Concern(quiethours.Message{Client: r.Client, Number: r.From, Campaign: r.Campaign, Class: r.Class}) {
		return time.Time{}, nil
	}
	stored, err := wt.o.Records.Read(ctx, r.ID)
	if err != nil {
		return time.Time{}, err
	}
	return quietUntil(wt.o.Quiet, &stored, time.Now()), nil
}
