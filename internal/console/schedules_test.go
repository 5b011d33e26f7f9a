package console_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/schedules"
)

// fakeSchedules are a schedule of each number, weekly of the client acme and daily of none.
type fakeSchedules struct{ *fakeStore }

func (f fakeSchedules) List(_ context.Context, client string) (all []schedules.Listed, err error) {
	text := `[{"client":"acme","name":"weekly","at":["09:00"],"phone_number_id":"` + ours + `","to":"+49***1","api_key":"shop","next":[],"changed_at":"2026-01-31T08:00:00Z"},` +
		`{"name":"daily","at":["09:00"],"phone_number_id":"` + theirs + `","to":"+49***2","api_key":"shop","next":[],"changed_at":"2026-01-31T08:00:00Z"}]`
	err = errors.Join(json.Unmarshal([]byte(text), &all), f.err)
	if client != "" {
		all = all[:1]
	}
	return all, err
}

func (f fakeSchedules) Find(ctx context.Context, client, name string) (none schedules.Listed, _ httpapi.Refusal) {
	all, err := f.List(ctx, "")
	for _, l := range all {
		if l.Client == client && l.Name == name && err == nil {
			return l, nil
		}
	}
	if err != nil {
		return none, httpapi.Refuse("store_unavailable")
	}
	return none, httpapi.RefuseAt("name", "schedule_not_found")
}

func (f fakeSchedules) Remove(_ context.Context, client, name string) httpapi.Refusal {
	f.removed = append(f.removed, client+"/"+name)
	return nil
}

// TestSchedules: a key lists and removes the schedules of its numbers and client. A removal is in the audit log.
func TestSchedules(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for key, want := range map[string]string{"wide": "weekly daily ", "admin": "weekly "} {
		var list struct{ Schedules []struct{ Name string } }
		status, _, text := d.do(t, key, "GET", "/v1/schedules", nil, nil)
		if err := json.Unmarshal([]byte(text), &list); err != nil || status != 200 {
			t.Fatalf("%s: %d %s", key, status, text)
		}
		got := ""
		for _, one := range list.Schedules {
			got += one.Name + " "
		}
		if got != want {
			t.Errorf("%s lists %q, want %q", key, got, want)
		}
	}
	for _, tt := range []struct {
		key, path, client string
		status            int
	}{
		{"wide", "weekly", "acme", 200},
		{"wide", "weekly", "", 404},
		{"admin", "daily", "", 404}, // of a number that the key does not cover
		{"wide", "daily", "", 200},
	} {
		body := strings.NewReader(strings.Replace(`{"client":"`+tt.client+`",`+signed+`}`, `"client":"",`, "", 1))
		if status, _, text := d.do(t, tt.key, "POST", "/v1/schedules/"+tt.path+"/remove", body, nil); status != tt.status {
			t.Errorf("%s removes %s of %q: %d %s", tt.key, tt.path, tt.client, status, text)
		}
	}
	if got := strings.Join(d.store.removed, " "); got != "acme/weekly /daily" {
		t.Errorf("removed %s", got)
	}
	if n := d.store.noted; len(n) != 2 || n[0].Verb != message.VerbScheduleRemove || n[0].On != "schedule weekly of client acme" || n[1].On != "schedule daily" {
		t.Errorf("the audit log has %+v", n)
	}
}
