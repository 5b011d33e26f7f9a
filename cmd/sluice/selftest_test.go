package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sluice/internal/canary"
)

// TestSelftest: it prints each step with its time, and the error names the step that did not come and where to look.
func TestSelftest(t *testing.T) {
	t.Parallel()
	const begin = `{"at":"2026-01-31T15:04:05Z","state":"queued"},{"at":"2026-01-31T15:04:05.25Z","state":"attempting"},{"at":"2026-01-31T15:04:06Z","state":"submitted"}`
	for name, tt := range map[string]struct {
		state, timeline string
		final           bool
		json            bool
		prints          []string
		fails           string
	}{
		"delivered": {"delivered", begin + `,{"at":"2026-01-31T15:04:07.5Z","state":"delivered"}`, true, false, []string{
			"0.00 s  accepted    Sluice stored the message\n", "0.25 s  attempting ", "1.00 s  submitted ", "2.50 s  delivered ", "message x\n",
		}, ""},
		"failed": {"failed", begin, true, false, []string{"1.00 s  submitted ", "message x\n"}, "the step sent (Meta reported that it sent the message) did not come: the message is failed"},
		"late":   {"submitted", begin, false, false, []string{"1.00 s  submitted "}, "it did not come within 200ms. It waits for (awaiting_status): Meta reports next"},
		"JSON":   {"failed", begin, true, true, []string{`{"id":"x","reached":[{"step":"accepted","at":"2026-01-31T15:04:05Z","seconds":0},`, `"missing":"sent","problem":"the message is failed","advice":"`}, "the step sent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var sent map[string]any
			api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == "POST":
					body, err := io.ReadAll(r.Body)
					if err != nil || json.Unmarshal(body, &sent) != nil {
						t.Errorf("%s, %v", body, err)
					}
					fmt.Fprint(w, `{"id":"x","state":"queued"}`)
				case strings.HasSuffix(r.URL.Path, "/explain"):
					fmt.Fprint(w, `{"rule":"awaiting_status","detail":"Meta reports next."}`)
				default:
					fmt.Fprintf(w, `{"state":%q,"final":%v,"accepted_at":"2026-01-31T15:04:05Z","timeline":[%s]}`, tt.state, tt.final, tt.timeline)
				}
			}))
			defer api.Close()
			s := selftestCmd{Within: 200 * time.Millisecond, apiFlags: apiFlags{JSON: tt.json}}
			var out strings.Builder
			err := s.run(t.Context(), once(api.URL, "k"), "1", canary.Content("+15551234567", "", "hi"), &out)
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("error %v, want %q", err, tt.fails)
			}
			rest := out.String()
			for _, p := range tt.prints {
				_, after, found := strings.Cut(rest, p)
				if !found {
					t.Fatalf("it prints %q, want %q in this order", out.String(), tt.prints)
				}
				rest = after
			}
			if sent["from"] != "1" || sent["class"] != "authentication" || fmt.Sprint(sent["tags"]) != "[canary]" || sent["expires_at"] == nil {
				t.Errorf("it sends %v", sent)
			}
		})
	}
}

// TestSelftestSends: the recipient is that of --to or of the configuration, and no other.
func TestSelftestSends(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "sluice.yaml")
	if err := os.WriteFile(file, []byte(`
numbers: [{phone_number_id: "7"}, {phone_number_id: "8"}]
canary: [{phone_number_id: "7", to: "+15551234567", template: hello_world/en_US}, {phone_number_id: "8", to: "+15551234568", text: Canary}]
`), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		s           selftestCmd
		from, sends string // parts of the message
		fails       string
	}{
		"the flags":              {selftestCmd{From: "1", To: "+1555"}, "1", `"text":{"body":"Sluice selftest"},"to":"+1555"`, ""},
		"a template":             {selftestCmd{From: "1", To: "+1555", Template: "a/en"}, "1", `"template":{"language":{"code":"en"},"name":"a"},"to":"+1555"`, ""},
		"the configuration":      {selftestCmd{Config: file, From: "7"}, "7", `"name":"hello_world"},"to":"+15551234567"`, ""},
		"another text":           {selftestCmd{Config: file, From: "7", Text: "hi"}, "7", `"text":{"body":"hi"},"to":"+15551234567"`, ""},
		"an unknown number":      {selftestCmd{Config: file, From: "9"}, "", "", "no recipient: give --to"},
		"several, and no --from": {selftestCmd{Config: file}, "", "", "no recipient: give --to"},
		"no --from":              {selftestCmd{To: "+1555"}, "", "", "--from is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			from, content, err := tt.s.message(func(string) string { return "" })
			object, _ := json.Marshal(content)
			if (err == nil) != (tt.fails == "") || err != nil && !strings.Contains(err.Error(), tt.fails) || from != tt.from || !strings.Contains(string(object), tt.sends) {
				t.Errorf("from %q, %s, %v", from, object, err)
			}
		})
	}
	if err := (selftestCmd{Within: time.Millisecond}).Validate(); err == nil {
		t.Error("--within 1ms is accepted")
	}
}
