package tracing

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"sluice/internal/retry"
)

// exporter POSTs spans to a collector: OTLP over HTTP, in protobuf. OpenTelemetry's own client, otlptracehttp, links gRPC,
// which it does not use, and makes each program 5 MB larger.
type exporter struct {
	o        Options
	client   http.Client
	stopped  context.Context
	stop     context.CancelFunc
	exported prometheus.Counter
}

func newExporter(o Options, exported prometheus.Counter) *exporter {
	e := &exporter{o: o, exported: exported}
	e.client.Transport = &http.Transport{Proxy: http.ProxyFromEnvironment, IdleConnTimeout: time.Minute}
	e.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse } // the headers may be secret
	e.stopped, e.stop = context.WithCancel(context.Background())
	return e
}

// close ends running exports.
func (e *exporter) close() {
	e.stop()
	e.client.CloseIdleConnections()
}

// Start implements otlptrace.Client.
func (e *exporter) Start(context.Context) error { return nil }

// Stop implements otlptrace.Client.
func (e *exporter) Stop(context.Context) error { return nil }

// UploadTraces implements otlptrace.Client. It tries again until the timeout if the collector is overloaded or does not answer.
func (e *exporter) UploadTraces(ctx context.Context, spans []*tracepb.ResourceSpans) error {
	body, err := proto.Marshal(&tracepb.TracesData{ResourceSpans: spans}) // the form of an ExportTraceServiceRequest
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, e.o.Timeout, errors.New("timeout"))
	defer cancel()
	defer context.AfterFunc(e.stopped, cancel)()
	err = retry.Pauses{First: 200 * time.Millisecond, Max: 5 * time.Second, Jitter: 0.5}.Do(ctx, func() error { return e.post(ctx, body) })
	if err != nil && e.stopped.Err() != nil {
		return nil // Close has reported it
	}
	if err != nil {
		return err
	}
	for _, r := range spans {
		for _, s := range r.GetScopeSpans() {
			e.exported.Add(float64(len(s.GetSpans())))
		}
	}
	return nil
}

func (e *exporter) post(ctx context.Context, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, e.o.Endpoint, bytes.NewReader(body))
	if err != nil {
		return retry.Permanent(err)
	}
	req.Header.Set("Content-Type", "application/x-protobuf")
	for name, value := range e.o.Headers {
		req.Header.Set(name, value)
	}
	resp, err := e.client.Do(req)
	if err != nil {
		if wrapped, ok := errors.AsType[*url.Error](err); ok {
			err = wrapped.Err // without the URL
		}
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	switch resp.StatusCode {
	case http.StatusOK:
		return nil
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("the collector answered with status %d", resp.StatusCode)
	}
	return retry.Permanent(fmt.Errorf("the collector answered with status %d. Check the endpoint and the headers", resp.StatusCode))
}
