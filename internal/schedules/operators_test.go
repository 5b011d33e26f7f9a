package schedules

import (
	"strings"
	"testing"
)

// TestOfPerson: the schedules to a person, also those that are paused, are found by any client, and removed with their next ticks. Those
// to others stay. One that was changed to another recipient meanwhile stays too.
func TestOfPerson(t *testing.T) {
	t.Parallel()
	f := setup(t, "2026-03-01T08:30:00Z")
	p := f.producer()
	const nine, other = `"at":["09:00"]`, "+15559990000"
	p.set("acme", "report", nine)
	p.set("wide", "report", nine+`,"paused":true`)
	p.answer(p.do("wide", "PUT", "/v1/schedules/others", strings.ReplaceAll(order(nine, numberA), "+"+recipient, other)))
	person := func(to string) bool { return to == "+"+recipient }
	names := func(is func(string) bool, forget bool) (all string) {
		t.Helper()
		found, err := p.OfPerson(t.Context(), is, forget)
		if err != nil {
			t.Fatal(err)
		}
		for _, one := range found {
			all += one.Client + "/" + one.Name + " "
			if !strings.Contains(string(one.Request), "the text") {
				t.Errorf("%+v", one)
			}
		}
		return all
	}
	if got := names(person, false); got != "/report acme/report " {
		t.Errorf("found %s", got)
	}
	asked := 0
	changing := func(to string) bool { asked++; return asked <= 3 && person(to) } // after they were found
	if got := names(changing, true); got != "" || f.redis.HLen(t.Context(), allKey()).Val() != 3 {
		t.Errorf("removed %s", got)
	}
	if got := names(person, true); got != "/report acme/report " {
		t.Errorf("removed %s", got)
	}
	f.at("2026-03-01T09:00:01Z")
	p.pass()
	if all := f.redis.HKeys(t.Context(), allKey()).Val(); len(all) != 1 || len(f.messages) != 1 || !strings.Contains(f.messages["schedule:/others:2026-03-01T09:00:00Z"], other) {
		t.Errorf("left %s, sent %s", all, f.messages)
	}
	if log := f.log.String(); strings.Count(log, "schedule removed, because") != 2 || !strings.Contains(log, "client=acme schedule=report") || strings.Contains(log, recipient) {
		t.Errorf("log: %s", log)
	}
}
