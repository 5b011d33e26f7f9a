// Package tracetest has a collector of traces for tests.
package tracetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sluice/internal/poll"
)

// Collector takes spans by OTLP over HTTP.
type Collector struct {
	URL string // without the path /v1/traces

	mu      sync.Mutex
	spans   []Span
	headers http.Header // of the last request
}

// Span is a span that arrived.
type Span struct {
	*tracepb.Span
	Service string // the service.name of its program
}

// Start starts a collector, which ends with the test.
func Start(t testing.TB) *Collector {
	t.Helper()
	c := &Collector{}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var data tracepb.TracesData
		if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &data) != nil {
			t.Errorf("collector: a request to %s that is not OTLP in protobuf", r.URL.Path)
			return
		}
		c.add(&data, r.Header)
	}))
	t.Cleanup(srv.Close)
	c.URL = srv.URL
	return c
}

func (c *Collector) add(data *tracepb.TracesData, h http.Header) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.headers = h
	for _, r := range data.GetResourceSpans() {
		for _, s := range r.GetScopeSpans() {
			for _, span := range s.GetSpans() {
				c.spans = append(c.spans, Span{span, attr(r.GetResource().GetAttributes(), "service.name").GetStringValue()})
			}
		}
	}
}

// Headers returns the headers of the last request.
func (c *Collector) Headers() http.Header {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.headers
}

// Spans returns the spans with a name that arrived so far; all spans for an empty name.
func (c *Collector) Spans(name string) (found []Span) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, s := range c.spans {
		if name == "" || s.GetName() == name {
			found = append(found, s)
		}
	}
	return found
}

// Await waits for n spans with a name, and returns them.
func (c *Collector) Await(t testing.TB, name string, n int) (found []Span) {
	t.Helper()
	poll.Until(t, "the collector has the span "+name, func() bool {
		found = c.Spans(name)
		return len(found) >= n
	})
	return found
}

// Attr returns an attribute of the span; nil, whose values are zero: it has none with this name.
func (s Span) Attr(name string) *commonpb.AnyValue { return attr(s.GetAttributes(), name) }

func attr(all []*commonpb.KeyValue, name string) *commonpb.AnyValue {
	for _, a := range all {
		if a.GetKey() == name {
			return a.GetValue()
		}
	}
	return nil
}
