package cloudapi_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/tracetest"
	"sluice/internal/tracing"
)

// TestTraced: the duration of a request in a trace has the trace as its exemplar, and Meta gets no header of it.
func TestTraced(t *testing.T) {
	t.Parallel()
	var got http.Header
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.Header
		io.WriteString(w, `{"messages":[{"id":"wamid.HBgL"}]}`)
	}))
	defer srv.Close()
	tracer, err := tracing.New(tracing.Options{
		Endpoint: tracetest.Start(t).URL + "/v1/traces", Timeout: time.Second, Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	if err != nil {
		t.Fatal(err)
	}
	defer tracer.Close()
	reg := prometheus.NewRegistry()
	c := cloudapi.NewClient(cloudapi.Options{BaseURL: srv.URL, Token: func(string) (string, error) { return token, nil }, Registerer: reg})
	defer c.Close()
	const trace = "4bf92f3577b34da6a3ce929d0e0e4736"
	ctx, _ := tracer.Continue(t.Context(), "00-"+trace+"-00f067aa0ba902b7-01", "attempt", tracing.Consumer, time.Time{})
	c.Send(ctx, message.Request{Number: number, Body: []byte(body)}, nil)
	for _, name := range []string{"Traceparent", "Tracestate", "Baggage"} {
		if v := got.Get(name); v != "" {
			t.Errorf("Meta got %s: %s", name, v)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	found := ""
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, b := range m.GetHistogram().GetBucket() {
				for _, l := range b.GetExemplar().GetLabel() {
					found += f.GetName() + " " + l.GetName() + " " + l.GetValue()
				}
			}
		}
	}
	if want := "sluice_graph_request_duration_seconds trace_id " + trace; found != want {
		t.Errorf("exemplars %q, want %q", found, want)
	}
}
