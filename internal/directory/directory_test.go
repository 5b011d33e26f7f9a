package directory_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

const (
	oldKey = "the first key 1234"
	newKey = "the second key 123"
	token  = "an-access-token"

	fingerprint = "6221cf0f" // of token
)

// file is the configuration file of each process.
var file = directory.File{
	Numbers: []config.Number{{ID: "20", Rate: 80, Learn: true, Classes: map[string]config.Class{"utility": {Deadline: 2 * time.Hour}}}, {ID: "10", Rate: 5, Display: "+15551234567"}},
	Tokens:  config.FixedTokens(map[string]string{"20": "token-of-the-file", "10": "token-of-the-file"}),
	Apps:    []config.App{{Name: "main", Secret: "file-secret", VerifyToken: "a-verify-token-of-the-file"}},
	APIKeys: []config.APIKey{{Name: "first", SHA256: [32]byte{1}, Numbers: []string{"*"}, Scopes: []string{config.ScopeAdmin}}},
	Classes: map[string]config.Class{"utility": {Deadline: time.Hour, ErrorWindow: time.Minute}},
}

// installation is a Redis with what processes have of it.
type installation struct {
	testing.TB
	redis      *redis.Client
	server     *redistest.Server
	db         *store.DB
	unfinished int // messages of each number
	log        *logs
}

func setup(t testing.TB) *installation {
	t.Helper()
	srv := redistest.Start(t)
	db, err := store.New(t.Context(), srv.Client())
	if err != nil {
		t.Fatal(err)
	}
	return &installation{TB: t, redis: srv.Client(), server: srv, db: db, log: &logs{failing: make(chan struct{})}}
}

// store returns the store of a process with a key.
func (in *installation) store(keys ...string) *directory.Store {
	keys = append(keys, "", "")
	s := directory.NewStore(directory.StoreOptions{
		DB: in.db, Box: secrets.New(keys[0], keys[1]), File: file,
		Unfinished: func(context.Context, string) (int, error) { return in.unfinished, nil },
	})
	s.AlsoReencrypt(func(context.Context) (int, error) { return 1, nil })
	return s
}

// process returns the directory of another process, which has read Redis.
func (in *installation) process(s *directory.Store) *directory.Directory {
	in.Helper()
	d := directory.New(s, slog.New(slog.NewTextHandler(in.log, nil)), directory.KindNumber, directory.KindApp)
	if err := d.Load(in.Context()); err != nil {
		in.Fatal(err)
	}
	return d
}

func (in *installation) put(s *directory.Store, e directory.Entry, given directory.Secrets, revision int64) int64 {
	in.Helper()
	rev, err := s.Put(in.Context(), e, given, directory.Change{Revision: revision, Actor: "anna", Key: "first", Reason: "a test"})
	if err != nil {
		in.Fatal(err)
	}
	return rev
}

var change = directory.Change{Revision: directory.AnyRevision, Actor: "anna", Reason: "a test"}

// TestProcessesSeeChanges: a running process learns what was added, changed and removed, and knows it then. What is stored wins over
// its file, and a secret that is not stored stays that of the file.
func TestProcessesSeeChanges(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	d := in.process(in.store(oldKey))
	changes := make(chan directory.Changes, 10)
	d.Subscribe(func(c directory.Changes) { changes <- c })
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- d.Run(ctx) }()
	see := func(want directory.Changes) {
		t.Helper()
		if got := <-changes; !slices.Equal(got.Added, want.Added) || !slices.Equal(got.Changed, want.Changed) || !slices.Equal(got.Removed, want.Removed) {
			t.Fatalf("%+v, want %+v", got, want)
		}
	}
	if rate, ok := d.Rate("20"); rate != 80 || !ok || !slices.Equal(d.Numbers(), []string{"20", "10"}) {
		t.Errorf("of the file: %d %t %v", rate, ok, d.Numbers())
	}

	revision := in.put(s, directory.Number{PhoneNumberID: "15", RateLimit: 7, TemplateClasses: []directory.TemplateClass{{Name: "otp_*", Class: "authentication"}}}, nil, 0)
	see(directory.Changes{Added: []string{"15"}})
	if _, ok := d.Rate("15"); ok || !d.Known("15") || d.TemplateClasses("15")[0].Class != "authentication" {
		t.Errorf("a number without an access token is sent from, or is not known")
	}
	in.put(s, directory.Number{PhoneNumberID: "15", RateLimit: 7}, directory.Secrets{directory.SecretAccessToken: token}, revision)
	see(directory.Changes{Changed: []string{"15"}})
	if got, err := d.Token("15"); got != token || err != nil {
		t.Errorf("token %q, %v", got, err)
	}
	if rate, ok := d.Rate("15"); rate != 7 || !ok || !slices.Equal(d.Numbers(), []string{"20", "10", "15"}) {
		t.Errorf("%d %t %v", rate, ok, d.Numbers())
	}

	stop()
	<-ended
	saw := func(want directory.Changes) { // from here on without waiting for the next second
		t.Helper()
		if err := d.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		see(want)
	}
	in.put(s, directory.Number{PhoneNumberID: "20", RateLimit: 9, UnknownTypes: "refuse"}, nil, 0)
	saw(directory.Changes{Changed: []string{"20"}})
	rate, _ := d.Rate("20")
	if got, err := d.Token("20"); got != "token-of-the-file" || err != nil || rate != 9 || d.Learns("20") || !d.RefusesUnknown("20") {
		t.Errorf("%q, %v, rate %d", got, err, rate)
	}
	if c := d.Class("20", "utility"); c.Deadline != time.Hour || c.ErrorWindow != time.Minute {
		t.Errorf("class %+v", c)
	}

	if err := s.Remove(t.Context(), directory.KindNumber, "10", change); err != nil {
		t.Fatal(err)
	}
	saw(directory.Changes{Removed: []string{"10"}})
	if d.Known("10") {
		t.Error("a removed number of the file is there")
	}
	again := in.process(in.store(oldKey))
	if again.Known("10") || !strings.Contains(in.log.String(), "an operator removed it") {
		t.Error("a removed number of the file returns with the next start, or the log does not say that it is hidden")
	}
	in.put(s, directory.Number{PhoneNumberID: "10"}, nil, 0)
	saw(directory.Changes{Added: []string{"10"}})

	in.put(s, directory.Client{Name: "shop"}, nil, 0)
	saw(directory.Changes{})
	in.put(s, directory.Number{PhoneNumberID: "15", RateLimit: 7, Client: "shop"}, nil, directory.AnyRevision)
	saw(directory.Changes{Changed: []string{"15"}})
	in.put(s, directory.APIKey{Name: "shop", SHA256: strings.Repeat("ab", 32), Numbers: []string{"*"}, Scopes: []string{config.ScopeSend}, Client: "shop"}, nil, 0)
	saw(directory.Changes{})
	if keys := d.Keys(); len(keys) != 2 || !slices.Equal(keys[1].Numbers, []string{"15"}) {
		t.Errorf("%+v", keys)
	}
	in.put(s, directory.App{Name: "second"}, directory.Secrets{directory.SecretApp: "s", directory.SecretVerifyToken: "a-verify-token-1"}, 0)
	saw(directory.Changes{})
	if _, err := s.RotateApp(t.Context(), "second", "s2", time.Time{}, change); err != nil {
		t.Fatal(err)
	}
	saw(directory.Changes{})
	if a, ok := d.App("second"); !ok || !slices.Equal(a.Secrets(time.Now()), []string{"s2", "s"}) || a.VerifyToken != "a-verify-token-1" {
		t.Error("the app does not have its secrets")
	}

	in.server.Kill()
	ctx, stop = context.WithCancel(t.Context())
	go func() { ended <- d.Run(ctx) }()
	<-in.log.failing
	stop()
	<-ended
	if !d.Known("15") {
		t.Error("without Redis the last view is lost")
	}
}

// TestConflict: a change that is based on another revision than the stored one changes nothing, and so does the same change a second time.
func TestConflict(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	first := in.put(s, directory.Client{Name: "shop", Note: "one"}, nil, 0)
	second := in.put(s, directory.Client{Name: "shop", Note: "two"}, nil, first)
	for name, revision := range map[string]int64{"old": first, "new entry": 0} {
		_, err := s.Put(t.Context(), directory.Client{Name: "shop", Note: "three"}, nil, directory.Change{Revision: revision, Actor: "bo", Reason: "r"})
		if c, ok := errors.AsType[*directory.ConflictError](err); !ok || c.Current != second {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Put(t.Context(), directory.Client{Name: "shop", Note: "two"}, nil, directory.Change{Revision: first}); err != nil {
		t.Errorf("a change whose answer was lost: %v", err)
	}
	if all, _ := s.List(t.Context()); all.Clients[0].Note != "two" {
		t.Errorf("%+v", all.Clients)
	}
	entries, err := audit.New(in.db, message.DefaultShards).Latest(t.Context(), 10)
	if err != nil || len(entries) != 2 || entries[1].Verb != "client-set" || entries[1].On != "shop" || entries[1].Actor != "anna" || entries[1].Reason != "a test" {
		t.Errorf("%v %+v", err, entries)
	}
}

// TestInvalid: what the file may not have, a change may not have either. Nothing is stored.
func TestInvalid(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	hash := strings.Repeat("ab", 32)
	for want, c := range map[string]struct {
		e     directory.Entry
		given directory.Secrets
	}{
		`rate_limit: "10001" is not a whole number from 1 to 10000`:         {directory.Number{PhoneNumberID: "1", RateLimit: 10001}, nil},
		"phone_number_id: has no value: give one":                           {directory.Number{}, nil},
		"client: client missing does not exist":                             {directory.Number{PhoneNumberID: "1", Client: "missing"}, nil},
		"phone_number_ids: phone number id 99 is not configured":            {directory.APIKey{Name: "k", SHA256: hash, Numbers: []string{"99"}, Scopes: []string{"admin"}}, nil},
		"phone_number_ids: must be a list with at least one entry":          {directory.APIKey{Name: "k", SHA256: hash, Scopes: []string{"admin"}}, nil},
		"sha256: the API key first has the same key":                        {directory.APIKey{Name: "k", SHA256: "01" + strings.Repeat("00", 31), Numbers: []string{"*"}, Scopes: []string{"admin"}}, nil},
		"access_token: has more than one word: write only the secret to it": {directory.Number{PhoneNumberID: "1"}, directory.Secrets{directory.SecretAccessToken: "a b"}},
		"verify_token: is shorter than 16 characters":                       {directory.App{Name: "a"}, directory.Secrets{directory.SecretVerifyToken: "short"}},
		"access_token: a app has no such secret":                            {directory.App{Name: "a"}, directory.Secrets{directory.SecretAccessToken: "a"}},
	} {
		_, err := s.Put(t.Context(), c.e, c.given, change)
		if _, ok := errors.AsType[*directory.InvalidError](err); !ok || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := in.store().Put(t.Context(), directory.Number{PhoneNumberID: "1"}, directory.Secrets{directory.SecretAccessToken: token}, change); !errors.Is(err, secrets.ErrNoKey) {
		t.Errorf("a secret without a key: %v", err)
	}
	if _, err := in.store().Put(t.Context(), directory.Number{PhoneNumberID: "1"}, nil, change); err != nil {
		t.Errorf("no secret and no key: %v", err)
	}
	in.put(s, directory.Client{Name: "shop"}, nil, 0)
	in.put(s, directory.Number{PhoneNumberID: "1", Client: "shop"}, nil, directory.AnyRevision)
	if err := s.Remove(t.Context(), directory.KindClient, "shop", change); err == nil || !strings.Contains(err.Error(), "phone number id 1 still belongs to it") {
		t.Errorf("a client with a number is removed: %v", err)
	}
	if err := s.Remove(t.Context(), directory.KindApp, "nothing", change); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("%v", err)
	}
}

// TestSecrets: Redis has secrets only encrypted, no output has them, and after Reencrypt the old key is not needed.
func TestSecrets(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	in.put(s, directory.Number{PhoneNumberID: "1"}, directory.Secrets{directory.SecretAccessToken: token}, 0)
	in.put(s, directory.App{Name: "a"}, directory.Secrets{directory.SecretApp: token, directory.SecretVerifyToken: token + token}, 0)
	all, err := s.List(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(all.Numbers, func(n directory.Number) bool { return n.PhoneNumberID == "1" })
	if info := all.Numbers[i].Secrets[directory.SecretAccessToken]; info.Fingerprint != fingerprint || time.Since(info.SetAt) > time.Minute {
		t.Errorf("%+v", info)
	}
	yaml, err := s.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	d := in.process(s)
	var everything strings.Builder
	everything.WriteString(in.log.String() + string(yaml) + text(all))
	for _, key := range in.redis.Keys(t.Context(), "*").Val() {
		everything.WriteString(in.redis.Dump(t.Context(), key).Val())
		if in.redis.Type(t.Context(), key).Val() == "hash" {
			everything.WriteString(text(in.redis.HGetAll(t.Context(), key).Val()))
		}
	}
	if strings.Contains(everything.String(), token) {
		t.Error("a secret is somewhere in clear text")
	}

	if got, err := in.process(in.store(newKey)).Token("1"); got != "" || !errors.Is(err, secrets.ErrDecrypt) {
		t.Errorf("with another key: %q, %v", got, err)
	}
	if n, err := in.store(newKey, oldKey).Reencrypt(t.Context(), change); n != 4 || err != nil {
		t.Errorf("Reencrypt: %d, %v", n, err)
	}
	if got, err := in.process(in.store(newKey)).Token("1"); got != token || err != nil {
		t.Errorf("with the new key alone: %q, %v", got, err)
	}
	if got, _ := d.Token("1"); got != token {
		t.Error("a process that has read the secret before lost it")
	}
	in.put(in.store(newKey), directory.Number{PhoneNumberID: "1"}, directory.Secrets{directory.SecretAccessToken: ""}, directory.AnyRevision)
	if in.process(in.store(newKey)).Has("1") {
		t.Error("a removed secret is there")
	}
}

// TestExportAndImport: an import of an export changes nothing and keeps the secrets. An import with a mistake stores nothing.
func TestExportAndImport(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	in.put(s, directory.Client{Name: "shop", Note: "a: \"note\""}, nil, 0)
	in.put(s, directory.Number{
		PhoneNumberID: "1", Display: "+15551234567", RateLimit: 9, Client: "shop", TokenFile: "/no/such/file",
		Marketing: "strict", Sharing: new(bool), GraphVersion: "v24.0", GraphCanary: &directory.GraphCanary{Version: "v27.0", Share: 5},
		Classes: map[string]directory.Class{"utility": {Deadline: "90s"}}, TemplateClasses: []directory.TemplateClass{{Name: "otp_*", Class: "authentication"}},
	}, directory.Secrets{directory.SecretAccessToken: token}, 0)
	in.put(s, directory.APIKey{Name: "k", SHA256: strings.Repeat("ab", 32), Numbers: []string{"1"}, Scopes: []string{"admin"}, Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}, nil, 0)
	in.put(s, directory.App{Name: "a"}, nil, 0)
	yaml, err := s.Export(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	done, err := s.Import(t.Context(), "export.yaml", yaml, change)
	if err != nil || len(done.Added)+len(done.Changed) > 0 || len(done.Unchanged) != 4 {
		t.Errorf("%+v, %v:\n%s", done, err, yaml)
	}
	d := in.process(s)
	if got, err := d.Token("1"); got != token || err != nil {
		t.Errorf("after an import the token is %q, %v", got, err)
	}
	if n, _ := d.Number("1"); n.Marketing != config.MarketingStrict || n.Sharing == nil || n.Versions != (config.GraphVersions{Version: "v24.0", Canary: "v27.0", Share: 5}) {
		t.Errorf("%+v", n)
	}
	_, err = s.Import(t.Context(), "x.yaml", []byte("clients: [{name: new}]\nnumbers:\n- {phone_number_id: \"2\", rate_limit: 0}\n- {phone_number_id: \"3\", client: missing}\n"), change)
	invalid, ok := errors.AsType[*directory.InvalidError](err)
	if !ok || len(invalid.Mistakes) != 2 || !strings.Contains(err.Error(), "x.yaml:3: numbers[0].rate_limit") || !strings.Contains(err.Error(), "x.yaml: numbers 3: client: client missing does not exist") {
		t.Errorf("%v", err)
	}
	if all, _ := s.List(t.Context()); len(all.Clients) != 1 {
		t.Errorf("an invalid import stored %+v", all.Clients)
	}
	done, err = s.Import(t.Context(), "x.yaml", []byte("clients: [{name: new}]\nnumbers: [{phone_number_id: \"3\", client: new}]\n"), change)
	if err != nil || !slices.Equal(done.Added, []string{"number 3", "client new"}) {
		t.Errorf("%+v, %v", done, err)
	}
}

// TestRemoveNumber: a number with messages is not removed unless the operator chooses what becomes of them. Then it stays, and accepts
// nothing, until workers remove it.
func TestRemoveNumber(t *testing.T) {
	t.Parallel()
	in := setup(t)
	s := in.store(oldKey)
	in.unfinished = 3
	_, err := s.RemoveNumber(t.Context(), "10", "", "", change)
	if b, ok := errors.AsType[*directory.BacklogError](err); !ok || b.Waiting != 3 {
		t.Errorf("%v", err)
	}
	if _, err := s.RemoveNumber(t.Context(), "10", "keep", "", change); err == nil {
		t.Error("an unknown choice is taken")
	}
	if _, err := s.RemoveNumber(t.Context(), "11", "", "", change); !errors.Is(err, directory.ErrNotFound) {
		t.Errorf("%v", err)
	}
	if now, err := s.RemoveNumber(t.Context(), "10", directory.BacklogDrain, "", change); now || err != nil {
		t.Errorf("%t, %v", now, err)
	}
	d := in.process(s)
	how, revision := d.Leaving("10")
	if rate, ok := d.Rate("10"); how != directory.BacklogDrain || rate != 5 || !ok || d.Display("10") == "" {
		t.Errorf("%q: rate %d %t", how, rate, ok)
	}
	in.put(s, directory.Number{PhoneNumberID: "10"}, nil, revision)
	if how, _ := in.process(s).Leaving("10"); how != "" {
		t.Error("a change does not end the removal")
	}
	in.unfinished = 0
	if now, err := s.RemoveNumber(t.Context(), "10", directory.BacklogRefuse, "", change); !now || err != nil {
		t.Errorf("%t, %v", now, err)
	}
	if in.process(s).Known("10") {
		t.Error("it is still there")
	}
}
