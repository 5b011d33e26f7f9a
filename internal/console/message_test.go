package console_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
)

// put adds a message in a state, and returns its id.
func (d *testConsole) put(number, key string, state message.State, expires time.Time) string {
	id := message.NewID(number, key)
	d.store.open[id] = message.Open{ID: id, Message: message.Context{ID: id, From: number}, State: state, ExpiresAt: expires}
	return id
}

// TestCancelAndResendOne: one message is cancelled or sent again, with an actor and a reason, if its state allows it.
func TestCancelAndResendOne(t *testing.T) {
	t.Parallel()
	later, before := time.Now().Add(time.Hour), time.Now().Add(-time.Hour)
	for _, c := range []struct {
		order   string
		state   message.State
		expires time.Time
		members string
		status  int
		code    string
	}{
		{"cancel", message.Queued, later, "", 200, ""},
		{"cancel", message.Parked, later, "", 200, ""},
		{"cancel", message.Cancelled, later, "", 200, ""},
		{"cancel", message.Attempting, later, "", 409, "in_flight"},
		{"cancel", message.InDoubt, later, "", 409, "in_flight"},
		{"cancel", message.Delivered, later, "", 409, "already_sent"},
		{"cancel", message.Rejected, later, "", 409, "already_final"},
		{"resend", message.Dead, later, "", 200, ""},
		{"resend", message.Expired, before, `"extend":"2h",`, 200, ""},
		{"resend", message.Expired, before, "", 409, "deadline_passed"},
		{"resend", message.Failed, later, `"extend":"soon",`, 422, "duration_invalid"},
		{"resend", message.Queued, later, "", 409, "not_ended"},
		{"resend", message.Delivered, later, "", 409, "not_ended"},
	} {
		d := setup(t)
		id := d.put(ours, "1", c.state, c.expires)
		path := "/v1/messages/" + id + "/" + c.order
		if status, answer := d.ask(t, "admin", "POST", path, `{`+c.members+`"actor":"anna"}`); status == 200 || answer["code"] != "reason_missing" && c.code == "" {
			t.Errorf("%s %s without a reason: %d %v", c.order, c.state, status, answer)
		}
		status, answer := d.ask(t, "admin", "POST", path, `{`+c.members+signed+`}`)
		if status != c.status || c.code != "" && answer["code"] != c.code {
			t.Errorf("%s %s: %d %v, want %d %s", c.order, c.state, status, answer, c.status, c.code)
		}
		moved := len(d.store.moves) == 1 && d.store.moves[0].Audit != nil && d.store.moves[0].Audit.Reason == "because"
		if moved != (c.code == "" && c.state != message.Cancelled) {
			t.Errorf("%s %s: moves %+v", c.order, c.state, d.store.moves)
		}
		if wide, _ := d.ask(t, "admin", "POST", "/v1/messages/"+d.put(theirs, "1", c.state, c.expires)+"/"+c.order, `{`+signed+`}`); wide != 404 {
			t.Errorf("%s another's: %d", c.order, wide)
		}
	}
	for name, change := range map[string]func(*testConsole, string){
		"content_dropped": func(d *testConsole, _ string) { d.store.gone = true },
		"maybe_delivered": func(d *testConsole, id string) {
			o := d.store.open[id]
			o.Reason = message.ReasonUndetermined
			d.store.open[id] = o
		},
	} {
		d := setup(t)
		id := d.put(ours, "1", message.Failed, later)
		change(d, id)
		if status, answer := d.ask(t, "admin", "POST", "/v1/messages/"+id+"/resend", `{`+signed+`}`); status != 409 || answer["code"] != name || len(d.store.moves) > 0 {
			t.Errorf("%s: %d %v, %d moves", name, status, answer, len(d.store.moves))
		}
	}
}

// TestResolveMany: a decision about several messages is applied to those that are in doubt. A dry run says the same and
// changes nothing.
func TestResolveMany(t *testing.T) {
	t.Parallel()
	d := setup(t)
	later := time.Now().Add(time.Hour)
	ids := []string{
		d.put(ours, "1", message.Parked, later), d.put(ours, "2", message.InDoubt, later), d.put(ours, "3", message.Parked, time.Now().Add(-time.Hour)),
		d.put(ours, "4", message.Delivered, later), d.put(theirs, "5", message.Parked, later), message.NewID(ours, "unknown"), "x",
	}
	body := func(more string) string {
		return fmt.Sprintf(`{"ids":["%s","%s","%s","%s","%s","%s","%s"],"resolution":"not-sent"%s}`, ids[0], ids[1], ids[2], ids[3], ids[4], ids[5], ids[6], more)
	}
	states := func() (all []string) {
		for _, id := range slices.Sorted(maps.Keys(d.store.open)) {
			all = append(all, id+" "+string(d.store.open[id].State))
		}
		return all
	}
	before := states()
	want := func(when string, status int, answer map[string]any) {
		t.Helper()
		if status != 200 || answer["resolved"] != 3.0 || answer["expired"] != 1.0 || answer["skipped"] != 4.0 {
			t.Errorf("%s: %d %v", when, status, answer)
		}
	}
	status, answer := d.ask(t, "admin", "POST", "/v1/in-doubt/resolve", body(`,"dry_run":true`))
	want("dry run", status, answer)
	if now := states(); !slices.Equal(now, before) || len(d.store.moves) > 0 {
		t.Errorf("the dry run changed something: %q", now)
	}
	if status, answer := d.ask(t, "admin", "POST", "/v1/in-doubt/resolve", body("")); status != 422 || answer["code"] != "actor_missing" {
		t.Errorf("without a reason: %d %v", status, answer)
	}
	status, answer = d.ask(t, "admin", "POST", "/v1/in-doubt/resolve", body(","+signed))
	want("for real", status, answer)
	for i, state := range []message.State{message.Queued, message.Queued, message.Expired, message.Delivered, message.Parked} {
		if got := d.store.open[ids[i]].State; got != state {
			t.Errorf("message %d is %s, want %s", i+1, got, state)
		}
	}
	for _, wrong := range []string{`{"ids":[],"resolution":"sent",` + signed + `}`, `{"resolution":"sent",` + signed + `}`} {
		if status, answer := d.ask(t, "admin", "POST", "/v1/in-doubt/resolve", wrong); status != 422 || answer["code"] != "ids_invalid" {
			t.Errorf("%s: %d %v", wrong, status, answer)
		}
	}
}

// TestDryRun: a dry run of a replay and of a resend counts what they would do, with the advice, and changes nothing.
func TestDryRun(t *testing.T) {
	t.Parallel()
	d := setup(t)
	later := time.Now().Add(time.Hour)
	for i, code := range []int{131026, 131026, 130472} {
		id := d.put(ours, fmt.Sprint(i), message.Dead, later)
		at := time.Now().Add(time.Duration(i-9) * time.Minute)
		d.store.dead = append(d.store.dead, message.DeadLetter{ID: id, Number: ours, Code: code, Reason: message.ReasonAttempts, At: at})
		d.store.ended = append(d.store.ended, message.Record{
			Context: message.Context{ID: id, From: ours}, State: message.Dead, Code: code, Reason: message.ReasonAttempts,
			Timeline: []message.Step{{At: at, State: message.Dead}},
		})
	}
	for path, member := range map[string]string{"/v1/dead-letters/replay": "replayed", "/v1/undelivered/resend": "resent"} {
		status, answer := d.ask(t, "admin", "POST", path, `{"phone_number_id":"`+ours+`","dry_run":true}`)
		groups, _ := answer["groups"].([]any)
		if status != 200 || answer[member] != 3.0 || answer["dry_run"] != true || len(groups) != 2 {
			t.Fatalf("%s: %d %v", path, status, answer)
		}
		if first := groups[0].(map[string]any); first["count"] != 2.0 || first["code"] != 131026.0 || first["advice"] != "Ask for another number." {
			t.Errorf("%s: the first group is %v", path, first)
		}
		if len(d.store.moves) > 0 || len(d.store.noted) > 0 {
			t.Errorf("%s: the dry run made %d moves and %d entries of the audit log", path, len(d.store.moves), len(d.store.noted))
		}
	}
	status, answer := d.ask(t, "admin", "POST", "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`","code":131026,"message_reason":"`+message.ReasonAttempts+`",`+signed+`}`)
	if status != 200 || answer["resent"] != 2.0 || answer["groups"] != nil || len(d.store.moves) != 2 {
		t.Errorf("for real: %d %v, %d moves", status, answer, len(d.store.moves))
	}
	if status, answer = d.ask(t, "admin", "GET", "/v1/undelivered?phone_number_id="+ours+"&message_reason=other", ""); status != 200 || answer["count"] != 0.0 {
		t.Errorf("another reason: %d %v", status, answer)
	}
}

// TestStorageFailsMidway: when storage fails after some messages, the answer counts what was done and says that there is more.
// The request can be sent again until nothing is left.
func TestStorageFailsMidway(t *testing.T) {
	t.Parallel()
	later := time.Now().Add(time.Hour)
	setup := func(state message.State) (d *testConsole, ids []string) {
		d = setup(t)
		for i := range 3 {
			id := d.put(ours, fmt.Sprint(i), state, later)
			ids = append(ids, id)
			d.store.dead = append(d.store.dead, message.DeadLetter{ID: id, Number: ours, At: time.Now()})
			d.store.ended = append(d.store.ended, message.Record{Context: message.Context{ID: id, From: ours}, State: state, Timeline: []message.Step{{At: time.Now(), State: state}}})
		}
		d.store.good = 2
		return d, ids
	}
	check := func(d *testConsole, path, body, member string, again float64) {
		t.Helper()
		if status, answer := d.ask(t, "admin", "POST", path, body); status != 200 || answer[member] != 2.0 || answer["more"] != true {
			t.Errorf("%s: %d %v", path, status, answer)
		}
		d.store.good = 0
		if status, answer := d.ask(t, "admin", "POST", path, body); status != 200 || answer[member] != again || answer["more"] == true {
			t.Errorf("%s again: %d %v", path, status, answer)
		}
	}
	d, _ := setup(message.Dead)
	check(d, "/v1/undelivered/resend", `{"phone_number_id":"`+ours+`",`+signed+`}`, "resent", 1)
	d, _ = setup(message.Dead)
	check(d, "/v1/dead-letters/replay", `{"phone_number_id":"`+ours+`",`+signed+`}`, "replayed", 1)
	d, ids := setup(message.Parked)
	check(d, "/v1/in-doubt/resolve", fmt.Sprintf(`{"ids":["%s","%s","%s"],"resolution":"sent",%s}`, ids[0], ids[1], ids[2], signed), "resolved", 3)
}
