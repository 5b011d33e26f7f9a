package schedules

import (
	"net/http"
	"strings"
	"testing"

	"sluice/internal/described"
	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// TestAnswersAsDescribed: the API answers as its description says, also to requests that it refuses.
func TestAnswersAsDescribed(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-28T12:00:00Z")
	p := f.producer()
	document := string(httpapi.Document{Title: "x", Routes: p.Routes()}.OpenAPI())
	d := described.Read(t, document)
	nine := order(`"at":["09:00"]`, numberA)
	put := func(key, change string) [4]string {
		return [4]string{"setSchedule", key, "/report", strings.Replace(nine, `"at":["09:00"]`, change, 1)}
	}
	in := func(member string) [4]string {
		return [4]string{"setSchedule", "wide", "/report", strings.Replace(nine, `"from"`, member+`,"from"`, 1)}
	}
	for _, tt := range []struct {
		ask    [4]string // operation, API key, the path after /v1/schedules, body
		status int
		want   string // the code and the path of the first problem, or a part of the answer
	}{
		{[4]string{"listSchedules", "wide"}, 200, `"schedules":[]`},
		{[4]string{"getSchedule", "wide", "/report"}, 404, "schedule_not_found name"},
		{[4]string{"deleteSchedule", "wide", "/report"}, 404, "schedule_not_found name"},
		{put("wide", `"at":["02:30"],"time_zone":"Europe/Berlin"`), 200, `"next":["2026-03-29T01:00:00Z","2026-03-30T00:30:00Z"`},
		{put("wide", `"at":["09:00"],"last_day":"2026-03-29"`), 200, `"next":["2026-03-29T09:00:00Z"]`},
		{put("wide", `"at":["09:00"],"last_day":"2026-03-28"`), 422, "schedule_over last_day"},
		{put("wide", `"at":[]`), 422, "schedule_time_invalid at"},
		{put("wide", `"at":["9"],"days":["x"]`), 422, "schedule_time_invalid at[0]"},
		{put("wide", `"at":["09:00"],"days":["x"]`), 422, "schedule_day_invalid days[0]"},
		{put("wide", `"at":["09:00"],"time_zone":"Berlin"`), 422, "time_zone_unknown time_zone"},
		{put("wide", `"at":["09:00"],"every":"day"`), 422, "field_unknown every"},
		{put("wide", `"at":"09:00"`), 422, "type_mismatch at"},
		{[4]string{"setSchedule", "wide", "/report", `{"at":["09:00"]}`}, 422, "from_missing request.from"},
		{[4]string{"setSchedule", "wide", "/report", `{"at":["09:00"],"request":[]}`}, 422, "type_mismatch request"},
		{[4]string{"setSchedule", "wide", "/report", `{`}, 400, "json_invalid "},
		{[4]string{"setSchedule", "wide", "/A", nine}, 422, "schedule_name_invalid name"},
		{in(`"key":"k"`), 422, "schedule_member_not_allowed request.key"},
		{in(`"send_at":"2026-03-29T09:00:00Z"`), 422, "schedule_member_not_allowed request.send_at"},
		{in(`"after":{}`), 422, "schedule_member_not_allowed request.after"},
		{in(`"key":null`), 200, `"skipped":0`},
		{in(`"ref":"odd"`), 200, `"path":"request.message.x"`},
		{[4]string{"setSchedule", "narrow", "/report", strings.Replace(nine, numberA, numberB, 1)}, 404, "phone_number_id_not_found request.from"},
		{[4]string{"setSchedule", "reader", "/report", nine}, 403, "scope_missing "},
		{[4]string{"getSchedule", "scopeless", "/report"}, 403, "scope_missing "},
		{[4]string{"getSchedule", "nosuch", "/report"}, 401, "unauthenticated "},
		{[4]string{"getSchedule", "reader", "/report"}, 200, `"api_key":"wide"`},
		{[4]string{"setSchedule", "wide", "/b", strings.Replace(nine, numberA, numberB, 1)}, 200, numberB},
		{[4]string{"setSchedule", "narrow", "/b", nine}, 409, "schedule_name_taken name"},
		{[4]string{"getSchedule", "narrow", "/b"}, 404, "schedule_not_found name"},
		{[4]string{"deleteSchedule", "narrow", "/b"}, 404, "schedule_not_found name"},
		{[4]string{"getSchedule", "acme", "/report"}, 404, "schedule_not_found name"},
		{[4]string{"setSchedule", "acme", "/report", nine}, 200, `"api_key":"acme"`}, // another one of the same name
		{[4]string{"getSchedule", "wide", "/report"}, 200, `"api_key":"wide"`},
		{[4]string{"listSchedules", "narrow"}, 200, `"to":"` + message.Mask("+"+recipient) + `"`},
		{[4]string{"listSchedules", "wide"}, 200, `{"schedules":[{"name":"b"`},
		{[4]string{"deleteSchedule", "narrow", "/report"}, 200, `"name":"report"`},
		{[4]string{"listSchedules", "narrow"}, 200, `"schedules":[]`},
		{[4]string{"listSchedules", "acme"}, 200, `{"schedules":[{"name":"report"`},
	} {
		_, method := d.Find(tt.ask[0])
		w := p.do(tt.ask[1], method, "/v1/schedules"+tt.ask[2], tt.ask[3])
		got := w.Body.String()
		if w.Code >= http.StatusBadRequest {
			code, path, _ := strings.Cut(tt.want, " ")
			tt.want = `"errors":[{"path":"` + path + `","code":"` + code + `"`
			if !strings.Contains(document, "`"+code+"`") && code != "type_mismatch" {
				t.Errorf("no route has %s in its Codes", code)
			}
		}
		if w.Code != tt.status || !strings.Contains(got, tt.want) {
			t.Errorf("%q: %d %s, want %d with %s", tt.ask, w.Code, got, tt.status, tt.want)
		}
		if tt.ask[0] == "listSchedules" && strings.Contains(got, recipient) {
			t.Errorf("a list has a recipient: %s", got)
		}
		d.Check(tt.ask[0], w.Code, w.Header(), got)
	}
}
