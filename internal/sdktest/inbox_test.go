package sdktest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"sluice/internal/poll"
)

// inbox is the webhook handler of an SDK, as a program.
type inbox struct {
	url string

	mu   sync.Mutex
	seen []understood
}

// understood is what the handler answered to a request, and understood of it.
type understood struct {
	Status   int
	Error    string
	Statuses []struct{ ID, Status string }
	Messages []struct{ ID, From, Text, Context string }
}

func startInbox(t *testing.T, sdk, secret string) *inbox {
	t.Helper()
	cmd := exec.Command("node", "inbox.mjs", sdk)
	cmd.Dir = node(t)
	cmd.Env = append(os.Environ(), "SDKTEST="+string(must(json.Marshal(map[string]string{"secret": secret, "key": apiKey, "number": number}))))
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	var first struct{ Port int }
	if !lines.Scan() || json.Unmarshal(lines.Bytes(), &first) != nil {
		cmd.Wait()
		t.Fatalf("%s: its handler does not start\n%s", sdk, &stderr)
	}
	b := &inbox{url: fmt.Sprintf("http://127.0.0.1:%d/webhook", first.Port)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for lines.Scan() {
			var u understood
			if json.Unmarshal(lines.Bytes(), &u) == nil && u.Status != 0 {
				b.mu.Lock()
				b.seen = append(b.seen, u)
				b.mu.Unlock()
			}
		}
	}()
	t.Cleanup(func() { in.Close(); <-done; cmd.Wait() })
	return b
}

// has reports whether the handler understood something, a status or the text of a message, with the id of the message that
// it replies to.
func (b *inbox) has(want string) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.seen {
		for _, s := range u.Statuses {
			if s.ID+" "+s.Status == want {
				return true
			}
		}
		for _, m := range u.Messages {
			if strings.TrimSpace(m.From+" "+m.Text+" "+m.Context) == want {
				return true
			}
		}
	}
	return false
}

// refusals returns what the handler did not accept.
func (b *inbox) refusals() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, u := range b.seen {
		if u.Status != http.StatusOK {
			all = append(all, u.Error)
		}
	}
	return all
}

// TestRelayedWebhooks: the webhook handler of each SDK that has one accepts what the relay sends, with its signature, and understands the statuses of
// a message that was sent, a message of a customer, and the reply of a customer, which names the message by the id of the answer.
func TestRelayedWebhooks(t *testing.T) {
	t.Parallel()
	const secret = "sdktest-relay-secret-Ä"
	s := startSluice(t, "secrets_key_file: secrets", "relay: {allowed_private_hosts: 127.0.0.1}")
	inboxes := map[string]*inbox{}
	for _, sdk := range sdks {
		if !sdk.inbox {
			continue
		}
		b := startInbox(t, sdk.file, secret)
		inboxes[sdk.file] = b
		s.setTarget(t, sdk.file, fmt.Sprintf(`{"url":%q,"secret":%q,"format":"meta","message_ids":"sluice","phone_number_ids":[%q],"types":["status","inbound"],"actor":"sdktest","reason":"test"}`, b.url, secret, number))
	}
	defer func() {
		if t.Failed() {
			t.Logf("the relay targets: %s", s.call(t, http.MethodGet, s.console+"/v1/relay/targets", adminKey, "", http.StatusOK))
			for name, b := range inboxes {
				b.mu.Lock()
				t.Logf("%s understood %+v", name, b.seen)
				b.mu.Unlock()
			}
		}
	}()
	var sent struct{ Messages []struct{ ID string } }
	body := s.call(t, http.MethodPost, s.base+"/v25.0/"+number+"/messages", apiKey, `{"messaging_product":"whatsapp","to":"+15551234567","type":"text","text":{"body":"Grüße 👋"}}`, http.StatusOK)
	if err := json.Unmarshal(body, &sent); err != nil || len(sent.Messages) != 1 {
		t.Fatalf("sent: %s", body)
	}
	s.call(t, http.MethodPost, s.url+"/_sim/inbound", "", fmt.Sprintf(`{"from":"15551234567","to":%q,"text":"Grüße zurück 👋"}`, number), http.StatusAccepted)
	for _, sdk := range sdks {
		b := inboxes[sdk.file]
		if b == nil {
			continue
		}
		want := []string{"15551234567 Grüße zurück 👋"}
		if sdk.file != "chat-adapter" { // it ignores statuses
			for _, status := range []string{"sent", "delivered", "read"} {
				want = append(want, sent.Messages[0].ID+" "+status)
			}
		}
		for _, w := range want {
			poll.Until(t, sdk.name+" understands "+w, func() bool { return b.has(w) || len(b.refusals()) > 0 })
		}
		if all := b.refusals(); len(all) > 0 {
			t.Errorf("%s refuses: %s", sdk.name, strings.Join(all, "; "))
		}
	}

	// The message was read, and the customer replies to it.
	var record struct{ WAMID string }
	if err := json.Unmarshal(s.call(t, http.MethodGet, s.base+"/v1/messages/"+sent.Messages[0].ID, apiKey, "", http.StatusOK), &record); err != nil || record.WAMID == "" {
		t.Fatalf("record: %+v, %v", record, err)
	}
	s.call(t, http.MethodPost, s.url+"/_sim/inbound", "", fmt.Sprintf(`{"from":"15551234567","to":%q,"text":"Ja","reply_to":%q}`, number, record.WAMID), http.StatusAccepted)
	for _, sdk := range sdks {
		b := inboxes[sdk.file]
		if b == nil {
			continue
		}
		want := "15551234567 Ja"
		if sdk.file != "microfox" { // its schema leaves out what a message replies to
			want += " " + sent.Messages[0].ID
		}
		poll.Until(t, sdk.name+" understands "+want, func() bool { return b.has(want) })
	}
}

// setTarget sets a relay target.
func (s *sluice) setTarget(t *testing.T, name, body string) {
	t.Helper()
	s.call(t, http.MethodPut, s.console+"/v1/relay/targets/"+name, adminKey, body, http.StatusOK)
}

// call makes a call and returns the body of the answer.
func (s *sluice) call(t *testing.T, method, url, key, body string, want int) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != want && resp.StatusCode/100 != want/100 {
		t.Fatalf("%s %s: %d %s", method, url, resp.StatusCode, answer)
	}
	return answer
}
