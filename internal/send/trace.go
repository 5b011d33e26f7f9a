package send

import (
	"context"
	"time"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

// No span has the recipient or a text, or Meta's id of the message, which contains the recipient. The request to Meta has no
// traceparent: Meta takes no part in the traces of others.

// tracePost makes the span of a request to Meta that was written at start and has ended now.
func (s *Sender) tracePost(ctx context.Context, start time.Time, q message.Request, out message.Outcome) {
	span := s.o.Tracer.Child(ctx, "POST /{phone_number_id}/"+string(q.Route()), tracing.Client, start)
	if span.On() {
		span.Set("graph_version", q.Version, "outcome", out.Kind, "code", out.Code)
		fail(span, out)
		span.End()
	}
}

// traceAttempt sets the attributes of the span of ctx, an attempt whose request was written at start.
func (s *Sender) traceAttempt(ctx context.Context, a message.Attempt, out message.Outcome, m message.Move, start time.Time) {
	span := s.o.Tracer.Of(ctx)
	if !span.On() {
		return
	}
	span.Set("message_id", a.ID, "phone_number_id", a.Message.From, "class", a.Message.Class, "attempt", a.N,
		"outcome", out.Kind, "code", out.Code, "reason", out.Reason, "state", m.To, "next_in_seconds", m.In.Seconds(),
		// Of the clocks of two machines.
		"since_accepted_seconds", max(0, start.Sub(time.UnixMilli(a.Accepted)).Seconds()))
	fail(span, out)
}

func fail(span tracing.Span, out message.Outcome) {
	if out.Kind != message.Accepted {
		span.Fail(string(out.Kind))
	}
}
