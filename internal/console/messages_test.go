package console_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestResolve: the state of an in-doubt message after an operator's decision.
func TestResolve(t *testing.T) {
	t.Parallel()
	soon, past := time.Now().Add(time.Hour), time.Now().Add(-time.Second)
	for name, tt := range map[string]struct {
		from    message.State
		reason  string
		as      string
		expires time.Time
		want    message.State // "": 409
		moves   int
	}{
		"sent":                         {message.Parked, "", "sent", soon, message.Submitted, 1},
		"sent, long ago":               {message.Parked, "", "sent", past, message.Submitted, 1},
		"not sent":                     {message.Parked, "", "not-sent", soon, message.Queued, 1},
		"not sent, and too late":       {message.Parked, "", "not-sent", past, message.Expired, 1},
		"cancelled":                    {message.Parked, "", "cancel", soon, message.Cancelled, 1},
		"while a status is awaited":    {message.InDoubt, "", "not-sent", soon, message.Queued, 1},
		"once more":                    {message.Submitted, message.ReasonResolved, "sent", soon, message.Submitted, 0},
		"once more, another one":       {message.Submitted, message.ReasonResolved, "cancel", soon, "", 0},
		"70: of what was not in doubt": {message.Queued, "", "not-sent", soon, "", 0},
		"of what a status settled":     {message.Delivered, "", "sent", soon, "", 0},
		"of what is under way again":   {message.Attempting, "", "cancel", soon, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := setup(t)
			id := message.NewID(ours, name)
			d.store.open[id] = message.Open{ID: id, State: tt.from, Reason: tt.reason, ExpiresAt: tt.expires}
			d.store.busy = tt.moves
			status, answer := d.ask(t, "admin", "POST", "/v1/in-doubt/"+id+"/resolve", `{"resolution":"`+tt.as+`",`+signed+`}`)
			switch {
			case tt.want == "" && (status != 409 || answer["code"] != "not_in_doubt"):
				t.Errorf("%d %v", status, answer)
			case tt.want != "" && (status != 200 || answer["state"] != string(tt.want)):
				t.Errorf("%d %v, want %s", status, answer, tt.want)
			}
			if len(d.store.moves) != tt.moves {
				t.Fatalf("moves %+v", d.store.moves)
			}
			if want := (message.AuditEntry{Verb: tt.as, On: id, Actor: "anna", Key: "key-admin", Reason: "because"}); tt.moves == 1 && *d.store.moves[0].Audit != want {
				t.Errorf("audit entry %+v", d.store.moves[0].Audit)
			}
		})
	}
}

// TestListAwaitingStatus: messages that Meta accepted long ago without a status since, of the numbers that the key covers.
func TestListAwaitingStatus(t *testing.T) {
	t.Parallel()
	d := setup(t)
	took := func(number, key string, ago time.Duration) string {
		id := message.NewID(number, key)
		d.store.open[id] = message.Open{ID: id, State: message.Submitted, Since: time.Now().Add(-ago), Message: message.Context{ID: id, From: number}}
		return id
	}
	long := took(ours, "long ago", time.Hour)
	took(ours, "a minute ago", time.Minute)
	took(theirs, "another's", time.Hour)
	for _, tt := range []struct {
		key, query string
		want       int
	}{{"admin", "", 1}, {"admin", "?phone_number_id=" + ours, 1}, {"wide", "", 2}, {"wide", "?phone_number_id=" + theirs, 1}} {
		status, answer := d.ask(t, tt.key, "GET", "/v1/awaiting-status"+tt.query, "")
		list, _ := answer["messages"].([]any)
		if status != 200 || len(list) != tt.want {
			t.Fatalf("%s sees %d %v, want %d", tt.key, status, answer, tt.want)
		}
		if one := list[0].(map[string]any); tt.key == "admin" && (one["id"] != long || one["since"] == nil) {
			t.Errorf("listed %v, want %s", one, long)
		}
	}
	if status, answer := d.ask(t, "admin", "GET", "/v1/awaiting-status?phone_number_id="+theirs, ""); status != 404 && status != 400 && status != 422 {
		t.Errorf("another's number: %d %v", status, answer)
	}
}

// TestReplay: messages that are not dead, or whose deadline has passed, stay, and the answer counts them.
func TestReplay(t *testing.T) {
	t.Parallel()
	d := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	add := func(key string, state message.State, expires, died time.Time) string {
		id := message.NewID(ours, key)
		d.store.open[id] = message.Open{ID: id, State: state, ExpiresAt: expires}
		d.store.dead = append(d.store.dead, message.DeadLetter{ID: id, Number: ours, Code: 131000, Reason: message.ReasonAttempts, At: died})
		return id
	}
	first := add("1", message.Dead, now.Add(time.Hour), now.Add(-4*time.Second))
	add("2", message.Delivered, now.Add(time.Hour), now.Add(-3*time.Second)) // a status came in the meantime
	late := add("3", message.Dead, now.Add(-time.Hour), now.Add(-2*time.Second))
	last := add("4", message.Dead, now.Add(time.Hour), now.Add(-time.Second))

	status, answer := d.ask(t, "admin", "GET", "/v1/dead-letters?phone_number_id="+ours+"&code=131000", "")
	if groups, _ := answer["groups"].([]any); status != 200 || answer["count"] != 4. || len(groups) != 1 || len(d.store.moves) != 0 {
		t.Fatalf("listed: %d %v", status, answer)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","limit":3,`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || answer["overdue"] != 1. || answer["more"] != true || answer["next"] != now.Add(-2*time.Second).Format(time.RFC3339Nano) {
		t.Fatalf("the first three: %d %v", status, answer)
	}
	next, _ := answer["next"].(string)
	status, answer = d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","limit":3,"since":"`+next+`",`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || answer["more"] != false {
		t.Fatalf("the rest: %d %v", status, answer)
	}
	if d.store.open[first].State != message.Queued || d.store.open[last].State != message.Queued || d.store.open[late].State != message.Dead {
		t.Errorf("now %+v", d.store.open)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","extend":"2h",`+signed+`}`)
	if m := d.store.moves[len(d.store.moves)-1]; status != 200 || answer["replayed"] != 1. || time.Until(m.ExpiresAt) < time.Hour || m.Audit.Actor != "anna" {
		t.Errorf("extended: %d %v %+v", status, answer, m)
	}
	if len(d.store.noted) != 3 || d.store.noted[0].On != "up to 3 dead letters of number "+ours {
		t.Errorf("noted %+v", d.store.noted)
	}
}

// TestCodeZeroIsACode: the code 0 selects messages that died without a code of Meta, not all of them.
func TestCodeZeroIsACode(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for key, code := range map[string]int{"with": 131000, "without": 0} {
		id := message.NewID(ours, key)
		d.store.open[id] = message.Open{ID: id, State: message.Dead, ExpiresAt: time.Now().Add(time.Hour)}
		d.store.dead = append(d.store.dead, message.DeadLetter{ID: id, Number: ours, Code: code, At: time.Now()})
	}
	for query, want := range map[string]float64{"": 2, "&code=0": 1, "&code=131000": 1} {
		if status, answer := d.ask(t, "admin", "GET", "/v1/dead-letters?phone_number_id="+ours+query, ""); status != 200 || answer["count"] != want {
			t.Errorf("%q: %d %v, want %v", query, status, answer, want)
		}
	}
	status, answer := d.ask(t, "admin", "POST", "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`","code":0,`+signed+`}`)
	if status != 200 || answer["replayed"] != 1. || d.store.open[message.NewID(ours, "with")].State != message.Dead {
		t.Errorf("%d %v", status, answer)
	}
}

// TestResendEnded: ended messages are counted and sent again by a filter, at an even rate, with one entry in the
// audit log. The answer counts the messages that cannot be sent again.
func TestResendEnded(t *testing.T) {
	t.Parallel()
	d := setup(t)
	now := time.Now().UTC().Truncate(time.Millisecond)
	add := func(key string, state message.State, code int, reason, tag string, expires time.Time) string {
		id := message.NewID(ours, key)
		about := message.Context{ID: id, From: ours, Client: "acme", Campaign: tag, Tags: []string{tag}, Template: "order/en_US"}
		d.store.open[id] = message.Open{ID: id, State: state, Reason: reason, ExpiresAt: expires, Message: about}
		d.store.ended = append(d.store.ended, message.Record{Context: about, State: state, Code: code, Reason: reason, Timeline: []message.Step{{At: now}}})
		return id
	}
	soon, past := now.Add(time.Hour), now.Add(-time.Hour)
	add("1", message.Rejected, 131047, "", "spring", soon)
	add("2", message.Expired, 0, message.ReasonDeadline, "spring", past)
	add("3", message.Dead, 131000, message.ReasonAttempts, "autumn", soon)
	add("4", message.Failed, 0, message.ReasonUndetermined, "spring", soon)
	add("5", message.Delivered, 0, "", "spring", soon)
	for query, want := range map[string][5]float64{ // count, ready, gone, unclear, overdue
		"":                                    {4, 3, 0, 1, 1},
		"&state=expired,dead":                 {2, 2, 0, 0, 1},
		"&tag=spring":                         {3, 2, 0, 1, 1},
		"&campaign=spring&client=acme":        {3, 2, 0, 1, 1},
		"&campaign=spring":                    {}, // of no client
		"&template=order/en_US":               {4, 3, 0, 1, 1},
		"&template=other/en_US":               {},
		"&code=131047":                        {1, 1, 0, 0, 0},
		"&code=0":                             {2, 1, 0, 1, 1},
		"&until=" + past.Format(time.RFC3339): {},
		"&since=" + past.Format(time.RFC3339Nano): {4, 3, 0, 1, 1},
	} {
		status, a := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours+query, "")
		if got := [5]any{a["count"], a["resendable"], a["content_dropped"], a["maybe_delivered"], a["overdue"]}; status != 200 || got != [5]any{want[0], want[1], want[2], want[3], want[4]} {
			t.Errorf("%q: %d %v, want %v", query, status, got, want)
		}
	}
	if status, a := d.ask(t, "admin", "GET", "/v1/undelivered?client=acme&phone_number_id="+ours, ""); status != 422 {
		t.Errorf("a client without a campaign: %d %v", status, a)
	}
	if len(d.store.moves) > 0 {
		t.Fatal("counting moved something")
	}
	d.store.gone = true
	if _, a := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours, ""); a["content_dropped"] != 3. || a["resendable"] != 0. {
		t.Errorf("without content: %v", a)
	}
	if _, a := d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`",`+signed+`}`); a["resent"] != 0. || a["content_dropped"] != 3. || len(d.store.noted) != 0 {
		t.Errorf("without content: %v", a)
	}
	d.store.gone = false
	status, a := d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`","rate":2,"limit":1,"state":"rejected,expired,dead","template":"order/en_US","since":"`+past.Format(time.RFC3339)+`",`+signed+`}`)
	if status != 200 || a["resent"] != 1. || a["overdue"] != 1. || a["more"] != true {
		t.Fatalf("the first: %d %v", status, a)
	}
	status, a = d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`","rate":2,"extend":"2h",`+signed+`}`)
	if status != 200 || a["resent"] != 2. || a["overdue"] != 0. || a["maybe_delivered"] != 1. || a["more"] != false {
		t.Fatalf("the rest: %d %v", status, a)
	}
	if last, err := time.Parse(time.RFC3339Nano, fmt.Sprint(a["last"])); err != nil || last.Sub(now) < 500*time.Millisecond || last.Sub(now) > time.Minute {
		t.Errorf("the last is due at %v", a["last"])
	}
	due := map[time.Duration]bool{}
	for _, m := range d.store.moves[1:] {
		due[m.In] = true
		if m.To != message.Queued || m.Reason != message.ReasonReplayed || m.Audit.Verb != message.VerbResend || time.Until(m.ExpiresAt) < time.Hour {
			t.Errorf("%+v", m)
		}
	}
	if !due[0] || !due[500*time.Millisecond] {
		t.Errorf("due after %v: two a second are half a second apart", due)
	}
	if len(d.store.noted) != 2 || d.store.noted[0].On != "up to 1 messages of number "+ours+", state rejected,expired,dead, template order/en_US, since "+past.Format(time.RFC3339) ||
		d.store.noted[1].On != "up to 2 messages of number "+ours || d.store.noted[1].Actor != "anna" {
		t.Errorf("noted %+v", d.store.noted)
	}
	if _, a := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours, ""); a["count"] != 1. {
		t.Errorf("left: %v", a)
	}
}

// TestTheClockOfRedisDecides: a deadline that has passed by Redis's clock has passed, and a new one starts there.
func TestTheClockOfRedisDecides(t *testing.T) {
	t.Parallel()
	d := setup(t)
	d.store.ahead = 3 * time.Hour
	now := time.Now().UTC().Truncate(time.Millisecond)
	add := func(key string, state message.State) string {
		id := message.NewID(ours, key)
		about := message.Context{ID: id, From: ours}
		d.store.open[id] = message.Open{ID: id, State: state, Since: now, ExpiresAt: now.Add(time.Hour), Message: about}
		d.store.ended = append(d.store.ended, message.Record{Context: about, State: state, Timeline: []message.Step{{At: now}}})
		return id
	}
	parked, dead := add("1", message.Parked), add("2", message.Dead)
	waits := add("3", message.Submitted)
	d.store.dead = []message.DeadLetter{{ID: dead, Number: ours, Reason: message.ReasonAttempts, At: now}}

	if status, answer := d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours+"&state=dead", ""); status != 200 || answer["overdue"] != 1. {
		t.Errorf("undelivered: %d %v", status, answer)
	}
	if status, answer := d.ask(t, "admin", "GET", "/v1/awaiting-status", ""); status != 200 || !strings.Contains(fmt.Sprint(answer), waits) {
		t.Errorf("awaiting a status: %d %v", status, answer)
	}
	for _, path := range []string{"/v1/dead-letters/replay", "/v1/undelivered/resend"} {
		status, answer := d.ask(t, "admin", "POST", path, `{"phone_number_id":"`+ours+`",`+signed+`}`)
		if status != 200 || answer["overdue"] != 1. || len(d.store.moves) != 0 {
			t.Fatalf("%s: %d %v, %+v", path, status, answer, d.store.moves)
		}
	}
	if status, answer := d.ask(t, "admin", "POST", "/v1/in-doubt/"+parked+"/resolve", `{"resolution":"not-sent",`+signed+`}`); status != 200 || answer["state"] != string(message.Expired) {
		t.Errorf("not sent: %d %v", status, answer)
	}
	status, answer := d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`","state":"dead","extend":"2h",`+signed+`}`)
	if status != 200 || answer["resent"] != 1. {
		t.Fatalf("resent: %d %v", status, answer)
	}
	if by := d.store.moves[1].ExpiresAt.Sub(now); by < 5*time.Hour || by > 6*time.Hour {
		t.Errorf("its deadline is in %s, want 2h after the time of Redis, 3h ahead", by)
	}
}
