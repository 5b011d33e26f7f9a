package webhook_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/poll"
)

// begin sends the header of a notification of 4 MiB, and the first bytes of its body.
func (s *site) begin(t *testing.T, signature string, body int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url[:strings.Index(s.url, "/webhooks")], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(poll.Limit))
	_, err = fmt.Fprintf(c, "POST /webhooks/whatsapp/shop HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", 4<<20, signature, make([]byte, body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A request without a well-formed signature header is refused before its body arrives.
func TestRefusedBeforeTheBody(t *testing.T) {
	t.Parallel()
	s := setup(t)
	for _, signature := range []string{"", "X-Hub-Signature-256: sha256=00\r\n", "X-Hub-Signature-256: sha1=" + strings.Repeat("0", 66) + "\r\n"} {
		answer, err := http.ReadResponse(bufio.NewReader(s.begin(t, signature, 0)), nil)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%q: %s", signature, answer.Status)
		}
	}
}

// TestLargeBodiesAreLimited: large bodies without a valid signature use a limited amount of memory. Small
// bodies are accepted meanwhile, and large ones when the memory is free again.
func TestLargeBodiesAreLimited(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var conns []net.Conn
	for range 17 { // each counts 1 MiB: its first 16 KiB do not count
		conns = append(conns, s.begin(t, "X-Hub-Signature-256: sha256="+strings.Repeat("0", 64)+"\r\n", 1<<20+16<<10))
	}
	poll.Until(t, "a body is refused", func() bool { return s.count(t, "sluice_webhook_requests_total", "overloaded") > 0 })
	s.mu.Lock()
	if !slices.Contains(s.tracked, "refused") {
		t.Errorf("tracked %q: a body refused for lack of memory may be Meta's", s.tracked)
	}
	s.mu.Unlock()
	small := notification(sent(1))
	large := slices.Concat(small, bytes.Repeat([]byte(" "), 3<<20))
	post := func(body []byte) int { return s.post(t, "shop", body, cloudapi.Sign(current, body)).StatusCode }
	if got := post(small); got != http.StatusOK {
		t.Errorf("a small body of Meta's: %d", got)
	}
	if got := post(large); got != http.StatusServiceUnavailable {
		t.Errorf("a large body: %d", got)
	}
	for _, c := range conns {
		c.Close()
	}
	poll.Until(t, "the memory is free again", func() bool { return post(large) == http.StatusOK })
}
