package webhook_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
	"sluice/internal/webhook"
)

const (
	current  = "current-app-secret"
	previous = "previous-app-secret"
	foreign  = "secret-of-the-other-app"
	token    = "verify-token-0123456789"
)

var apps = map[string]webhook.App{
	"shop":  {Secrets: []string{current, previous}, VerifyToken: token},
	"other": {Secrets: []string{foreign}, VerifyToken: "another-token"},
	"bare":  {},
}

// fakeStream records what it stores, and returns err if it is set.
type fakeStream struct {
	mu          sync.Mutex
	err         error
	appends     int
	events      []message.Event
	quarantined []string
}

func (f *fakeStream) Append(_ context.Context, events []message.Event) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.appends++
	f.events = append(f.events, events...)
	return nil
}

func (f *fakeStream) Quarantine(_ context.Context, body []byte, why string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return f.err
	}
	f.quarantined = append(f.quarantined, string(body))
	return nil
}

// site is a webhook server with its stream, log and metrics.
type site struct {
	stream *fakeStream
	url    string
	reg    *prometheus.Registry
	logs   *bytes.Buffer
	server *httptest.Server

	mu      sync.Mutex
	tracked []string
}

func setup(t testing.TB) *site {
	s := &site{stream: &fakeStream{}, reg: prometheus.NewRegistry(), logs: &bytes.Buffer{}}
	h := webhook.NewHandler(s.stream, webhook.Options{
		Apps: func(name string) (webhook.App, bool) { a, ok := apps[name]; return a, ok },
		Track: func() func(bool) {
			return func(refused bool) {
				s.mu.Lock()
				defer s.mu.Unlock()
				s.tracked = append(s.tracked, map[bool]string{false: "kept", true: "refused"}[refused])
			}
		},
		Registerer: s.reg,
		Log:        slog.New(slog.NewJSONHandler(s.logs, nil)),
	})
	s.server = httptest.NewServer(h)
	t.Cleanup(s.server.Close)
	s.url = s.server.URL + "/webhooks/whatsapp/"
	return s
}

// raw sends a body with another Content-Length, closes its half of the connection, and returns the answer.
func (s *site) raw(t *testing.T, signature string, body []byte, length int) string {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.server.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprintf(c, "POST /webhooks/whatsapp/shop HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\nX-Hub-Signature-256: %s\r\n\r\n%s", length, signature, body)
	c.(*net.TCPConn).CloseWrite()
	answer, _ := io.ReadAll(c)
	return string(answer)
}

// count returns the value of the series whose label has the value label, or of the series without labels if it is
// empty. For a histogram it returns the number of observations.
func (s *site) count(t testing.TB, name, label string) float64 {
	t.Helper()
	families, err := s.reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || len(m.GetLabel()) == 1 && m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	t.Fatalf("no series %s %q", name, label)
	return 0
}

// post sends a body with any number of signature headers.
func (s *site) post(t testing.TB, app string, body []byte, signatures ...string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), "POST", s.url+app, bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header["X-Hub-Signature-256"] = signatures
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	io.Copy(io.Discard, res.Body)
	res.Body.Close()
	return res
}

func notification(statuses ...string) []byte {
	return fmt.Appendf(nil, `{"object":"whatsapp_business_account","entry":[{"id":"102290129340398","changes":[{"field":"messages",`+
		`"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"15550783881","phone_number_id":"106540352242922"},`+
		`"statuses":[%s]}}]}]}`, strings.Join(statuses, ","))
}

func status(n int, word, timestamp string) string {
	return fmt.Sprintf(`{"id":"wamid.%d","status":%q,"timestamp":%q,"recipient_id":"16505551234",`+
		`"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}`, n, word, timestamp)
}

func sent(n int) string { return status(n, "sent", "1750030073") }
