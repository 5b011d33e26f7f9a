package cloudapi_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
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

// setup returns a client of a server, and counts the requests the server reads.
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

func mustNotTell(t *testing.T, out message.Outcome, secrets ...string) {
	t.Helper()
	if text := fmt.Sprintf("%+v", out.Detail); strings.Contains(text, token) || strings.Contains(text, "16505551234") {
		t.Errorf("what is kept of the answer has a token or a recipient in it: %s", text)
	}
	out.Detail = message.ErrorDetail{} // Meta's own words are for records, and in no log
	text := fmt.Sprintf("%+v", out)
	for _, secret := range append(secrets, token, "16505551234", "canary") {
		if strings.Contains(text, secret) {
			t.Errorf("outcome tells %q: %s", secret, text)
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

func TestSendIsMetasRequest(t *testing.T) {
	t.Parallel()
	var got http.Request
	var sent string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		got, sent = *r, string(b)
		io.WriteString(w, `{"messages":[{"id":"wamid.HBgL"}]}`)
	}))
	defer srv.Close()
	asked := ""
	c := cloudapi.NewClient(cloudapi.Options{BaseURL: srv.URL + "/", Version: "v26.0", Token: func(n string) (string, error) {
		asked = n
		return token, nil
	}})
	defer c.Close()

	out := c.Send(t.Context(), number, []byte(body), nil)
	if out != (message.Outcome{Kind: message.Accepted, WAMID: "wamid.HBgL"}) {
		t.Fatalf("outcome %+v", out)
	}
	if got.Method != "POST" || got.RequestURI != "/v26.0/"+number+"/messages" || sent != body || asked != number {
		t.Errorf("%s %s, %q, token of %s", got.Method, got.RequestURI, sent, asked)
	}
	if got.Header.Get("Authorization") != "Bearer "+token || got.Header.Get("Content-Type") != "application/json" {
		t.Errorf("headers %v", got.Header)
	}
	for name := range got.Header {
		if strings.Contains(name, "Idempotency") {
			t.Errorf("header %s makes Go repeat a POST by itself", name)
		}
	}
}

func TestOutcomeByEvidence(t *testing.T) {
	t.Parallel()
	huge := strings.Repeat("x", 2<<20)
	tests := []struct {
		name    string
		handler func(*testing.T, http.ResponseWriter, *http.Request)
		kind    message.Kind
		reason  string
	}{
		{"truncated 200", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n{\"messages\":[{\"id\":\"wamid.AA\"", false)
		}, message.NoAnswer, "cut"},
		{"truncated 200 of Meta's", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 200 OK\r\nFacebook-Api-Version: v25.0\r\nContent-Length: 500\r\n\r\n{\"messages\":[{\"id\":\"wamid.AA\"", false)
		}, message.NoAnswer, "cut"},
		{"sign-in page", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, "<html>canary</html>")
		}, message.ServerError, "http 200"},
		{"204", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(204)
		}, message.ServerError, "http 204"},
		{"another answer of Meta's", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("X-Fb-Trace-Id", "x")
			io.WriteString(w, `{"success":true}`)
		}, message.NoAnswer, "http 200"},
		{"huge 200", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"pad":"`+huge+`","messages":[{"id":"wamid.AA"}]}`)
		}, message.ServerError, "http 200"},
		{"HTML 502", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			io.WriteString(w, "<html>Bad Gateway</html>")
		}, message.ServerError, "http 502"},
		{"huge 502", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			io.WriteString(w, huge)
		}, message.ServerError, "http 502"},
		{"truncated 400", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "HTTP/1.1 400 Bad Request\r\nContent-Length: 500\r\n\r\n{\"error\":", false)
		}, message.NoAnswer, "cut"},
		{"307", func(_ *testing.T, w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
		}, message.Held, "http 307"},
		{"reset", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "", true)
		}, message.NoAnswer, "reset"},
		{"closed", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "", false)
		}, message.NoAnswer, "cut"},
		{"not HTTP", func(t *testing.T, w http.ResponseWriter, _ *http.Request) {
			hijack(t, w, "canary "+token+"\r\n\r\n", false)
		}, message.NoAnswer, "cut"},
		{"400 with 130429", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write(graphError(130429, "canary"))
		}, message.Throttled, "code 130429"},
		{"500 with 131045", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.Write(graphError(131045, "canary"))
		}, message.Held, "code 131045"},
		{"500 with 131000", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(500)
			w.Write(graphError(131000, "canary"))
		}, message.ServerError, "code 131000"},
		{"400 with 131026", func(_ *testing.T, w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(400)
			w.Write(graphError(131026, "canary"))
		}, message.Refused, "code 131026"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			c, posts := setup(t, func(w http.ResponseWriter, r *http.Request) { tt.handler(t, w, r) })
			out := c.Send(t.Context(), number, []byte(body), nil)
			if out.Kind != tt.kind || out.Reason != tt.reason || out.WAMID != "" {
				t.Errorf("%+v, want %q, %q", out, tt.kind, tt.reason)
			}
			if (out.Err == nil) != (tt.kind == message.Accepted) {
				t.Errorf("error %v", out.Err)
			}
			if n := posts.Load(); n != 1 {
				t.Errorf("posted %d times", n)
			}
			mustNotTell(t, out)
		})
	}
}

func TestHang(t *testing.T) {
	t.Parallel()
	// Long enough to connect and to send on a busy machine.
	short := func(o *cloudapi.Options) { o.Timeout = time.Second }
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		c, posts := setup(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, short)
		out := c.Send(t.Context(), number, []byte(body), nil)
		if out.Kind != message.NoAnswer || out.Reason != "timeout" || !errors.Is(out.Err, context.DeadlineExceeded) {
			t.Errorf("%+v", out)
		}
		if posts.Load() != 1 {
			t.Errorf("posted %d times", posts.Load())
		}
	})
	t.Run("no body after 200", func(t *testing.T) {
		t.Parallel()
		c, _ := setup(t, func(w http.ResponseWriter, r *http.Request) {
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		}, short)
		out := c.Send(t.Context(), number, []byte(body), nil)
		if out.Kind != message.NoAnswer || out.Reason != "timeout" {
			t.Errorf("%+v", out)
		}
	})
}

func TestContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	c, posts := setup(t, func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	})
	if out := c.Send(ctx, number, []byte(body), nil); out.Kind != message.NoAnswer || out.Reason != "cancelled" {
		t.Errorf("cancelled under way: %+v", out)
	}
	if out := c.Send(ctx, number, []byte(body), nil); out.Kind != message.Transient || out.Reason != "no_connection" {
		t.Errorf("cancelled before: %+v", out)
	}
	if posts.Load() != 1 {
		t.Errorf("posted %d times", posts.Load())
	}
}

func TestNoConnection(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	untrusted := httptest.NewUnstartedServer(http.NotFoundHandler())
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it complains of our refusal
	untrusted.StartTLS()
	defer untrusted.Close()
	closer, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	go func() {
		for {
			conn, err := closer.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()

	tests := []struct{ name, url, reason string }{
		{"refused", "http://" + refused.Addr().String(), "dial"},
		{"untrusted certificate", untrusted.URL, "tls"},
		{"closed in the handshake", "https://" + closer.Addr().String(), "tls"},
		{"no such host", "http://" + strings.Repeat("a", 64) + ":1", "dns"},
	}
	for _, tt := range tests {
		c := cloudapi.NewClient(cloudapi.Options{BaseURL: tt.url, Token: func(string) (string, error) { return token, nil }})
		out := c.Send(t.Context(), number, []byte(body), nil)
		c.Close()
		if out.Kind != message.Transient || out.Reason != tt.reason || out.Err == nil {
			t.Errorf("%s: %+v, want reason %q", tt.name, out, tt.reason)
		}
		mustNotTell(t, out, number)
	}
}

// A server may close a connection that we are just using again. Go repeats such a request if
// it takes it for repeatable; a message it must not.
func TestReusedConnectionDies(t *testing.T) {
	t.Parallel()
	peers := make(chan string, 10)
	var first atomic.Bool
	first.Store(true)
	c, posts := setup(t, func(w http.ResponseWriter, r *http.Request) {
		peers <- r.RemoteAddr
		if first.Swap(false) {
			io.WriteString(w, `{"messages":[{"id":"wamid.AA"}]}`)
			return
		}
		hijack(t, w, "", false)
	})
	if out := c.Send(t.Context(), number, []byte(body), nil); out.Kind != message.Accepted {
		t.Fatalf("first: %+v", out)
	}
	if out := c.Send(t.Context(), number, []byte(body), nil); out.Kind != message.NoAnswer {
		t.Errorf("second: %+v", out)
	}
	if n := posts.Load(); n != 2 {
		t.Fatalf("the server read %d requests, want 2", n)
	}
	if first, second := <-peers, <-peers; first != second {
		t.Error("the connection was not used again: this test shows nothing")
	}
}

// What ready refuses does not leave, by a new connection and by one that was used before.
func TestNothingLeavesUnready(t *testing.T) {
	t.Parallel()
	answer := `{"messages":[{"id":"wamid.AA"}]}`
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	read := make(chan string) // what came by each connection
	go func() {
		for {
			conn, err := server.Accept()
			if err != nil {
				return
			}
			go func() {
				var all strings.Builder
				b := make([]byte, 4096)
				for {
					n, err := conn.Read(b)
					all.Write(b[:n])
					if err != nil {
						read <- all.String()
						return
					}
					if strings.HasSuffix(all.String(), body) {
						fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(answer), answer)
					}
				}
			}()
		}
	}()
	reg := prometheus.NewRegistry()
	c := cloudapi.NewClient(cloudapi.Options{
		BaseURL: "http://" + server.Addr().String(), Token: func(string) (string, error) { return token, nil }, Registerer: reg,
	})
	defer c.Close()
	late := errors.New("late")
	refuse := func() {
		t.Helper()
		out := c.Send(t.Context(), number, []byte(body), func() error { return late })
		if out.Kind != message.Transient || out.Reason != "not_sent" || out.Err != late {
			t.Errorf("%+v", out)
		}
	}
	refuse()
	if came := <-read; came != "" {
		t.Errorf("a new connection carried %q", came)
	}
	if out := c.Send(t.Context(), number, []byte(body), nil); out.Kind != message.Accepted {
		t.Fatalf("%+v", out)
	}
	refuse()
	if came := <-read; strings.Count(came, "POST ") != 1 {
		t.Errorf("the connection that was used before carried %q", came)
	}
	if n := counter(t, reg, "other"); n != 0 {
		t.Errorf("%v failures counted, of requests that were none", n)
	}
}

// The request is ready when there is a connection, and not before.
func TestReadyIsAskedWithAConnection(t *testing.T) {
	t.Parallel()
	refused, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	refused.Close()
	c := cloudapi.NewClient(cloudapi.Options{BaseURL: "http://" + refused.Addr().String(), Token: func(string) (string, error) { return token, nil }})
	defer c.Close()
	asked := false
	if out := c.Send(t.Context(), number, []byte(body), func() error { asked = true; return nil }); out.Reason != "dial" || asked {
		t.Errorf("%+v, asked: %t", out, asked)
	}
}

// TestReserve: attempts under way are limited, and a caller that had to wait learns how long.
func TestReserve(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := cloudapi.NewClient(cloudapi.Options{})
		n := 0
		for ; n < 10_000; n++ {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			waited, err := c.Reserve(ctx)
			cancel()
			if err != nil {
				break
			}
			if waited != 0 {
				t.Fatalf("the %d-th waited for %s", n, waited)
			}
		}
		if n != 2*512 {
			t.Errorf("%d requests at once", n)
		}
		go func() {
			time.Sleep(3 * time.Second)
			c.Release()
		}()
		if waited, err := c.Reserve(t.Context()); waited != 3*time.Second || err != nil {
			t.Errorf("waited %s, %v", waited, err)
		}
	})
}

func TestNoTokenNothingSent(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, number, token string
		err                 error
	}{
		{"error", number, "", errors.New("open token file: permission denied")},
		{"empty", number, "", nil},
		{"line break", number, token + "\n", nil},
		{"not a number", "1/../2", token, nil},
	}
	for _, tt := range tests {
		c, posts := setup(t, func(http.ResponseWriter, *http.Request) {}, func(o *cloudapi.Options) {
			o.Token = func(string) (string, error) { return tt.token, tt.err }
		})
		out := c.Send(t.Context(), tt.number, []byte(body), nil)
		if out.Kind != message.Held || out.Reason != "token" || posts.Load() != 0 {
			t.Errorf("%s: %+v, %d posts", tt.name, out, posts.Load())
		}
		if tt.err != nil && !errors.Is(out.Err, tt.err) {
			t.Errorf("%s: error %v", tt.name, out.Err)
		}
		mustNotTell(t, out)
	}
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	answer := graphError(232, "")
	c, _ := setup(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(400)
		w.Write(answer)
	}, func(o *cloudapi.Options) { o.Registerer = reg })

	count := func(name string) int {
		t.Helper()
		n, err := testutil.GatherAndCount(reg, name)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n, all := count("sluice_send_errors_total"), len(cloudapi.Catalogue())+1; n != all {
		t.Errorf("%d series of errors at the start, want %d", n, all)
	}
	if n := count("sluice_graph_request_duration_seconds"); n != len(message.Kinds()) {
		t.Errorf("%d series of durations at the start", n)
	}

	c.Send(t.Context(), number, []byte(body), nil)
	answer = graphError(999999, "")
	c.Send(t.Context(), number, []byte(body), nil)
	answer = []byte(`{"error":{"code":100,"error_subcode":33}}`)
	c.Send(t.Context(), number, []byte(body), nil)
	for code, want := range map[string]float64{"200-299": 1, "other": 1, "100/33": 1, "100": 0} {
		if got := counter(t, reg, code); got != want {
			t.Errorf("code %q counted %v times, want %v", code, got, want)
		}
	}
	if n := count("sluice_send_errors_total"); n != len(cloudapi.Catalogue())+1 {
		t.Errorf("%d series of errors at the end", n)
	}
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
