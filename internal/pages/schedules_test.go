package pages_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/secrets"
)

// TestSchedulesPage: the page shows the schedules that the key may see, their next times, and the message of the last tick. A removal needs a
// reason, and is in the audit log.
func TestSchedulesPage(t *testing.T) {
	t.Parallel()
	s := setup(t)
	box, year := secrets.New("a key of the tests", ""), time.Now().Year()+1
	for id, tick := range map[string]string{
		"acme/weekly": `"number":"` + ours + `","last":{"at":"2026-01-26T08:00:00Z","result":"accepted","message_id":"` + ours + `-abc"}`,
		"/daily":      `"number":"` + theirs + `","last":{"at":"2026-01-26T08:00:00Z","result":"refused","code":"api_key_revoked","detail":` + fmt.Sprintf("%q", hostile) + `}`,
	} {
		text, err := box.Encrypt("schedule "+id, `{"at":["09:00"],"days":["mon"],"time_zone":"Europe/Berlin","request":{},"to":"+49***1","key":"shop","skipped":3,`+tick+fmt.Sprintf(`,"next":"%d-07-05T07:00:00Z"}`, year))
		if err == nil {
			err = s.redis.HSet(t.Context(), "sluice:{s00}:schedules", id, text).Err()
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	b := s.signIn("admin")
	p := b.get("/console/schedules")
	contains(t, p, "weekly", "mon at 09:00 Europe/Berlin", fmt.Sprint(year, "-07-05 07:00:00"), "/console/messages/"+ours+"-abc", "api_key_revoked", "49***1")
	if strings.Contains(p.text, hostile) {
		t.Error("a text of Sluice's answer became a part of the page")
	}
	if p := s.signIn("acmes").get("/console/schedules"); !strings.Contains(p.text, "weekly") || strings.Contains(p.text, "daily") {
		t.Error("a client does not see just its own schedules")
	}
	contains(t, s.signIn("reader").act("/console/schedules", "remove", "name", "weekly", "client", "acme", "reason", "over"), "admin")
	contains(t, b.get("/console/schedules?remove=weekly&client=acme"), "Remove the schedule weekly of client acme")
	contains(t, b.act("/console/schedules", "remove", "name", "weekly", "client", "acme"), "reason")
	if n := s.redis.HLen(t.Context(), "sluice:{s00}:schedules").Val(); n != 2 {
		t.Errorf("%d schedules are left, want 2", n)
	}
	if p := b.act("/console/schedules", "remove", "name", "weekly", "client", "acme", "reason", "over"); !strings.Contains(p.text, "Removed: schedule weekly") || strings.Contains(p.text, "mon at 09:00 Europe/Berlin</td><td><a href=\"/console/numbers/"+ours) {
		t.Errorf("after the removal: %s", p.text)
	}
	contains(t, b.get("/console/audit"), "schedule-remove", "schedule weekly of client acme", "over")
}
