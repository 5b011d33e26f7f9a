package console_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/httpapi"
	"sluice/internal/secrets"
)

// fakeDirectory has an entry of each kind with revision 3, and keeps the changes that it gets. Its refusals are those of a real one.
type fakeDirectory struct {
	*fakeStore
	changes []string
	put     directory.Entry // the last one
	given   directory.Secrets
	refuse  error
	entries *directory.Entries // in place of the usual ones
}

func (f *fakeDirectory) change(what string, c directory.Change) error {
	if f.refuse != nil {
		return f.refuse
	}
	if c.Revision != directory.AnyRevision && c.Revision != 3 && c.Revision != 0 {
		return &directory.ConflictError{Current: 3}
	}
	f.changes = append(f.changes, fmt.Sprintf("%s r%d %s %s %s", what, c.Revision, c.Actor, c.Key, c.Reason))
	return f.err
}

func (f *fakeDirectory) List(context.Context) (directory.Entries, error) {
	if f.entries != nil {
		return *f.entries, f.err
	}
	stored := directory.State{Source: directory.SourceStored, Revision: 3, UpdatedAt: time.Now()}
	withSecret := stored
	withSecret.Secrets = map[string]directory.SecretInfo{directory.SecretAccessToken: {Fingerprint: "0a1b2c3d", SetAt: time.Now()}}
	return directory.Entries{
		Revision: 9,
		Numbers: []directory.Number{
			{PhoneNumberID: ours, RateLimit: 80, State: withSecret, Classes: map[string]directory.Class{"marketing": {Deadline: "24h"}}, TemplateClasses: []directory.TemplateClass{{Name: "otp_*", Class: "authentication"}}},
			{PhoneNumberID: theirs, TokenFile: "/run/token", State: directory.State{Source: directory.SourceFile}},
		},
		Apps:    []directory.App{{Name: "main", PreviousExpires: time.Now(), State: stored}},
		APIKeys: []directory.APIKey{{Name: "shop", SHA256: strings.Repeat("a", 64), Numbers: []string{ours}, Scopes: []string{"messages:send"}, Expires: time.Now(), State: stored}},
		Clients: []directory.Client{{Name: "acme", State: stored}},
	}, f.err
}

func (f *fakeDirectory) Put(_ context.Context, e directory.Entry, given directory.Secrets, c directory.Change) (int64, error) {
	f.put, f.given = e, given
	return 4, f.change("put "+string(e.Kind())+" "+e.ID(), c)
}

func (f *fakeDirectory) RotateApp(_ context.Context, name string, secret config.Secret, until time.Time, c directory.Change) (int64, error) {
	if name == "nosuch" {
		return 0, directory.ErrNotFound
	}
	return 4, f.change(fmt.Sprint("rotate ", name, " to ", string(secret), " for ", time.Until(until).Round(time.Minute)), c)
}

func (f *fakeDirectory) Remove(_ context.Context, kind directory.Kind, id string, c directory.Change) error {
	if id == "nosuch" {
		return directory.ErrNotFound
	}
	return f.change("remove "+string(kind)+" "+id, c)
}

func (f *fakeDirectory) RemoveNumber(_ context.Context, id, backlog, _ string, c directory.Change) (bool, error) {
	switch {
	case id == "nosuch":
		return false, directory.ErrNotFound
	case id == theirs && backlog == "":
		return false, &directory.BacklogError{Number: id, Waiting: 7}
	}
	return backlog == "", f.change("remove "+id+" "+backlog, c)
}

func (f *fakeDirectory) Export(context.Context) ([]byte, error) {
	return []byte("clients:\n  - {name: acme}\n"), f.err
}

func (f *fakeDirectory) Import(_ context.Context, name string, text []byte, c directory.Change) (directory.Imported, error) {
	return directory.Imported{Added: []string{"client acme"}, Unchanged: []string{"app main"}}, f.change(fmt.Sprint("import ", name, " ", len(text)), c)
}

func (f *fakeDirectory) Reencrypt(_ context.Context, c directory.Change) (int, error) {
	return 5, f.change("reencrypt", c)
}

// TestDirectoryChanges: each change reaches the directory with who, why, and the revision it is based on; secrets only go in.
func TestDirectoryChanges(t *testing.T) {
	t.Parallel()
	d := setup(t)
	var made []string
	for _, c := range []struct{ path, body, change string }{
		{"/v1/numbers", `"phone_number_id":"` + ours + `","revision":3,"source":"file","client":"acme","access_token":"canary-token"`, "put number " + ours + " r3"},
		{"/v1/numbers/" + ours + "/rotate", `"access_token":"canary-token"`, "put number " + ours + " r3"},
		{"/v1/numbers/" + ours + "/remove", `"revision":3`, "remove " + ours + "  r3"},
		{"/v1/numbers/" + ours + "/remove", `"backlog":"drain"`, "remove " + ours + " drain r-1"},
		{"/v1/apps", `"name":"main","secret":"canary-secret","verify_token":"canary-verify"`, "put app main r0"},
		{"/v1/apps/main/rotate", `"secret":"next-secret","previous_for":"2h"`, "rotate main to next-secret for 2h0m0s r-1"},
		{"/v1/apps/main/rotate", `"secret":"next-secret"`, "rotate main to next-secret for 24h0m0s r-1"},
		{"/v1/apps/main/remove", `"revision":3`, "remove app main r3"},
		{"/v1/api-keys", `"name":"new","phone_number_ids":["*"],"scopes":["admin"]`, "put key new r0"},
		{"/v1/api-keys", `"name":"new","sha256":"x","phone_number_ids":["*"],"scopes":["admin"]`, "put key new r0"},
		{"/v1/api-keys/shop/rotate", ``, "put key shop r3"},
		{"/v1/api-keys/shop/remove", ``, "remove key shop r-1"},
		{"/v1/clients", `"name":"acme","note":"hello","revision":3`, "put client acme r3"},
		{"/v1/clients/acme/remove", ``, "remove client acme r-1"},
		{"/v1/directory/import", `"document":"` + strings.Repeat("# a comment\\n", 10000) + `"`, "import document 120000 r0"},
		{"/v1/directory/reencrypt", ``, "reencrypt r0"},
	} {
		d.directory.changes, d.directory.given = nil, nil
		status, answer := d.ask(t, "wide", "POST", c.path, "{"+strings.TrimPrefix(c.body+",", ",")+signed+"}")
		if got := strings.Join(d.directory.changes, ", "); status != 200 || got != c.change+" anna key-wide because" {
			t.Errorf("%s %.100s: %d %v: %s, want %s", c.path, c.body, status, answer, got, c.change)
		}
		if text := fmt.Sprint(answer); strings.Contains(text, "canary") {
			t.Errorf("the answer has a secret: %s", text)
		}
		if key, ok := answer["key"].(string); ok {
			made = append(made, key)
			if k := d.directory.put.(directory.APIKey); k.SHA256 != httpapi.HashToken(key) || k.Name == "shop" && (k.PreviousSHA256 != strings.Repeat("a", 64) || time.Until(k.PreviousExpires) < 23*time.Hour) {
				t.Errorf("%s stores %+v", c.path, k)
			}
		}
		if strings.Contains(c.body, "canary-token") && d.directory.given[directory.SecretAccessToken] != "canary-token" {
			t.Errorf("%s gives %d secrets", c.path, len(d.directory.given))
		}
	}
	if len(made) != 2 {
		t.Errorf("Sluice made %d keys, want one for the new key and one for the rotation", len(made))
	}
	if n, ok := d.directory.put.(directory.Client); !ok || n.Note != "hello" {
		t.Errorf("the last entry is %+v", d.directory.put)
	}
	if len(d.store.noted) > 0 {
		t.Error("the console writes to the audit log what the directory writes already")
	}
}

// TestDirectoryRefusals: errors of the directory name the member and the fix, and a narrow key changes nothing.
func TestDirectoryRefusals(t *testing.T) {
	t.Parallel()
	d := setup(t)
	number := `"phone_number_id":"` + ours + `"`
	invalid := &directory.InvalidError{Mistakes: []config.Mistake{{Place: "rate_limit", Err: errors.New("must be 1 to 10000")}}}
	for _, c := range []struct {
		key, path, body string
		refuse          error
		status          int
		want            string // path, code, detail
	}{
		{"wide", "/v1/numbers", number + `,"rate_limit":-1,`, invalid, 422, "rate_limit entry_invalid rate_limit: must be 1 to 10000."},
		{"wide", "/v1/numbers", number + `,"access_token":"x",`, fmt.Errorf("put: %w", secrets.ErrNoKey), 422, "secrets_key_missing"},
		{"wide", "/v1/numbers", number + `,"revision":2,`, nil, 409, "entry_changed"},
		{"wide", "/v1/numbers", number + `,"token":"x",`, nil, 422, "token field_unknown"},
		{"admin", "/v1/numbers", number + `,`, nil, 403, "all_numbers_required"},
		{"wide", "/v1/numbers/" + ours + "/rotate", ``, nil, 422, "access_token secret_missing"},
		{"wide", "/v1/numbers/1/rotate", `"access_token":"x",`, nil, 404, "entry_not_found"},
		{"wide", "/v1/numbers/" + theirs + "/remove", ``, nil, 409, "backlog number_has_messages"},
		{"wide", "/v1/numbers/" + theirs + "/remove", ``, nil, 409, "7 of its messages are not final"},
		{"wide", "/v1/numbers/" + theirs + "/remove", `"backlog":"keep",`, nil, 422, "backlog backlog_unknown"},
		{"wide", "/v1/apps/main/rotate", ``, nil, 422, "secret secret_missing"},
		{"wide", "/v1/apps/main/rotate", `"secret":"x","previous_for":"soon",`, nil, 422, "previous_for duration_invalid"},
		{"wide", "/v1/apps/nosuch/rotate", `"secret":"x",`, nil, 404, "entry_not_found"},
		{"wide", "/v1/api-keys/nosuch/rotate", ``, nil, 404, "entry_not_found"},
		{"wide", "/v1/api-keys/key-wide/remove", ``, nil, 409, "api_key_in_use"},
		{"wide", "/v1/api-keys", `"name":"key-wide","phone_number_ids":["*"],"scopes":["messages:send"],`, nil, 409, "api_key_in_use"},
		{"wide", "/v1/api-keys", `"name":"key-wide","phone_number_ids":["*"],"scopes":["admin"],"revoked":true,`, nil, 409, "api_key_in_use"},
	} {
		d.directory.refuse, d.directory.changes = c.refuse, nil
		status, answer := d.ask(t, c.key, "POST", c.path, "{"+c.body+signed+"}")
		got := fmt.Sprint(answer["errors"])
		if problems, ok := answer["errors"].([]any); ok && len(problems) > 0 {
			p := problems[0].(map[string]any)
			got = fmt.Sprint(p["path"], " ", p["code"], " ", p["detail"])
		}
		if status != c.status || !strings.Contains(got, c.want) || len(d.directory.changes) > 0 {
			t.Errorf("%s %s: %d %s, want %d %s; changed %v", c.path, c.body, status, got, c.status, c.want, d.directory.changes)
		}
	}
}

// TestDirectoryLists: a key for one number sees that number, and no apps, keys and clients. A list can be of one entry.
func TestDirectoryLists(t *testing.T) {
	t.Parallel()
	d := setup(t)
	for _, c := range []struct {
		key, path, list string
		status, n       int
	}{
		{"wide", "/v1/numbers", "numbers", 200, 2},
		{"wide", "/v1/numbers?phone_number_id=" + theirs, "numbers", 200, 1},
		{"console:read", "/v1/numbers", "numbers", 200, 1},
		{"wide", "/v1/apps", "apps", 200, 1},
		{"wide", "/v1/apps?name=other", "apps", 200, 0},
		{"wide", "/v1/api-keys", "api_keys", 200, 1},
		{"wide", "/v1/clients", "clients", 200, 1},
		{"wide", "/v1/accounts", "accounts", 200, 2},
		{"console:read", "/v1/accounts", "accounts", 200, 1},
		{"console:read", "/v1/apps", "", 403, 0},
		{"console:read", "/v1/directory/export", "", 403, 0},
	} {
		status, answer := d.ask(t, c.key, "GET", c.path, "")
		list, _ := answer[c.list].([]any)
		if status != c.status || len(list) != c.n {
			t.Errorf("%s %s: %d %v, want %d entries", c.key, c.path, status, answer, c.n)
		}
	}
}
