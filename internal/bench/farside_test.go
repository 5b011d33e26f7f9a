package bench

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

func TestFarSideAnswersLikeTheGraphAPI(t *testing.T) {
	t.Parallel()
	const latency = 30 * time.Millisecond
	s := httptest.NewServer((&farSide{settings: farSideSettings{Latency: latency, Keep: true}}).handler())
	defer s.Close()
	began := time.Now()
	wamids := map[string]bool{}
	for range 3 {
		resp, err := http.Post(s.URL+"/v25.0/106/messages", "application/json",
			strings.NewReader(`{"messaging_product":"whatsapp","to":"+491","biz_opaque_callback_data":"sl1.a.b.1.c","text":{"body":"x"}}`))
		if err != nil {
			t.Fatal(err)
		}
		var answer struct{ Messages []struct{ ID string } }
		err = json.NewDecoder(resp.Body).Decode(&answer)
		resp.Body.Close()
		if err != nil || len(answer.Messages) != 1 {
			t.Fatalf("%+v, %v", answer, err)
		}
		wamids[answer.Messages[0].ID] = true
	}
	if took := time.Since(began); took < 3*latency || len(wamids) != 3 {
		t.Errorf("%d different wamids after %s", len(wamids), took)
	}
	if got := get(t, s.URL+countPath); got != "{\"posts\":3}\n" {
		t.Errorf("count: %q", got)
	}
	lines := strings.Split(strings.TrimSpace(get(t, s.URL+arrivalsPath+"?from=1")), "\n")
	var a arrival
	if err := json.Unmarshal([]byte(lines[0]), &a); err != nil || len(lines) != 2 {
		t.Fatalf("%q, %v", lines, err)
	}
	if a.At.Before(began) || a.Number != "106" || a.To != "+491" || a.Marker != "sl1.a.b.1.c" || !wamids[a.WAMID] {
		t.Errorf("%+v", a)
	}
	if got := get(t, s.URL+"/v25.0/106?fields=throughput"); got != "{}" {
		t.Errorf("a question about a number: %q", got)
	}
}

func get(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("%s, %v", resp.Status, err)
	}
	return string(b)
}

// TestNotification: a notification has a change for each run of messages of a number.
func TestNotification(t *testing.T) {
	t.Parallel()
	body := notification([]arrival{{Number: "1", WAMID: "a", Marker: "m"}, {Number: "1", WAMID: "b"}, {Number: "2", WAMID: "c"}}, "sent")
	var n struct {
		Entry []struct {
			Changes []struct {
				Value struct {
					Metadata struct {
						ID string `json:"phone_number_id"`
					}
					Statuses []struct {
						ID, Status string
						Marker     string `json:"biz_opaque_callback_data"`
					}
				}
			}
		}
	}
	if err := json.Unmarshal(body, &n); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	changes := n.Entry[0].Changes
	if len(changes) != 2 || len(changes[0].Value.Statuses) != 2 || changes[1].Value.Metadata.ID != "2" {
		t.Fatalf("%s", body)
	}
	if s := changes[0].Value.Statuses[0]; s.ID != "a" || s.Status != "sent" || s.Marker != "m" {
		t.Errorf("%+v", s)
	}
}
