package intake_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestCheckBatchSaysWhen: a line is sent after the lines before it that would be accepted and are sent as soon as they can be. Where a budget has
// too little left it says so, and no time.
func TestCheckBatchSaysWhen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	b.forecast = func(ahead int) message.Forecast {
		f := message.Forecast{In: time.Duration(ahead+1) * time.Hour}
		if ahead == 2 {
			f.Short = []message.BudgetUse{{Client: "acme", Budget: "campaign", Limit: 500_000, Spent: 250_000}}
		}
		return f
	}
	lines := []string{
		envelope(`,"campaign":"a"`), "{", envelope(`,"campaign":"a"`),
		envelope(`,"campaign":"a","send_at":"` + time.Now().Add(time.Hour).Format(time.RFC3339) + `"`), envelope(`,"campaign":"a"`),
	}
	r := b.do(t, http.MethodPost, "/v1/messages/batch/check", strings.Join(lines, "\n"), withHeader("Content-Type", "application/x-ndjson"))
	want := []string{"1", "", "2", "", `[{"budget":"campaign","limit":"0.50","spent":"0.25"}]`} // hours, or budgets
	for i, text := range strings.Split(strings.TrimSpace(r.body), "\n") {
		var line struct {
			SentAbout   time.Time       `json:"sent_about"`
			OverBudgets json.RawMessage `json:"over_budgets"`
		}
		if err := json.Unmarshal([]byte(text), &line); err != nil {
			t.Fatal(err)
		}
		got := string(line.OverBudgets)
		if !line.SentAbout.IsZero() {
			got += fmt.Sprint(int((time.Until(line.SentAbout) + 30*time.Minute) / time.Hour))
		}
		if got != want[i] {
			t.Errorf("line %d: %q, want %q: %s", i+1, got, want[i], text)
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
