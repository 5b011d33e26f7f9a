package e2e

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"sluice/internal/poll"
)

// raw sends bytes to a program that no client library would send.
func raw(t *testing.T, url, request string) net.Conn {
	t.Helper()
	addr, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(poll.Limit))
	if _, err := io.WriteString(c, request); err != nil {
		t.Fatal(err)
	}
	return c
}

// answers reads the answers of the program until it closes the connection, or returns another error.
func answers(c net.Conn) (statuses []int, bodies string, err error) {
	for r := bufio.NewReader(c); ; {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return statuses, bodies, err
		}
		body, err := io.ReadAll(resp.Body)
		statuses, bodies = append(statuses, resp.StatusCode), bodies+string(body)
		if err != nil {
			return statuses, bodies, err
		}
	}
}

// wire: requests that HTTP libraries cannot send, and slow clients.
func (s *site) wire(t *testing.T) {
	head := func(key string) string {
		return "POST /v1/messages HTTP/1.1\r\nHost: sluice\r\nAuthorization: Bearer " + wide + "\r\nContent-Type: application/json\r\nIdempotency-Key: " + key + "\r\n"
	}
	whole := order("")
	length := fmt.Sprintf("Content-Length: %d\r\n", len(whole))
	chunked := fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(whole), whole)
	const close = "Connection: close\r\n"
	for name, row := range map[string]struct {
		request  string
		statuses string
		code     string
	}{
		"a length shorter than the body": {head("") + "Content-Length: 20\r\n\r\n" + whole, "[400 400]", "json_invalid"},
		"64 KiB of headers":              {head("") + "X-Pad: " + strings.Repeat("a", 65<<10) + "\r\n" + length + "\r\n" + whole, "[431]", ""},
		"two lengths":                    {head("") + length + "Content-Length: 5\r\n\r\n" + whole, "[400]", ""},
		"an unknown transfer encoding":   {head("") + "Transfer-Encoding: gzip, chunked\r\n\r\n" + chunked, "[501]", ""},
		// net/http uses the chunks and drops the length. A proxy that uses the length must refuse a request with
		// both.
		"a length and chunks: one message": {head("chunks") + close + length + "Transfer-Encoding: chunked\r\n\r\n" + chunked, "[202]", ""},
	} {
		t.Run(name, func(t *testing.T) {
			got, bodies, _ := answers(raw(t, s.api, row.request))
			if fmt.Sprint(got) != row.statuses || !strings.Contains(bodies, row.code) {
				t.Errorf("%v %s, want %s %s", got, bodies, row.statuses, row.code)
			}
		})
	}
}

// A client that closes its half of the connection after the request gets the answer.
func (s *site) halfClosed(t *testing.T) {
	body := order("")
	sent := func(url, path, body string, headers ...string) []int {
		c := raw(t, url, fmt.Sprintf("POST %s HTTP/1.1\r\nHost: sluice\r\nAuthorization: Bearer %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s", path, wide, len(body), strings.Join(headers, "\r\n"), body))
		if err := c.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		statuses, _, _ := answers(c)
		return statuses
	}
	for range 20 { // which side closes first is random
		for what, got := range map[string][]int{
			"an order": sent(s.api, "/v1/messages", body, "Content-Type: application/json"),
			"a hold":   sent(s.console, "/v1/holds", `{"tag":"half","actor":"anna","reason":"because"}`, "Content-Type: application/json"),
		} {
			if status := fmt.Sprint(got); status != "[202]" && status != "[200]" {
				t.Errorf("%s: %s", what, status)
			}
		}
	}
	if logs := s.logs.text(); strings.Contains(logs, "context canceled") {
		t.Errorf("a client that leaves is in the log: %s", logs)
	}
}

// slow opens slow connections. The function that it returns waits for their results.
func (s *site) slow(t *testing.T) func(*testing.T) {
	const length = "Content-Length: 100\r\n\r\n"
	order := raw(t, s.api, "POST /v1/messages HTTP/1.1\r\nHost: sluice\r\nAuthorization: Bearer "+wide+"\r\nContent-Type: application/json\r\n"+length)
	report := raw(t, s.hooks, "POST /webhooks/whatsapp/main HTTP/1.1\r\nHost: sluice\r\nX-Hub-Signature-256: sha256="+strings.Repeat("0", 64)+"\r\n"+length)
	headers := raw(t, s.hooks, "POST /webhooks/whatsapp/main HTTP/1.1\r\n")
	for _, c := range []net.Conn{order, report, headers} {
		trickle(t, c)
	}
	var idle []net.Conn
	for i := range 1000 {
		idle = append(idle, raw(t, []string{s.api, s.hooks}[i%2], ""))
	}
	type row struct {
		name  string
		conns []net.Conn
		want  string // the statuses of each connection
		after time.Duration
		got   chan error
	}
	rows := []row{
		// After a part of the header net/http answers 400 before it closes the connection. Without any byte it
		// does not answer.
		{"headers that trickle are cut off", []net.Conn{headers}, "[400]", 5 * time.Second, nil},
		{"a thousand connections that say nothing", idle, "[]", 5 * time.Second, nil},
		{"a body that trickles is answered", []net.Conn{order}, "[408]", 10 * time.Second, nil},
		{"a webhook's body that trickles", []net.Conn{report}, "[408]", 10 * time.Second, nil},
	}
	for i := range rows {
		r := &rows[i]
		r.got = make(chan error, 1)
		go func() {
			for _, c := range r.conns {
				c.SetDeadline(time.Now().Add(poll.Limit)) // if it is not closed by then, reading fails
				statuses, bodies, err := answers(c)
				if fmt.Sprint(statuses) != r.want || errors.Is(err, os.ErrDeadlineExceeded) {
					r.got <- fmt.Errorf("%v %s, %w; want %s", statuses, bodies, err, r.want)
					return
				}
			}
			r.got <- nil
		}()
	}
	return func(t *testing.T) {
		for _, r := range rows {
			t.Run(r.name, func(t *testing.T) {
				if err := <-r.got; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

// trickle writes one byte per second until the other side closes the connection.
func trickle(t *testing.T, c net.Conn) {
	t.Helper()
	ended := make(chan struct{})
	t.Cleanup(func() { close(ended) })
	go func() {
		for {
			select {
			case <-ended:
				return
			case <-time.After(time.Second):
			}
			if _, err := io.WriteString(c, "a"); err != nil {
				return
			}
		}
	}()
}
