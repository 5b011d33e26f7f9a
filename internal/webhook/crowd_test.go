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
)

// begin sends the header of a notification of 4 MiB, and so much of its body.
func (s *site) begin(t *testing.T, signature string, body int) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(s.url[:strings.Index(s.url, "/webhooks")], "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	_, err = fmt.Fprintf(c, "POST /webhooks/whatsapp/shop HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n%s\r\n%s", 4<<20, signature, make([]byte, body))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What cannot be signed is answered before any of its body came.
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

// Strangers with large bodies take so much of the memory and no more, and keep out nobody whose
// body is small. When they are gone all is as before.
func TestStrangersTakeNoMoreThanTheirShare(t *testing.T) {
	t.Parallel()
	s := setup(t)
	var conns []net.Conn
	for range 17 { // of a MiB each, beside their small first part
		conns = append(conns, s.begin(t, "X-Hub-Signature-256: sha256="+strings.Repeat("0", 64)+"\r\n", 1<<20+16<<10))
	}
	until := func(what string, done func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatal(what)
			}
		}
	}
	until("nobody was refused", func() bool { return s.count(t, "sluice_webhook_requests_total", "overloaded") > 0 })
	s.mu.Lock()
	if !slices.Contains(s.tracked, "refused") {
		t.Errorf("tracked %q: one for which there was no room may be Meta's", s.tracked)
	}
	s.mu.Unlock()
	small := notification(sent(1))
	large := slices.Concat(small, bytes.Repeat([]byte(" "), 3<<20))
	post := func(body []byte) int { return s.post(t, "shop", body, cloudapi.Sign(current, body)).StatusCode }
	if got := post(small); got != http.StatusOK {
		t.Errorf("a small one of Meta's: %d", got)
	}
	if got := post(large); got != http.StatusServiceUnavailable {
		t.Errorf("a large one: %d", got)
	}
	for _, c := range conns {
		c.Close()
	}
	until("what was taken is not given back", func() bool { return post(large) == http.StatusOK })
}
