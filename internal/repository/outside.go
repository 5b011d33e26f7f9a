package repository

import (
	"context"
	"time"

	"sluice/internal/content"
	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/servicewindow"
)

// outside finds the free-form messages in out whose recipients have a closed customer service window, so that they use no slot. The
// records are those of out. It is one round trip, or none for numbers that do not track the windows.
func (c *Candidates) outside(ctx context.Context, all []record.Record, out []dispatch.Candidate) error {
	var asked []servicewindow.Query
	var of []int
	for i := range all {
		r := &all[i]
		if out[i].Verdict != dispatch.Sendable || r.Template != "" || !c.windows.Tracked(r.From) {
			continue
		}
		if to, service := content.Addressee(r.Payload); service && to != "" {
			asked, of = append(asked, servicewindow.Query{Number: r.From, Recipient: to}), append(of, i)
		}
	}
	closed, err := c.windows.Closed(ctx, asked)
	for i, is := range closed {
		if is {
			o := &out[of[i]]
			o.Verdict, o.Why = dispatch.Outside, message.ReasonWindow
		}
	}
	return err
}

// window returns the customer service window of the recipient of a free-form message, and when it closes; empty: the number does not track it.
func (wt *Waiting) window(ctx context.Context, r message.Record) (w message.Window, ends time.Time, err error) {
	if r.Template != "" || !wt.o.Windows.Tracked(r.From) {
		return "", ends, nil
	}
	stored, err := wt.named.records.Read(ctx, r.ID)
	if err != nil {
		return "", ends, err
	}
	to, service := content.Addressee(stored.Payload)
	if !service || to == "" {
		return "", ends, nil
	}
	asked := []servicewindow.Query{{Number: r.From, Recipient: to}}
	all, err := wt.o.Windows.Ends(ctx, asked)
	if err != nil {
		return "", ends, err
	}
	if !all[0].IsZero() {
		return message.WindowOpen, all[0], nil
	}
	closed, err := wt.o.Windows.Closed(ctx, asked)
	if err == nil && closed[0] {
		return message.WindowClosed, ends, nil
	}
	return message.WindowUnknown, ends, err
}

// ending returns how a message ends that its recipient must not get, for a reason: with its fallback template in its place, if that may be.
func ending(r *record.Record, reason string) message.Move {
	switch {
	case reason != message.ReasonWindow:
		return message.Move{To: message.Cancelled, Reason: reason}
	case r.MayFallBack():
		return message.Move{To: message.Queued, Reason: message.ReasonFallback, Fallback: true}
	}
	return message.Move{To: message.Rejected, Reason: reason, Keep: true} // an operator may send it when the person has written again
}
