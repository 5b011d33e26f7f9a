package tracing_test

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"sluice/internal/tracetest"
	"sluice/internal/tracing"
)

const (
	traceID     = "4bf92f3577b34da6a3ce929d0e0e4736"
	parentID    = "00f067aa0ba902b7"
	traceparent = "00-" + traceID + "-" + parentID + "-01"
)

// setup returns a tracer whose spans go to url, and its metrics and log. The tests are not parallel: the process has one
// logger for errors of exports.
func setup(t *testing.T, url string) (*tracing.Tracer, *prometheus.Registry, *bytes.Buffer) {
	t.Helper()
	reg, log := prometheus.NewRegistry(), &bytes.Buffer{}
	tracer, err := tracing.New(tracing.Options{
		Endpoint: url + "/v1/traces", Headers: map[string]string{"X-Key": "canary-secret"}, Timeout: 10 * time.Second, Service: "sluice-test",
		Log: slog.New(slog.NewJSONHandler(log, nil)), Registerer: reg,
	})
	if err != nil {
		t.Fatal(err)
	}
	return tracer, reg, log
}

// counts returns how many spans were made and exported.
func counts(t *testing.T, reg *prometheus.Registry) (made, exported float64) {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		switch v := f.GetMetric()[0].GetCounter().GetValue(); f.GetName() {
		case "sluice_trace_spans_total":
			made = v
		case "sluice_trace_spans_exported_total":
			exported = v
		}
	}
	return made, exported
}

func TestSpans(t *testing.T) {
	collector := tracetest.Start(t)
	tracer, reg, _ := setup(t, collector.URL)
	start := time.Now().Add(-time.Minute)
	ctx, span := tracer.Continue(t.Context(), traceparent, "attempt", tracing.Consumer, start)
	span.Set("attempt", 2, "seconds", 0.5, "certain", true, "outcome", "throttled")
	child := tracer.Child(ctx, "post", tracing.Client, time.Time{})
	child.Fail("throttled")
	child.End()
	root := tracer.Root(ctx, "accept", tracing.Producer)
	root.End()
	span.End()
	tracer.Child(t.Context(), "none", tracing.Client, time.Time{}).End()
	tracer.Close()

	if made, exported := counts(t, reg); made != 3 || exported != 3 {
		t.Errorf("%v spans made, %v exported, want 3", made, exported)
	}
	if got := collector.Headers().Get("X-Key"); got != "canary-secret" {
		t.Errorf("header %q", got)
	}
	one := func(name string) tracetest.Span {
		all := collector.Spans(name)
		if len(all) != 1 || all[0].Service != "sluice-test" {
			t.Fatalf("%d spans %s: %v", len(all), name, all)
		}
		return all[0]
	}
	attempt, post, accept := one("attempt"), one("post"), one("accept")
	if hex.EncodeToString(attempt.TraceId) != traceID || hex.EncodeToString(attempt.ParentSpanId) != parentID || int64(attempt.StartTimeUnixNano) != start.UnixNano() {
		t.Errorf("attempt: %v", attempt)
	}
	if attempt.Attr("sluice.attempt").GetIntValue() != 2 || attempt.Attr("sluice.seconds").GetDoubleValue() != 0.5 ||
		!attempt.Attr("sluice.certain").GetBoolValue() || attempt.Attr("sluice.outcome").GetStringValue() != "throttled" {
		t.Errorf("attributes %v", attempt.Attributes)
	}
	if !bytes.Equal(post.TraceId, attempt.TraceId) || !bytes.Equal(post.ParentSpanId, attempt.SpanId) || post.Status.Message != "throttled" {
		t.Errorf("post: %v", post)
	}
	if bytes.Equal(accept.TraceId, attempt.TraceId) || len(accept.ParentSpanId) > 0 || len(accept.Links) != 1 || !bytes.Equal(accept.Links[0].SpanId, attempt.SpanId) {
		t.Errorf("accept: %v", accept)
	}
	if want := "00-" + hex.EncodeToString(accept.TraceId) + "-" + hex.EncodeToString(accept.SpanId) + "-01"; root.Traceparent() != want {
		t.Errorf("traceparent %s, want %s", root.Traceparent(), want)
	}
}

// TestHandler: only a valid header joins the trace of the caller, and only where that is wanted.
func TestHandler(t *testing.T) {
	collector := tracetest.Start(t)
	tracer, _, _ := setup(t, collector.URL)
	for i, c := range []struct {
		join        bool
		traceparent []string
		tracestate  string
		joined, off bool
	}{
		{true, []string{traceparent}, "vendor=1", true, false},
		{true, []string{traceparent}, strings.Repeat("x", 10_000), true, false}, // only the tracestate is ignored
		{true, nil, "", false, false},
		{true, []string{"00-" + traceID + "-" + parentID + "-00"}, "", false, true}, // the caller does not sample it
		{true, []string{"00-" + strings.Repeat("0", 32) + "-" + parentID + "-01"}, "", false, false},
		{true, []string{"ff-" + traceID + "-" + parentID + "-01"}, "", false, false},
		{true, []string{traceparent + strings.Repeat("x", 10_000)}, "", false, false},
		{true, []string{"00-\x00\xff"}, "", false, false},
		{true, []string{"", traceparent}, "", false, false},
		{false, []string{traceparent}, "", false, false},
	} {
		route := fmt.Sprintf("/%d", i)
		h := tracer.Handler(http.MethodPost, route, c.join, func(w http.ResponseWriter, r *http.Request) {
			if tracer.Of(r.Context()).On() == c.off {
				t.Errorf("%d: a span: %t", i, !c.off)
			}
			http.NewResponseController(w).Flush()
			w.WriteHeader(http.StatusServiceUnavailable)
		})
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, route, nil)
		r.Header["Traceparent"], r.Header["Tracestate"] = c.traceparent, []string{c.tracestate}
		w := httptest.NewRecorder()
		h(w, r)
		if !w.Flushed {
			t.Errorf("%d: the answer cannot be flushed", i)
		}
	}
	tracer.Close()
	for _, s := range collector.Spans("") {
		joined := s.GetName() == "POST /0" || s.GetName() == "POST /1"
		if (hex.EncodeToString(s.TraceId) == traceID) != joined || s.Attr("http.response.status_code").GetIntValue() != 503 {
			t.Errorf("%v", s)
		}
	}
	if n := len(collector.Spans("")); n != 9 {
		t.Errorf("%d spans, want 9", n)
	}
}

// TestCollectorHangs: neither spans nor the end of the program wait for a collector that does not answer.
func TestCollectorHangs(t *testing.T) {
	release := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-release }))
	defer srv.Close()
	defer close(release)
	tracer, reg, log := setup(t, srv.URL)
	const spans = 10_000 // more than the queue has space for
	start := time.Now()
	for range spans {
		tracer.Root(t.Context(), "accept", tracing.Producer).End()
	}
	if took := time.Since(start); took > 5*time.Second { // an export takes 10 s
		t.Errorf("%d spans took %s", spans, took)
	}
	start = time.Now()
	tracer.Close()
	if took := time.Since(start); took > 8*time.Second {
		t.Errorf("Close took %s", took)
	}
	if made, exported := counts(t, reg); made != spans || exported != 0 {
		t.Errorf("%v spans made, %v exported", made, exported)
	}
	if !strings.Contains(log.String(), "cannot export traces") {
		t.Errorf("log: %s", log)
	}
}

// TestCollectorRefuses: an overloaded collector is asked again, another refusal is not. The log has neither the URL nor a
// header.
func TestCollectorRefuses(t *testing.T) {
	for _, c := range []struct {
		statuses []int
		exported float64
	}{
		{[]int{503, 429, 200}, 1},
		{[]int{401, 200}, 0},
		{[]int{307, 200}, 0},
	} {
		var n atomic.Int64
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Location", "/other")
			w.WriteHeader(c.statuses[n.Add(1)-1])
		}))
		tracer, reg, log := setup(t, srv.URL)
		tracer.Root(t.Context(), "accept", tracing.Producer).End()
		tracer.Close()
		srv.Close()
		if _, exported := counts(t, reg); exported != c.exported {
			t.Errorf("%v: %v exported", c.statuses, exported)
		}
		if said := log.String(); strings.Contains(said, srv.URL) || strings.Contains(said, "canary") || strings.Contains(said, "cannot export traces") != (c.exported == 0) {
			t.Errorf("%v: %s", c.statuses, said)
		}
	}
}

// TestOff: without an endpoint there is no tracer, and its methods allocate nothing.
func TestOff(t *testing.T) {
	tracer, err := tracing.New(tracing.Options{Registerer: prometheus.NewRegistry()})
	if tracer != nil || err != nil {
		t.Fatal(tracer, err)
	}
	ctx, seen := t.Context(), prometheus.NewHistogram(prometheus.HistogramOpts{Name: "seen"})
	now := time.Now()
	if n := testing.AllocsPerRun(100, func() {
		inner, span := tracer.Continue(ctx, traceparent, "attempt", tracing.Consumer, now)
		if inner != ctx || span.On() || span.Traceparent() != "" || tracer.Of(ctx).On() || tracer.Root(ctx, "accept", tracing.Producer).On() {
			t.Error("a span without a tracer")
		}
		tracer.Child(ctx, "post", tracing.Client, now).End()
		span.Fail("no")
		span.End()
		tracing.Observe(ctx, seen, 1)
		tracing.ID("")
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	tracer.Close()
}

func TestExemplar(t *testing.T) {
	collector := tracetest.Start(t)
	tracer, _, _ := setup(t, collector.URL)
	defer tracer.Close()
	seen := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "seen", Buckets: []float64{1, 2}})
	tracing.Observe(t.Context(), seen, 0.5)
	ctx, _ := tracer.Continue(t.Context(), traceparent, "attempt", tracing.Consumer, time.Time{})
	tracing.Observe(ctx, seen, 1.5)
	var m dto.Metric
	if err := seen.Write(&m); err != nil {
		t.Fatal(err)
	}
	without, with := m.Histogram.Bucket[0].Exemplar, m.Histogram.Bucket[1].Exemplar
	if without != nil || with == nil || with.Label[0].GetName() != "trace_id" || with.Label[0].GetValue() != traceID {
		t.Errorf("exemplars %v, %v", without, with)
	}
}

func TestID(t *testing.T) {
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == slog.TimeKey {
			return slog.Attr{}
		}
		return a
	}}))
	log.LogAttrs(context.Background(), slog.LevelInfo, "one", tracing.ID(traceparent))
	log.LogAttrs(context.Background(), slog.LevelInfo, "two", tracing.ID(""))
	if want := "level=INFO msg=one trace_id=" + traceID + "\nlevel=INFO msg=two\n"; b.String() != want {
		t.Errorf("%s", b.String())
	}
}
