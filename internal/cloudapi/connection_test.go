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
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

func TestHang(t *testing.T) {
	t.Parallel()
	// Long enough to connect and to send on a machine under load.
	short := func(o *cloudapi.Options) { o.Timeout = time.Second }
	t.Run("no answer", func(t *testing.T) {
		t.Parallel()
		c, posts := setup(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, short)
		out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
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
		out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
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
	if out := c.Send(ctx, message.Request{Number: number, Body: []byte(body)}, nil); out.Kind != message.NoAnswer || out.Reason != "cancelled" {
		t.Errorf("cancelled while running: %+v", out)
	}
	if out := c.Send(ctx, message.Request{Number: number, Body: []byte(body)}, nil); out.Kind != message.Transient || out.Reason != "no_connection" {
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
	untrusted.Config.ErrorLog = log.New(io.Discard, "", 0) // it logs the refused certificate
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
		out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil)
		c.Close()
		if out.Kind != message.Transient || out.Reason != tt.reason || out.Err == nil {
			t.Errorf("%s: %+v, want reason %q", tt.name, out, tt.reason)
		}
		mustNotHave(t, out, number)
	}
}

// A server may close a connection at the moment when the client uses it again. net/http retries requests that it
// considers repeatable. It must not retry a message.
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
	if out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil); out.Kind != message.Accepted {
		t.Fatalf("first: %+v", out)
	}
	if out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil); out.Kind != message.NoAnswer {
		t.Errorf("second: %+v", out)
	}
	if n := posts.Load(); n != 2 {
		t.Fatalf("the server read %d requests, want 2", n)
	}
	if first, second := <-peers, <-peers; first != second {
		t.Error("the connection was not used again, so the test proves nothing")
	}
}

// A request that ready refuses is not written, to a new connection or to a reused one.
func TestNothingLeavesUnready(t *testing.T) {
	t.Parallel()
	answer := `{"messages":[{"id":"wamid.AA"}]}`
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	read := make(chan string) // the bytes of each connection
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
		out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, func() error { return late })
		if out.Kind != message.Transient || out.Reason != "not_sent" || out.Err != late {
			t.Errorf("%+v", out)
		}
	}
	refuse()
	if came := <-read; came != "" {
		t.Errorf("a new connection had %q", came)
	}
	if out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, nil); out.Kind != message.Accepted {
		t.Fatalf("%+v", out)
	}
	refuse()
	if came := <-read; strings.Count(came, "POST ") != 1 {
		t.Errorf("a reused connection had %q", came)
	}
	if n := counter(t, reg, "other"); n != 0 {
		t.Errorf("%v failures counted without a request", n)
	}
}

// ready is called when there is a connection, and not before.
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
	if out := c.Send(t.Context(), message.Request{Number: number, Body: []byte(body)}, func() error { asked = true; return nil }); out.Reason != "dial" || asked {
		t.Errorf("%+v, asked: %t", out, asked)
	}
}

// TestReserve: running attempts are limited, and Reserve returns how long it waited.
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
