package cloudapi_test

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

const (
	number = "106540352242922"
	token  = "EAAJB-canary-token"
	body   = `{"messaging_product":"whatsapp","to":"+16505551234","text":{"body":"canary text"}}`
)

func TestMain(m *testing.M) {
	os.Setenv("NO_PROXY", "*") // these tests are about the connection itself
	goleak.VerifyTestMain(m)
}

// setup returns a client of a server, and the number of requests that the server has read.
func setup(t *testing.T, handler http.HandlerFunc, change ...func(*cloudapi.Options)) (*cloudapi.Client, *atomic.Int32) {
	t.Helper()
	var posts atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		posts.Add(1)
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			t.Errorf("read request: %v", err)
		}
		handler(w, r)
	}))
	o := cloudapi.Options{BaseURL: srv.URL, Token: func(string) (string, error) { return token, nil }}
	for _, f := range change {
		f(&o)
	}
	c := cloudapi.NewClient(o)
	t.Cleanup(func() {
		c.Close()
		srv.Close()
	})
	return c, &posts
}

func mustNotHave(t *testing.T, out message.Outcome, secrets ...string) {
	t.Helper()
	if text := fmt.Sprintf("%+v", out.Detail); strings.Contains(text, token) || strings.Contains(text, "16505551234") {
		t.Errorf("the detail has a token or a recipient: %s", text)
	}
	out.Detail = message.ErrorDetail{} // records have Meta's texts, logs do not
	text := fmt.Sprintf("%+v", out)
	for _, secret := range append(secrets, token, "16505551234", "canary") {
		if strings.Contains(text, secret) {
			t.Errorf("the outcome has %q: %s", secret, text)
		}
	}
}

// hijack answers with raw bytes and then ends the connection, with a reset if reset is set.
func hijack(t *testing.T, w http.ResponseWriter, raw string, reset bool) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		t.Errorf("hijack: %v", err)
		return
	}
	io.WriteString(conn, raw)
	if reset {
		conn.(*net.TCPConn).SetLinger(0)
	}
	conn.Close()
}

func counter(t *testing.T, reg *prometheus.Registry, code string) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "sluice_send_errors_total" {
			continue
		}
		for _, m := range f.GetMetric() {
			if m.GetLabel()[0].GetValue() == code {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no series for %q", code)
	return 0
}
