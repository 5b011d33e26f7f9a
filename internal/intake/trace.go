package intake

import (
	"context"
	"net/http"
	"time"

	"sluice/internal/message"
	"sluice/internal/tracing"
)

// acceptTraced accepts the message of a request, whose trace the message continues.
func (in *Intake) acceptTraced(r *http.Request, header http.Header, m *message.Message, now time.Time) (message.Acceptance, refusal) {
	span := in.o.Tracer.Of(r.Context())
	if !span.On() {
		return in.accept(r.Context(), header, m, now)
	}
	m.Trace = span.Traceparent()
	a, refused := in.accept(r.Context(), header, m, now)
	l := line{accepted: a, refused: refused}
	begun(span, m)
	l.ended(span)
	return a, refused
}

// traceLines begins a trace for each message of a group, linked to the span of the request: a batch in one trace would have too many
// spans. The function that it returns ends the spans.
func (in *Intake) traceLines(ctx context.Context, g *group) (end func()) {
	if in.o.Tracer == nil {
		return func() {}
	}
	spans := make([]tracing.Span, len(g.lines))
	for i := range g.lines {
		if l := &g.lines[i]; l.refused == nil {
			m := &g.messages[l.message]
			spans[i] = in.o.Tracer.Root(ctx, "accept", tracing.Producer)
			m.Trace = spans[i].Traceparent()
			begun(spans[i], m)
		}
	}
	return func() {
		for i, span := range spans {
			g.lines[i].ended(span)
			span.End()
		}
	}
}

// begun sets what is known of a message before it is accepted.
func begun(span tracing.Span, m *message.Message) {
	if span.On() {
		span.Set("message_id", m.ID, "phone_number_id", m.From)
	}
}

// ended sets the result of a line.
func (l *line) ended(span tracing.Span) {
	if span.On() {
		span.Set("result", l.result(), "class", l.accepted.Class)
	}
}
