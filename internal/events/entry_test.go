package events

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestEncode: it writes what encoding/json writes, in one line.
func TestEncode(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, e := range []message.Event{
		{},
		{Version: 7, Type: message.EventInbound, At: 1763820431200, Number: "106540352242922", WABA: "1", Field: "messages", Meta: json.RawMessage(`{"a":1}`)},
		{Type: message.EventStatus, Display: "15550783881", Contacts: json.RawMessage(`[{"wa_id":"1"}]`), Meta: json.RawMessage(`{"a":1}`)},
		{Type: message.EventStatus, Contacts: json.RawMessage(`[]`)},
		{Type: message.EventStatus, Report: &message.StatusReport{}},
		{Type: message.EventStatus, Report: &message.StatusReport{Number: "1", WAMID: "wamid.A==", Status: "failed", At: at, Marker: "sl1.x", Code: 131026}},
		{Type: message.EventStatus, Report: &message.StatusReport{Status: "a\n\"\\<b>&\u2028\xff\x00é\u007f", At: at.Add(time.Millisecond).In(time.FixedZone("", 3600))}},
		{Type: message.EventStatus, Report: &message.StatusReport{Code: 131026, Detail: message.ErrorDetail{Message: "<b>\n", Details: "é", Subcode: 7, Trace: "A"}}},
		{Type: message.EventStatus, Report: &message.StatusReport{Detail: message.ErrorDetail{Subcode: 7}}},
		{Type: message.EventStatus, Report: &message.StatusReport{Status: "failed", Type: "payment", Participant: "16505551234"}},
		{Type: "\n", Field: "\t"},
		{Type: message.EventMessage, State: &message.Change{To: message.Sent}, Message: &message.Context{ID: "1-a"}},
		{Type: message.EventHandover, Number: "1", Handover: &message.Handover{Owner: message.OwnedByUs, Change: "control_passed", To: "escalation"}, Meta: json.RawMessage(`{"a":1}`)},
		{Type: message.EventGap, Gap: &message.Gap{Group: "crm"}},
		{Type: message.EventSuppression, At: 1, Number: "1", OptOut: &message.OptOut{Change: message.OptedOut, Recipient: "+16***34", Source: message.SuppressedByWord}},
	} {
		got, err := encode([]byte("before\n"), e)
		if err != nil {
			t.Fatal(err)
		}
		e.Version = message.EventVersion // encode sets it
		want, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != "before\n"+string(want) {
			t.Errorf("%s, want %s", got, want)
		}
	}
	got, err := encode(nil, message.Event{Meta: json.RawMessage("\n{\r\n\"a\":\n\"\\n\"}\n")})
	if err != nil || strings.Contains(string(got), "\n") || !json.Valid(got) {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := encode(nil, message.Event{Report: &message.StatusReport{At: time.Date(20_000, 1, 1, 0, 0, 0, 0, time.UTC)}}); err == nil {
		t.Error("a time that JSON cannot represent was encoded")
	}
}

func FuzzEncode(f *testing.F) {
	f.Add("status", "wamid.A", "sent", "sl1")
	f.Fuzz(func(t *testing.T, kind, wamid, status, marker string) {
		e := message.Event{Version: message.EventVersion, Type: kind, Field: marker, Report: &message.StatusReport{WAMID: wamid, Status: status, Marker: marker}}
		got, err := encode(nil, e)
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := json.Marshal(e); string(got) != string(want) {
			t.Errorf("%s, want %s", got, want)
		}
	})
}
