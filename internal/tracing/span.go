package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// Kind is the role of a span.
type Kind trace.SpanKind

// The kinds of spans.
const (
	Producer = Kind(trace.SpanKindProducer) // stores a message for later
	Consumer = Kind(trace.SpanKindConsumer) // handles a stored message or status
	Client   = Kind(trace.SpanKindClient)   // waits for the answer of another system
)

const header = "traceparent"

var w3c propagation.TraceContext

// Span is a span that has begun. The zero Span is none: its methods do nothing. A span that is not ended is not exported.
type Span struct{ span trace.Span }

// On reports whether there is a span.
func (s Span) On() bool { return s.span != nil }

// Set adds attributes: names and values in turn. A name gets the prefix "sluice.".
func (s Span) Set(pairs ...any) {
	if s.span == nil {
		return
	}
	for i := 0; i+1 < len(pairs); i += 2 {
		key := attribute.Key("sluice." + pairs[i].(string))
		switch v := pairs[i+1].(type) {
		case int:
			s.span.SetAttributes(key.Int(v))
		case float64:
			s.span.SetAttributes(key.Float64(v))
		case bool:
			s.span.SetAttributes(key.Bool(v))
		default:
			s.span.SetAttributes(key.String(fmt.Sprint(v)))
		}
	}
}

// Fail marks the span as failed, with a short constant reason.
func (s Span) Fail(reason string) {
	if s.span != nil {
		s.span.SetStatus(codes.Error, reason)
	}
}

// End ends the span.
func (s Span) End() {
	if s.span != nil {
		s.span.End()
	}
}

// Traceparent returns the span in the form of the W3C header; empty: there is none.
func (s Span) Traceparent() string {
	if s.span == nil {
		return ""
	}
	c := s.span.SpanContext()
	return "00-" + c.TraceID().String() + "-" + c.SpanID().String() + "-01"
}

// Of returns the span of ctx, if it is sampled.
func (t *Tracer) Of(ctx context.Context) Span {
	if t == nil {
		return Span{}
	}
	return recording(trace.SpanFromContext(ctx))
}

// recording returns a span if it is sampled. Otherwise it needs no attributes.
func recording(s trace.Span) Span {
	if !s.IsRecording() {
		return Span{}
	}
	return Span{s}
}

// Continue begins a span in the trace of a traceparent, which may be empty: then there is no span. A zero start is now.
func (t *Tracer) Continue(ctx context.Context, traceparent, name string, kind Kind, start time.Time) (context.Context, Span) {
	if t == nil || traceparent == "" {
		return ctx, Span{}
	}
	return t.begin(w3c.Extract(ctx, propagation.MapCarrier{header: traceparent}), name, kind, start)
}

// Child begins a span below the one of ctx; without that one there is none. A zero start is now.
func (t *Tracer) Child(ctx context.Context, name string, kind Kind, start time.Time) Span {
	if !t.Of(ctx).On() {
		return Span{}
	}
	_, s := t.begin(ctx, name, kind, start)
	return s
}

// Root begins a span with a trace of its own, which is linked to the span of ctx if there is one.
func (t *Tracer) Root(ctx context.Context, name string, kind Kind) Span {
	if t == nil {
		return Span{}
	}
	o := []trace.SpanStartOption{trace.WithNewRoot()}
	if trace.SpanContextFromContext(ctx).IsValid() {
		o = append(o, trace.WithLinks(trace.LinkFromContext(ctx)))
	}
	_, s := t.begin(ctx, name, kind, time.Time{}, o...)
	return s
}

func (t *Tracer) begin(ctx context.Context, name string, kind Kind, start time.Time, o ...trace.SpanStartOption) (context.Context, Span) {
	o = append(o, trace.WithSpanKind(trace.SpanKind(kind)))
	if !start.IsZero() {
		o = append(o, trace.WithTimestamp(start))
	}
	ctx, s := t.tracer.Start(ctx, name, o...)
	return ctx, recording(s)
}

// Handler returns h with a span for each request of a method and a route. With join the span is part of the trace of the
// caller. Without a tracer Handler returns h.
func (t *Tracer) Handler(method, route string, join bool, h http.HandlerFunc) http.HandlerFunc {
	if t == nil {
		return h
	}
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		if join {
			ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
		}
		ctx, s := t.tracer.Start(ctx, method+" "+route, trace.WithSpanKind(trace.SpanKindServer),
			trace.WithAttributes(attribute.String("http.request.method", method), attribute.String("http.route", route)))
		defer s.End()
		answer := &statusWriter{ResponseWriter: w, status: http.StatusOK}
		h(answer, r.WithContext(ctx))
		s.SetAttributes(attribute.Int("http.response.status_code", answer.status))
		if answer.status >= http.StatusInternalServerError {
			s.SetStatus(codes.Error, "")
		}
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	status int
}

// WriteHeader implements http.ResponseWriter.
func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Observe observes a value, with the trace of ctx as its exemplar if that is sampled.
func Observe(ctx context.Context, o prometheus.Observer, value float64) {
	if c := trace.SpanContextFromContext(ctx); c.IsSampled() {
		o.(prometheus.ExemplarObserver).ObserveWithExemplar(value, prometheus.Labels{"trace_id": c.TraceID().String()})
		return
	}
	o.Observe(value)
}

// ID returns the attribute trace_id of log lines for a traceparent; zero, which is not logged: there is none.
func ID(traceparent string) slog.Attr {
	const from, to = 3, 35
	if len(traceparent) < to {
		return slog.Attr{}
	}
	return slog.String("trace_id", traceparent[from:to])
}
