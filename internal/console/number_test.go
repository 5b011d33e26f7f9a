package console_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/fleet"
	"sluice/internal/httpapi"
	"sluice/internal/ledger"
	"sluice/internal/message"
)

// fakeFleet has two numbers, and keeps the rates that are set.
type fakeFleet struct {
	*fakeStore
	set     []string
	clients map[string]int // of the number theirs
}

func (f *fakeFleet) numbers() []fleet.Number {
	held := 9
	all := fleet.NumberHold{Hold: httpapi.Hold{Actor: "anna", Reason: "x"}, Messages: &held}
	return []fleet.Number{
		{ID: theirs, Classes: []fleet.WaitingClass{}, Holds: []fleet.NumberHold{all}, Clients: f.clients, Waiting: 3, Dead: 1, Attention: fleet.Look, Why: "1 dead letter."},
		{ID: ours, Classes: []fleet.WaitingClass{}, Holds: []fleet.NumberHold{all}, Waiting: 2, RampUntil: time.Now(), PauseUntil: time.Now(), SetRate: 1, RefusedAt: 1},
	}
}

func (f *fakeFleet) Read(context.Context) (fleet.State, error) {
	return fleet.State{At: time.Now(), Numbers: f.numbers(), Lists: ledger.ListCounts{Dead: 70000}}, f.err
}

func (f *fakeFleet) One(_ context.Context, number string) (fleet.Number, error) {
	for _, n := range f.numbers() {
		if n.ID == number {
			return n, f.err
		}
	}
	return fleet.Number{}, message.ErrNotFound
}

func (f *fakeFleet) History(string, time.Time) []fleet.Point {
	return []fleet.Point{{At: time.Now(), Attempts: 2}}
}

// rateSetter is fakeFleet as what sets rates.
type rateSetter struct{ *fakeFleet }

func (f rateSetter) Set(_ context.Context, number string, rate, from int, over time.Duration) error {
	f.set = append(f.set, fmt.Sprint(number, " ", rate, " ", from, " ", over))
	return f.err
}

// TestOverview: a key sees its own numbers, sums of them, and not how many messages holds on all numbers keep.
func TestOverview(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for _, c := range []struct{ key, query, want string }{
		{"wide", "", "2 5 70000 2000000000000019 1065403522429229 No number needs a person now. Look at 1 number today."},
		{"wide", "?limit=1", "2 5 70000 2000000000000019 No number needs a person now. Look at 1 number today."},
		{"wide", "?offset=1", "2 5 70000 1065403522429229 No number needs a person now. Look at 1 number today."},
		{"wide", "?offset=9", "2 5 70000 No number needs a person now. Look at 1 number today."},
		{"wide", "?phone_number_id_contains=2000000", "1 3 1 2000000000000019 No number needs a person now. Look at 1 number today."},
		{"console:read", "", "1 2 0 106540352242922<nil> No number needs a person now."},
		{"admin", "", "1 2 0 106540352242922<nil> No number needs a person now."},
	} {
		status, answer := d.ask(t, c.key, "GET", "/v1/overview"+c.query, "")
		got := fmt.Sprint(answer["count"], " ", answer["waiting"], " ", answer["dead_letters"])
		for _, n := range answer["numbers"].([]any) {
			one := n.(map[string]any)
			got += fmt.Sprint(" ", one["phone_number_id"], one["holds"].([]any)[0].(map[string]any)["held_messages"])
		}
		if got += fmt.Sprint(" ", answer["headline"]); status != 200 || got != c.want {
			t.Errorf("%s %s: %d %s, want %s", c.key, c.query, status, got, c.want)
		}
	}
	if status, answer := d.ask(t, "admin", "GET", "/v1/numbers/"+theirs, ""); status != 404 {
		t.Errorf("a number of others: %d %v", status, answer)
	}
	for _, query := range []string{"limit=0", "limit=10001", "offset=-1", "offset=x"} {
		if status, answer := d.ask(t, "wide", "GET", "/v1/overview?"+query, ""); status != 422 || answer["code"] != "query_invalid" {
			t.Errorf("%s: %d %v", query, status, answer)
		}
	}
}

func TestSetRate(t *testing.T) {
	t.Parallel()
	d := setup(t)
	path := "/v1/numbers/" + ours + "/rate"
	for body, want := range map[string]string{
		`{` + signed + `}`:                                   "rate rate_unclear",
		`{"rate":5,"reset":true,` + signed + `}`:             "rate rate_unclear",
		`{"reset":true,"over":"1h","from":1,` + signed + `}`: "rate rate_unclear",
		`{"rate":5,"from":1,` + signed + `}`:                 "from rate_unclear",
		`{"rate":5,"over":"1h",` + signed + `}`:              "from rate_unclear",
		`{"rate":5,"from":5,"over":"1h",` + signed + `}`:     "from rate_invalid",
		`{"rate":5,"from":-1,"over":"1h",` + signed + `}`:    "from rate_invalid",
		`{"rate":-5,` + signed + `}`:                         "rate rate_invalid",
		`{"rate":10001,` + signed + `}`:                      "rate rate_invalid",
		`{"rate":5,"from":1,"over":"0s",` + signed + `}`:     "over duration_invalid",
		`{"rate":5,"actor":"anna"}`:                          "reason reason_missing",
	} {
		status, answer := d.ask(t, "admin", "PUT", path, body)
		first := answer["errors"].([]any)[0].(map[string]any)
		if got := fmt.Sprint(first["path"], " ", first["code"]); status != 422 || got != want {
			t.Errorf("%s: %d %s, want %s", body, status, got, want)
		}
	}
	if status, _ := d.ask(t, "admin", "PUT", "/v1/numbers/"+theirs+"/rate", `{"rate":5,`+signed+`}`); status != 404 {
		t.Errorf("a number of others: %d", status)
	}
	if len(d.fleet.set)+len(d.store.noted) > 0 {
		t.Errorf("%v %v", d.fleet.set, d.store.noted)
	}
	for _, body := range []string{`{"rate":5,` + signed + `}`, `{"rate":500,"from":10,"over":"24h",` + signed + `}`, `{"reset":true,` + signed + `}`} {
		if status, answer := d.ask(t, "admin", "PUT", path, body); status != 200 || answer["phone_number_id"] != ours {
			t.Errorf("%s: %d %v", body, status, answer)
		}
	}
	var log []string
	for _, e := range d.store.noted {
		log = append(log, e.Verb+" "+e.On+" "+e.Actor+" "+e.Key)
	}
	if got, want := strings.Join(append(log, d.fleet.set...), "\n"), strings.ReplaceAll(`rate number N: 5 messages per second anna key-admin
rate number N: 500 messages per second, from 10 over 24h0m0s anna key-admin
rate number N: the configured rate limit anna key-admin
N 5 0 0s
N 500 10 24h0m0s
N 0 0 0s`, "N", ours); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	d.store.err = fmt.Errorf("away") // the audit entry cannot be written
	if status, _ := d.ask(t, "admin", "PUT", path, `{"rate":7,`+signed+`}`); status != 503 || len(d.fleet.set) != 3 {
		t.Errorf("without an audit log: %d %v", status, d.fleet.set)
	}
}
