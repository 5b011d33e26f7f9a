package cloudapi_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/golden"
	"sluice/internal/message"
)

//go:generate go test . -update

// now is when the webhooks of the tests arrive.
var now = time.Date(2025, 6, 16, 0, 0, 0, 0, time.UTC)

const waba = "102290129340398"

func TestGoldenEvents(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"statuses", "inbound", "updates"} {
		events, err := cloudapi.Events(readFile(t, name+".json"), now)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := json.MarshalIndent(events, "", " ")
		if err != nil {
			t.Fatal(err)
		}
		golden.File(t, filepath.Join("testdata", name+".golden.json"), append(got, '\n'))
		for i, e := range events {
			if e.Version != message.EventVersion || e.At != now.UnixMilli() || e.WABA != waba || e.Field == "" || len(e.Meta) == 0 {
				t.Errorf("%s, event %d: %+v", name, i, e)
			}
		}
	}
}

func readFile(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// The test repeats the contents of the golden files, because a golden file does not show what is missing.
func TestEveryItemIsAnEvent(t *testing.T) {
	t.Parallel()
	statuses := read(t, "statuses")
	var got []string
	for _, e := range statuses {
		if e.Type != message.EventStatus || e.Number != number || e.Report.Number != number {
			t.Errorf("%+v", e)
		}
		got = append(got, e.Report.Status)
	}
	equal(t, got, strings.Fields(`sent delivered read played delivered read sent teleported deleted warning
		failed failed sent delivered delivered captured sent`))

	got = nil
	for _, e := range read(t, "inbound") {
		if e.Type != message.EventInbound {
			got = append(got, e.Type)
			continue
		}
		var m struct {
			Message struct{ Type string }
		}
		if err := json.Unmarshal(e.Meta, &m); err != nil {
			t.Fatal(err)
		}
		got = append(got, m.Message.Type)
	}
	equal(t, got, strings.Fields(`text image video audio document sticker location contacts button interactive interactive
		interactive interactive interactive order reaction reaction edit revoke unsupported request_welcome text hologram text
		system system system text text status update`))

	got = nil
	for _, e := range read(t, "updates") {
		if e.Type != message.EventUpdate {
			t.Errorf("%+v", e)
		}
		got = append(got, e.Field)
	}
	equal(t, slices.Compact(got), strings.Fields(`message_template_status_update message_template_quality_update
		message_template_components_update template_category_update phone_number_quality_update phone_number_name_update
		account_update account_alerts account_review_update business_capability_update security flows user_preferences
		business_username_updates payment_configuration_update partner_solutions history smb_message_echoes smb_app_state_sync
		automatic_events calls group_lifecycle_update group_participants_update group_settings_update group_status_update
		account_settings_update something_of_next_year`))
}

func read(t *testing.T, name string) []message.Event {
	t.Helper()
	events, err := cloudapi.Events(readFile(t, name+".json"), now)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

func equal(t *testing.T, got, want []string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("\n got %v\nwant %v", got, want)
	}
}

func TestStatusReports(t *testing.T) {
	t.Parallel()
	at := time.Unix(1750030073, 0).UTC()
	tests := []struct {
		name, status string
		want         message.StatusReport
	}{
		{
			"full", `{"id":"wamid.AA==","status":"delivered","timestamp":"1750030073","biz_opaque_callback_data":"sl1.x"}`,
			message.StatusReport{WAMID: "wamid.AA==", Status: "delivered", At: at, Marker: "sl1.x"},
		},
		{
			"failed", `{"id":"wamid.AA","status":"failed","timestamp":"1750030073","errors":[{"code":131026},{"code":1}]}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "failed", At: at, Code: 131026},
		},
		{
			"code as text", `{"id":"wamid.AA","status":"failed","timestamp":"1750030073","errors":["?",{"code":"131026"}]}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "failed", At: at, Code: 131026},
		},
		{
			"errors of another type", `{"id":"wamid.AA","status":"failed","timestamp":"1750030073","errors":"131026"}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "failed", At: at},
		},
		{
			"milliseconds", `{"id":"wamid.AA","status":"read","timestamp":"1750030073000"}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "read", At: at},
		},
		{
			"time as number", `{"id":"wamid.AA","status":"read","timestamp":1750030073}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "read", At: at},
		},
		{"no time", `{"id":"wamid.AA","status":"read"}`, message.StatusReport{WAMID: "wamid.AA", Status: "read"}},
		{"time of words", `{"id":"wamid.AA","status":"read","timestamp":"abc"}`, message.StatusReport{WAMID: "wamid.AA", Status: "read"}},
		{"time 0", `{"id":"wamid.AA","status":"read","timestamp":"0"}`, message.StatusReport{WAMID: "wamid.AA", Status: "read"}},
		{"2014", `{"id":"wamid.AA","status":"read","timestamp":"1420070399"}`, message.StatusReport{WAMID: "wamid.AA", Status: "read"}},
		{"2099", `{"id":"wamid.AA","status":"read","timestamp":"4070908800"}`, message.StatusReport{WAMID: "wamid.AA", Status: "read"}},
		{"before 1970", `{"id":"wamid.AA","status":"read","timestamp":"-5"}`, message.StatusReport{WAMID: "wamid.AA", Status: "read"}},
		{
			"a day ahead", `{"id":"wamid.AA","status":"read","timestamp":"` + fmt.Sprint(now.Add(24*time.Hour).Unix()) + `"}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "read", At: now.Add(24 * time.Hour)},
		},
		{
			"more than a day ahead", `{"id":"wamid.AA","status":"read","timestamp":"` + fmt.Sprint(now.Add(24*time.Hour).Unix()+1) + `"}`,
			message.StatusReport{WAMID: "wamid.AA", Status: "read"},
		},
		{"an id of another form", `{"id":"x{y}","status":"read"}`, message.StatusReport{Status: "read"}},
		{"members of other types", `{"id":["wamid.AA"],"status":{},"timestamp":true,"biz_opaque_callback_data":null}`, message.StatusReport{}},
		{
			"id of another type with a valid marker", `{"id":{},"status":"read","biz_opaque_callback_data":"sl1.x"}`,
			message.StatusReport{Status: "read", Marker: "sl1.x"},
		},
	}
	for _, tt := range tests {
		body := `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":` +
			`{"metadata":{"phone_number_id":"2"},"statuses":[` + tt.status + `]}}]}]}`
		events, err := cloudapi.Events([]byte(body), now)
		if err != nil || len(events) != 1 || events[0].Report == nil {
			t.Errorf("%s: %+v, %v", tt.name, events, err)
			continue
		}
		tt.want.Number = "2"
		if got := *events[0].Report; got != tt.want {
			t.Errorf("%s:\n got %+v\nwant %+v", tt.name, got, tt.want)
		}
		if string(events[0].Meta) != tt.status {
			t.Errorf("%s: meta %s", tt.name, events[0].Meta)
		}
	}
}

// A malformed part affects no other part, and becomes an update unchanged.
func TestMalformedParts(t *testing.T) {
	t.Parallel()
	const good = `{"id":"wamid.AA","status":"read"}`
	const entry = `{"id":"1","changes":[{"field":"y","value":2}]}`
	entries := func(s string) string { return `{"object":"whatsapp_business_account","entry":` + s + `}` }
	change := func(value string) string {
		return entries(`[{"id":"1","changes":[{"field":"messages","value":` + value + `}]}]`)
	}
	whole := func(s string) string { return "update " + s }
	tests := []struct{ name, body, want string }{
		{"status", change(`{"statuses":[7,` + good + `]}`), "update 7; status " + good},
		{"message", change(`{"messages":["x"],"statuses":[` + good + `]}`), `update "x"; status ` + good},
		{
			"messages no list", change(`{"messages":{},"statuses":[` + good + `]}`),
			`status ` + good + `; update {"messages":{},"statuses":[` + good + `]}`,
		},
		{
			"contacts no list", change(`{"contacts":3,"statuses":[` + good + `]}`),
			`status ` + good + `; update {"contacts":3,"statuses":[` + good + `]}`,
		},
		{"contact", change(`{"contacts":[7],"messages":[` + good + `]}`), `inbound {"message":` + good + `}`},
		{
			"errors next to a status", change(`{"statuses":[` + good + `],"errors":[{"code":0}]}`),
			`status ` + good + `; update {"statuses":[` + good + `],"errors":[{"code":0}]}`,
		},
		{
			"metadata", change(`{"metadata":3,"statuses":[` + good + `]}`),
			`status ` + good + `; update {"metadata":3,"statuses":[` + good + `]}`,
		},
		{"number with a bracket", change(`{"metadata":{"phone_number_id":"1}:x"},"statuses":[` + good + `]}`), `status ` + good},
		{"value", change(`[1]`), "update [1]"},
		{"value is null", change(`null`), "update null"},
		{"empty value", change(`{}`), "update {}"},
		{"something new in the field", change(`{"polls":[1]}`), `update {"polls":[1]}`},
		{"value of another field", entries(`[` + entry + `]`), `update 2`},
		{"no field", entries(`[{"id":"1","changes":[{"value":1}]}]`), "update 1"},
		{"no value", entries(`[{"id":"1","changes":[{"field":"x"}]}]`), "update "},
		{"empty change", entries(`[{"id":"1","changes":[{}]}]`), ""},
		{
			"change", entries(`[{"id":"1","changes":[5]},` + entry + `]`),
			whole(entries(`[{"id":"1","changes":[5]},`+entry+`]`)) + "; update 2",
		},
		{
			"changes no list", entries(`[{"id":"1","changes":5},` + entry + `]`),
			whole(entries(`[{"id":"1","changes":5},`+entry+`]`)) + "; update 2",
		},
		{"statuses twice", change(`{"statuses":[` + good + `],"statuses":[` + good + `]}`), "status " + good + "; status " + good},
		{"messages twice", change(`{"messages":[` + good + `],"messages":[` + good + `]}`), `inbound {"message":` + good + `}; inbound {"message":` + good + `}`},
		{"changes twice", entries(`[{"id":"1","changes":[{"field":"y","value":2}],"changes":[{"field":"y","value":3}]}]`), "update 2; update 3"},
		{"value twice", entries(`[{"id":"1","changes":[{"field":"y","value":2,"value":3}]}]`), "update 2; update 3"},
		{"entry twice", `{"object":"x","object":"whatsapp_business_account","entry":[` + entry + `],"entry":[` + entry + `]}`, "update 2; update 2"},
		{"status twice, the same", change(`{"statuses":[{"id":"wamid.AA","status":"read","status":"read"}]}`), `status {"id":"wamid.AA","status":"read","status":"read"}`},
		{
			"status twice, another", change(`{"statuses":[{"id":"wamid.AA","status":"read","status":"failed"},` + good + `]}`),
			`update {"id":"wamid.AA","status":"read","status":"failed"}; status ` + good,
		},
		{"id twice", change(`{"statuses":[{"id":"wamid.AA","id":"wamid.BB","status":"read"}]}`), `update {"id":"wamid.AA","id":"wamid.BB","status":"read"}`},
		{
			"two accounts", entries(`[{"id":"1","id":"2","changes":[{"field":"y","value":2}]}]`),
			whole(entries(`[{"id":"1","id":"2","changes":[{"field":"y","value":2}]}]`)) + "; update 2",
		},
		{
			"two numbers", change(`{"metadata":{"phone_number_id":"1"},"metadata":{"phone_number_id":"2"},"statuses":[` + good + `],"messages":[` + good + `]}`),
			`update {"metadata":{"phone_number_id":"1"},"metadata":{"phone_number_id":"2"},"statuses":[` + good + `],"messages":[` + good + `]}`,
		},
		{
			"two numbers in one", change(`{"statuses":[` + good + `],"metadata":{"phone_number_id":"1","phone_number_id":"x"}}`),
			`update {"statuses":[` + good + `],"metadata":{"phone_number_id":"1","phone_number_id":"x"}}`,
		},
		{
			"two numbers in another field", entries(`[{"id":"1","changes":[{"field":"y","value":{"metadata":{"phone_number_id":"1","phone_number_id":"2"}}}]}]`),
			`update {"metadata":{"phone_number_id":"1","phone_number_id":"2"}}`,
		},
		{"entry", entries(`["x",` + entry + `]`), whole(entries(`["x",`+entry+`]`)) + "; update 2"},
		{"entries no list", entries(`"x"`), whole(entries(`"x"`))},
		{"no entries", entries(`[]`), ""},
		{"entries are null", entries(`null`), ""},
		{"entry without changes", entries(`[{"id":"1"}]`), ""},
	}
	for _, tt := range tests {
		events, err := cloudapi.Events([]byte(tt.body), now)
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
		}
		var got []string
		for _, e := range events {
			got = append(got, e.Type+" "+string(e.Meta))
			if e.Number != "" {
				t.Errorf("%s: number %q", tt.name, e.Number)
			}
		}
		if s := strings.Join(got, "; "); s != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, s, tt.want)
		}
	}
}

// Distant times overflow in calculations.
func TestTimesThatCannotBeTrue(t *testing.T) {
	t.Parallel()
	for _, at := range []string{
		"-9223372036854775808", "-9223372036854775807", "-9000000000000000000", "9223372036854775807", "9223372036854775", "100000000000", "100000000001", "-1", "0", "1e9", "",
	} {
		body := `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"statuses":[{"id":"wamid.AA","status":"read","timestamp":"` + at + `"}]}}]}]}`
		events, err := cloudapi.Events([]byte(body), now)
		if err != nil || len(events) != 1 || events[0].Report == nil {
			t.Fatalf("%s: %v, %v", at, events, err)
		}
		if got := events[0].Report.At; !got.IsZero() && (got.Year() < 2015 || got.After(now.Add(24*time.Hour))) {
			t.Errorf("%s: %s", at, got)
		}
		if _, err := json.Marshal(events[0]); err != nil {
			t.Errorf("%s: %v", at, err)
		}
	}
}

// The status of a payment is not a status of the message. The failure for one member of a group is not a failure of the
// message.
func TestStatusesOfOtherThings(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]message.State{
		`{"id":"wamid.AA","status":"failed"}`:                                                         message.Failed,
		`{"id":"wamid.AA","status":"failed","type":"payment"}`:                                        "",
		`{"id":"wamid.AA","status":"captured","type":"payment"}`:                                      "",
		`{"id":"wamid.AA","status":"failed","recipient_type":"group"}`:                                message.Failed,
		`{"id":"wamid.AA","status":"failed","recipient_type":"group","recipient_participant_id":"1"}`: "",
		`{"id":"wamid.AA","status":"failed","recipient_type":"group","participant_recipient_id":"1"}`: "",
		`{"id":"wamid.AA","status":"read","recipient_type":"group","recipient_participant_id":"1"}`:   message.Read,
	} {
		body := `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"statuses":[` + status + `]}}]}]}`
		events, err := cloudapi.Events([]byte(body), now)
		if err != nil || len(events) != 1 || events[0].Report == nil {
			t.Fatalf("%s: %v, %v", status, events, err)
		}
		if got, _ := events[0].Report.State(); got != want {
			t.Errorf("%s proves the state %q, want %q", status, got, want)
		}
	}
}

// TestEventsHaveWhatMetaSendsBeside: a status has the contacts of its recipient, a message that of its sender, and a single
// item has the single contact whatever its ids.
func TestEventsHaveWhatMetaSendsBeside(t *testing.T) {
	t.Parallel()
	const ann, bob = `{"profile":{"name":"Ann"},"wa_id":"1"}`, `{"user_id":"US.2"}`
	const read1, read2 = `{"id":"wamid.A","status":"read","recipient_id":"1"}`, `{"id":"wamid.B","status":"read","recipient_user_id":"US.2"}`
	value := func(members string) string {
		return `{"metadata":{"display_phone_number":"15550783881","phone_number_id":"7"},` + members + `}`
	}
	for _, tt := range []struct {
		name, field, value string
		want               []string // by event: contacts, or the contact in meta
	}{
		{"two", "messages", value(`"contacts":[` + ann + `,` + bob + `],"statuses":[` + read2 + `,` + read1 + `]`), []string{`[` + bob + `]`, `[` + ann + `]`}},
		{"another id", "messages", value(`"contacts":[` + bob + `],"statuses":[` + read1 + `]`), []string{`[` + bob + `]`}},
		{"another id of two", "messages", value(`"contacts":[` + bob + `],"statuses":[` + read1 + `,` + read1 + `]`), []string{"", ""}},
		{"no contact", "messages", value(`"contacts":[7],"statuses":[` + read1 + `]`), []string{""}},
		{"message", "messages", value(`"contacts":[` + bob + `],"messages":[{"from":"1"}]`), []string{`{"message":{"from":"1"},"contact":` + bob + `}`}},
		{
			"handover", "messaging_handovers", `{"recipient":{"phone_number_id":"7","display_phone_number":"15550783881"},"control_passed":{}}`,
			[]string{`{"recipient":{"phone_number_id":"7","display_phone_number":"15550783881"},"control_passed":{}}`},
		},
	} {
		body := `{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"` + tt.field + `","value":` + tt.value + `}]}]}`
		events, err := cloudapi.Events([]byte(body), now)
		if err != nil || len(events) != len(tt.want) {
			t.Errorf("%s: %v, %v", tt.name, events, err)
			continue
		}
		for i, e := range events {
			got := string(e.Contacts)
			if e.Report == nil {
				got = string(e.Meta)
			}
			if got != tt.want[i] || e.Number != "7" || e.Display != "15550783881" {
				t.Errorf("%s: %s of number %q %q, want %s", tt.name, got, e.Number, e.Display, tt.want[i])
			}
		}
	}
}

func TestNoWebhookOfOurs(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"object":"page","entry":[{"id":"1"}]}`, `{}`, `null`, `{"object":7}`} {
		if events, err := cloudapi.Events([]byte(body), now); !errors.Is(err, cloudapi.ErrOtherObject) || events != nil {
			t.Errorf("%s: %v, %v", body, events, err)
		}
	}
	for _, body := range []string{``, `canary`, `[]`, `"canary"`, `{"object":"whatsapp_business_account"`} {
		events, err := cloudapi.Events([]byte(body), now)
		if err == nil || errors.Is(err, cloudapi.ErrOtherObject) || events != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: %v, %v", body, events, err)
		}
	}
}

func FuzzEvents(f *testing.F) {
	for _, name := range []string{"statuses.json", "inbound.json", "updates.json"} {
		f.Add(readFile(f, name))
	}
	f.Add([]byte(`{"object":"whatsapp_business_account","entry":[{"id":1,"changes":[{"field":"messages","value":{"statuses":[null,{"errors":[null]}],"messages":[{}],"contacts":[null]}}]}]}`))
	f.Add([]byte(`{"object":"page"}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		events, err := cloudapi.Events(body, now)
		if err != nil && len(events) > 0 {
			t.Error("events with an error")
		}
		for _, e := range events {
			b, err := json.Marshal(e)
			if err != nil {
				t.Fatalf("event cannot be written: %v", err)
			}
			var back message.Event
			if err := json.Unmarshal(b, &back); err != nil {
				t.Fatalf("event cannot be read back: %v", err)
			}
			if e.Number != "" && !message.IsNumberID(e.Number) {
				t.Errorf("number %q", e.Number)
			}
			if r := e.Report; (r != nil) != (e.Type == message.EventStatus) || r != nil && r.WAMID != "" && !cloudapi.ValidWAMID(r.WAMID) {
				t.Errorf("report %+v of type %s", r, e.Type)
			}
		}
	})
}

func BenchmarkEvents(b *testing.B) {
	var body strings.Builder
	body.WriteString(`{"object":"whatsapp_business_account","entry":[{"id":"1","changes":[{"field":"messages","value":{"metadata":{"phone_number_id":"106540352242922"},"statuses":[`)
	for i := range 1000 {
		if i > 0 {
			body.WriteByte(',')
		}
		fmt.Fprintf(&body, `{"id":"wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI%d","status":"delivered","timestamp":"1750030073","recipient_id":"16505551234",`+
			`"biz_opaque_callback_data":"sl1.prod.106540352242922-abcdefghijklmnopqrstuvwxyz.1.0a1b2c3d",`+
			`"pricing":{"billable":true,"pricing_model":"PMP","type":"regular","category":"utility"}}`, i)
	}
	body.WriteString(`]}}]}]}`)
	raw := []byte(body.String())
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		if events, err := cloudapi.Events(raw, now); err != nil || len(events) != 1000 {
			b.Fatal(len(events), err)
		}
	}
}
