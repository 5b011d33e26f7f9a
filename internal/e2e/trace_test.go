package e2e

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"sluice/client"
	"sluice/internal/graphsim"
	"sluice/internal/tracetest"
)

// The trace of a caller.
const (
	callersTrace = "4bf92f3577b34da6a3ce929d0e0e4736"
	callersSpan  = "00f067aa0ba902b7"
)

// traced posts a body to the API in the trace of the caller, and returns the answer.
func (w *world) traced(path, media, body, flags string) string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.api.String()+path, strings.NewReader(body))
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+apiKey)
	req.Header.Set("Content-Type", media)
	req.Header.Set("Traceparent", "00-"+callersTrace+"-"+callersSpan+"-"+flags)
	return w.answer(req)
}

// answer makes a request, and returns the body of the answer.
func (w *world) answer(req *http.Request) string {
	w.t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		w.t.Fatalf("%s: %d %s %v", req.URL.Path, resp.StatusCode, answer, err)
	}
	return string(answer)
}

// metrics returns the metrics of the producer in the form that has exemplars.
func (w *world) metrics() string {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, "http://"+w.ops["producer"]+"/metrics", nil)
	if err != nil {
		w.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/openmetrics-text")
	return w.answer(req)
}

// TestTrace: one trace goes from the request of the caller to the request to Meta and to each status. It shows neither the
// recipient nor the text, and Meta gets nothing of it.
func TestTrace(t *testing.T) {
	collector := tracetest.Start(t)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "20") // milliseconds
	w := setup(t, 80, graphsim.Options{Webhook: graphsim.Webhook{Read: 1}})
	w.worker()
	line := func(to, more string) string {
		return `{"from":"` + numbers[0] + `","message":{"to":"` + to + `","type":"text","text":{"body":"a private text"}}` + more + `}`
	}
	readAll := func(answers string) (ids []string) {
		for d := json.NewDecoder(strings.NewReader(answers)); d.More(); {
			var a client.Accepted
			if err := d.Decode(&a); err != nil || a.ID == "" {
				t.Fatal(answers, err)
			}
			ids = append(ids, a.ID)
		}
		return ids
	}
	one := readAll(w.traced("/v1/messages", "application/json", line("+15552400001", ""), "01"))
	graph := w.traced("/v25.0/"+numbers[0]+"/messages", "application/json", `{"messaging_product":"whatsapp","to":"+15552400002","type":"text","text":{"body":"a private text"}}`, "00")
	var unsampled struct{ Messages []struct{ ID string } }
	if err := json.Unmarshal([]byte(graph), &unsampled); err != nil {
		t.Fatal(err)
	}
	batch := readAll(w.traced("/v1/messages/batch", "application/x-ndjson", line("+15552400003", "")+"\n"+line("+15552400004", "")+"\n", "01"))
	all := append(append([]string{unsampled.Messages[0].ID}, one...), batch...)
	records := w.settled(all, func(r client.Record) bool { return r.State == client.StateRead })
	for _, r := range records {
		if strings.Contains(fmt.Sprint(collector.Spans("")), r.WAMID) {
			t.Error("a span has Meta's id of a message, which contains the recipient")
		}
	}

	id := func(b []byte) string { return hex.EncodeToString(b) }
	of := func(name, message string, n int) tracetest.Span {
		t.Helper()
		var found []tracetest.Span
		for _, s := range collector.Await(t, name, n) {
			if message == "" || s.Attr("sluice.message_id").GetStringValue() == message {
				found = append(found, s)
			}
		}
		if len(found) == 0 {
			t.Fatalf("no span %s of %s", name, message)
		}
		return found[0]
	}
	const post = "POST /{phone_number_id}/messages"
	request, attempt := of("POST /v1/messages", one[0], 1), of("attempt", one[0], 3)
	status := of("apply status", one[0], 3*3) // sent, delivered, read of three messages
	for name, s := range map[string]tracetest.Span{"request": request, "attempt": attempt, "status": status} {
		if id(s.TraceId) != callersTrace {
			t.Errorf("%s is in another trace: %v", name, s)
		}
	}
	if id(request.ParentSpanId) != callersSpan || id(attempt.ParentSpanId) != id(request.SpanId) || id(status.ParentSpanId) != id(request.SpanId) {
		t.Errorf("parents: %v, %v, %v", request, attempt, status)
	}
	posts := 0
	for _, s := range collector.Await(t, post, 3) {
		if id(s.ParentSpanId) == id(attempt.SpanId) && id(s.TraceId) == callersTrace && s.StartTimeUnixNano >= attempt.StartTimeUnixNano {
			posts++
		}
	}
	if posts != 1 || request.Service != "sluice-producer" || attempt.Service != "sluice-worker" {
		t.Errorf("%d requests to Meta in the attempt; programs %s, %s", posts, request.Service, attempt.Service)
	}
	if attempt.Attr("sluice.outcome").GetStringValue() != "accepted" || attempt.Attr("sluice.attempt").GetIntValue() != 1 {
		t.Errorf("attributes of the attempt: %v", attempt.Attributes)
	}
	want := "00-" + callersTrace + "-" + id(request.SpanId) + "-01"
	if got := records[one[0]].Traceparent; got != want {
		t.Errorf("traceparent of the record: %q, want %q", got, want)
	}
	if got := records[unsampled.Messages[0].ID].Traceparent; got != "" {
		t.Errorf("the record of a message that is not sampled has the traceparent %q", got)
	}

	// Each line of a batch has a trace of its own, which leads to the request.
	whole := of("POST /v1/messages/batch", "", 1)
	for _, m := range batch {
		accept, attempt := of("accept", m, 2), of("attempt", m, 3)
		if id(accept.TraceId) == callersTrace || id(attempt.TraceId) != id(accept.TraceId) || len(accept.Links) != 1 || id(accept.Links[0].SpanId) != id(whole.SpanId) {
			t.Errorf("line of a batch: %v, %v", accept, attempt)
		}
	}

	webhook := of("POST /webhooks/whatsapp/{app}", "", 1)
	if id(webhook.TraceId) == callersTrace || webhook.Service != "sluice-webhook" {
		t.Errorf("webhook: %v", webhook)
	}
	page, err := w.api.ReadEvents(t.Context(), client.EventOptions{From: "oldest", Types: []client.EventType{client.EventMessage}, Limit: 1000}, 0)
	if err != nil {
		t.Fatal(err)
	}
	shown := false
	for _, e := range page.Events {
		shown = shown || e.State.To == client.StateRead && e.Message.Traceparent == want
	}
	if !shown {
		t.Errorf("no event of the state read has the traceparent %s", want)
	}
	if !slices.ContainsFunc(strings.Split(w.metrics(), "\n"), func(line string) bool {
		return strings.HasPrefix(line, "sluice_api_request_duration_seconds_bucket") && strings.Contains(line, `# {trace_id="`+callersTrace+`"}`)
	}) {
		t.Error("the duration of API requests has no exemplar")
	}
	if said := fmt.Sprint(collector.Spans("")); strings.Contains(said, "55524") || strings.Contains(said, "private") {
		t.Error("a span shows a recipient or a text")
	}
	if n := w.open.traced.Load(); n > 0 {
		t.Errorf("Meta got %d requests with a traceparent", n)
	}
}
