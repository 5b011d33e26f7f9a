// Package tracing makes OpenTelemetry traces of messages, and exports them by OTLP over HTTP. It is the only package that uses
// OpenTelemetry. A nil *Tracer makes no spans: its methods do nothing and allocate nothing.
package tracing

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// flushTimeout is how long Close waits for the collector.
const flushTimeout = 2 * time.Second

// Options configure a Tracer. The SDK of OpenTelemetry reads OTEL_TRACES_SAMPLER, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES
// and OTEL_BSP_* from the environment of the process.
type Options struct {
	Endpoint   string            // URL to which spans are POSTed; empty: there is no tracer
	Headers    map[string]string // of each POST
	Timeout    time.Duration     // of the export of one batch, with its retries
	Service    string            // the name of the program in traces, if OTEL_SERVICE_NAME is not set
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// Tracer makes spans. It is safe for concurrent use. It never waits for the collector: spans that do not fit into its
// queue are dropped.
type Tracer struct {
	tracer   trace.Tracer
	provider *sdktrace.TracerProvider
	exporter *exporter
}

// New returns a tracer; nil: the options have no endpoint. It does not connect to the collector. Call Close at the end.
func New(o Options) (*Tracer, error) {
	made, exported := newMetrics(o.Registerer)
	if o.Endpoint == "" {
		return nil, nil
	}
	about, err := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithHost(),
		resource.WithAttributes(attribute.String("service.name", o.Service)), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w. Write it as name=value,name=value", err)
	}
	// One for the whole process: the SDK has no other place for the errors of an export.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { o.Log.Warn("cannot export traces", "err", err) }))
	e := newExporter(o, exported)
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(about),
		sdktrace.WithSpanProcessor(counted{sdktrace.NewBatchSpanProcessor(otlptrace.NewUnstarted(e)), made}))
	return &Tracer{provider.Tracer("sluice"), provider, e}, nil
}

// Close exports the spans that wait, for up to 2 s, and ends the tracer. Call it once, when all spans have ended.
func (t *Tracer) Close() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		otel.Handle(err)
	}
	t.exporter.close()
}

// newMetrics registers the metrics of a program. They exist without a tracer too.
func newMetrics(reg prometheus.Registerer) (made, exported prometheus.Counter) {
	f := promauto.With(reg)
	return f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_trace_spans_total",
			Help: "Spans that the program made. 0 if traces are off.",
		}), f.NewCounter(prometheus.CounterOpts{
			Name: "sluice_trace_spans_exported_total",
			Help: "Spans that the collector took. The others wait (2,048 at most), or were dropped because the collector did not keep up or did not answer.",
		})
}

// counted counts the spans that a processor gets.
type counted struct {
	sdktrace.SpanProcessor
	spans prometheus.Counter
}

// OnEnd implements sdktrace.SpanProcessor.
func (c counted) OnEnd(s sdktrace.ReadOnlySpan) {
	c.spans.Inc()
	c.SpanProcessor.OnEnd(s)
}
