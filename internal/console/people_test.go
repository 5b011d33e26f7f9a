package console_test

import (
	"fmt"
	"strings"
	"testing"

	"sluice/internal/message"
)

// TestPeople: what is stored about a person is counted, exported and deleted with the number in hand, which the audit log has
// masked only. Messages that wait are refused with their count, or cancelled, and what is being sent stays.
func TestPeople(t *testing.T) {
	t.Parallel()
	const person = `"recipient":"+49 (170) 123-4567"`
	d := setup(t)
	for id, state := range map[string]message.State{"read": message.Read, "sent": message.Sent, "queued": message.Queued, "attempting": message.Attempting} {
		d.store.open[id] = message.Open{ID: id, State: state}
	}
	ask := func(verb, body string, want int) map[string]any {
		t.Helper()
		status, answer := d.ask(t, "wide", "POST", "/v1/people/"+verb, body)
		if status != want {
			t.Errorf("%s: %d %v, want %d", verb, status, answer, want)
		}
		return answer
	}
	if a := ask("show", `{`+person+`}`, 200); a["identities"] != 2.0 || a["archive_rows"] != 1.0 || a["messaging_limit_entries"] != 1.0 || a["messages"].(map[string]any)["queued"] != 1.0 || a["schedule_count"] != 1.0 || a["other_entries"] != 1.0 {
		t.Errorf("show: %v", a)
	}
	if a := ask("export", `{`+person+`,`+signed+`}`, 200); len(a["records"].([]any)) != 4 || len(a["archive"].([]any)) != 1 || len(a["messaging_limits"].([]any)) != 1 || len(a["schedules"].([]any)) != 1 || a["others"].([]any)[0].(map[string]any)["what"] != "customer_service_window" {
		t.Errorf("export: %v", a)
	}
	if a := ask("delete", `{`+person+`,`+signed+`}`, 409); a["code"] != "person_has_messages" || !strings.Contains(a["detail"].(string), "2 messages") || len(d.store.open) != 4 || d.store.unscheduled || d.store.untraced {
		t.Errorf("delete: %v", a)
	}
	if a := ask("delete", `{`+person+`,"waiting":"cancel",`+signed+`}`, 200); a["deleted"] != 3.0 || a["cancelled"] != 1.0 || a["remaining"] != 1.0 || a["messaging_limit_entries"] != 1.0 || a["archive_rows"] != 1.0 || d.store.forgotten != 0 || a["other_entries"] != 1.0 || fmt.Sprint(a["schedules"]) != "[map[client:acme name:report]]" {
		t.Errorf("delete: %v", a)
	}
	delete(d.store.open, "attempting")
	if a := ask("delete", `{`+person+`,`+signed+`}`, 200); a["remaining"] != 0.0 || d.store.forgotten != 1 || a["other_entries"] != 0.0 || len(a["schedules"].([]any)) != 0 {
		t.Errorf("delete again: %v", a)
	}
	for _, e := range d.store.noted {
		if e.On != "+49***67" || e.Actor != "anna" {
			t.Errorf("audit log: %+v", e)
		}
	}
	if len(d.store.noted) != 3 {
		t.Errorf("%d entries of the audit log, want one for each order that was carried out", len(d.store.noted))
	}
	for body, code := range map[string]string{`{"recipient":"anna"}`: "person_invalid", `{` + person + `,"waiting":"x"}`: "waiting_unknown"} {
		verb := "show"
		if code == "waiting_unknown" {
			verb, body = "delete", strings.Replace(body, "{", `{`+signed+`,`, 1)
		}
		if a := ask(verb, body, 422); a["code"] != code {
			t.Errorf("%s: %v", body, a)
		}
	}
	d.store.unindexed = true
	if a := ask("show", `{`+person+`}`, 422); a["code"] != "recipient_index_missing" {
		t.Errorf("without an index: %v", a)
	}
}
