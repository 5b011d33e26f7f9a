package intake_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"sluice/internal/message"
)

// FuzzPost: on both paths, a body is either accepted, and its message is valid JSON, or refused with a detail and a
// fix, and then nothing is stored.
func FuzzPost(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `{"from":"9"}`, envelope(""), envelope(`,"class":"marketing","key":"k","tags":["a"],"ref":"1","expires_at":"2999-01-01T00:00:00Z"`),
		envelope(`,"send_at":"2999-01-01T00:00:00Z","key":1`), `{"messaging_product":"whatsapp",` + hello[1:], `{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`,
	} {
		f.Add([]byte(body))
	}
	b := setup(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		for _, path := range []string{"/v1/messages", metas} {
			clear(b.store.messages)
			clear(b.store.records)
			r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(string(body)))
			r.Header.Set("Authorization", "Bearer "+b.narrow)
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			b.Config.Handler.ServeHTTP(w, r)
			if w.Code >= 500 || !json.Valid(w.Body.Bytes()) {
				t.Fatalf("%s: %d %s", path, w.Code, w.Body)
			}
			if (w.Code >= 400) != (len(b.store.messages) == 0) && !strings.Contains(w.Body.String(), "success") {
				t.Errorf("%s: %d with %d messages stored", path, w.Code, len(b.store.messages))
			}
			for id, m := range b.store.messages {
				if number, ok := message.Number(id); !ok || number != ours || !json.Valid(m.Payload) || m.Content.Type == "" || m.Content.Recipient() == "" {
					t.Errorf("%s: kept %+v", path, m)
				}
			}
			var p struct {
				Errors []message.Problem
			}
			if w.Code >= 400 && path == "/v1/messages" {
				if err := json.Unmarshal(w.Body.Bytes(), &p); err != nil || len(p.Errors) == 0 || p.Errors[0].Code == "" || p.Errors[0].Fix == "" {
					t.Errorf("refused by %s", w.Body)
				}
			}
		}
	})
}
