package intake_test

import (
	"encoding/json"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"
)

// TestCheckBatchSaysWhen: a line is sent after the lines before it with the same number, class and campaign.
func TestCheckBatchSaysWhen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.sendETA = func(ahead int) time.Duration { return time.Duration(ahead+1) * time.Hour }
	lines := []string{
		envelope(`,"campaign":"a"`), envelope(`,"campaign":"b"`), "{", envelope(`,"campaign":"a"`), envelope(`,"campaign":"a","class":"marketing"`), envelope(`,"campaign":"a"`),
		envelope(`,"campaign":"a","send_at":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`),
	}
	r := b.do(t, http.MethodPost, "/v1/messages/batch/check", strings.Join(lines, "\n"), withHeader("Content-Type", "application/x-ndjson"))
	want := []time.Duration{1, 1, 0, 2, 1, 3, 0} // hours; 0: none
	for i, text := range strings.Split(strings.TrimSpace(r.body), "\n") {
		var got struct {
			SentAbout time.Time `json:"sent_about"`
		}
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		hours := time.Duration(0)
		if !got.SentAbout.IsZero() {
			hours = (time.Until(got.SentAbout) + 30*time.Minute) / time.Hour
		}
		if hours != want[i] {
			t.Errorf("line %d is sent after %d hours, want %d: %s", i+1, hours, want[i], text)
		}
	}
}

// TestCheckBatch: each line of a batch that is checked gets the answer that it would get alone, and nothing is stored.
func TestCheckBatch(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.post(t, envelope(`,"key":"sent"`))
	before := maps.Clone(b.store.messages)
	lines := []string{
		envelope(`,"key":"new","class":"marketing","ref":"r"`),
		envelope(`,"key":"sent"`),
		envelope(`,"key":"sent","ref":"other"`),
		envelope(`,"class":"urgent"`),
		"{",
		envelope(`,"key":"last","send_at":"2001-01-01T00:00:00Z"`),
	}
	r := b.do(t, http.MethodPost, "/v1/messages/batch/check", strings.Join(lines, "\n"), withHeader("Content-Type", "application/x-ndjson"))
	answers := strings.Split(strings.TrimSpace(r.body), "\n")
	if r.status != http.StatusOK || len(answers) != len(lines) {
		t.Fatalf("%d %s", r.status, r.body)
	}
	for i, line := range lines {
		alone := b.do(t, http.MethodPost, "/v1/messages/check", line, nil)
		var got, want map[string]any
		if json.Unmarshal([]byte(answers[i]), &got) != nil || json.Unmarshal([]byte(alone.body), &want) != nil {
			t.Fatalf("%s\n%s", answers[i], alone.body)
		}
		if alone.status != http.StatusOK {
			delete(want, "request_id")
			want = map[string]any{"problem": want}
		} else { // the deadline begins now
			delete(got, "expires_at")
			delete(want, "expires_at")
		}
		want["line"], want["status"] = float64(i+1), float64(alone.status)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("line %d: %v\nwant %v", i+1, got, want)
		}
	}
	if !reflect.DeepEqual(b.store.messages, before) {
		t.Error("a check stored a message")
	}
}
