package config

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"
)

// env makes a getenv of NAME, value pairs.
func env(pairs ...string) func(string) string {
	m := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		m[pairs[i]] = pairs[i+1]
	}
	return func(name string) string { return m[name] }
}

// write puts a file into dir and returns its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const aDigest = "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b" // of "secret"

func TestFileGivesEverything(t *testing.T) {
	dir := t.TempDir()
	for name, content := range map[string]string{
		"a.token": "token-a\n", "b.token": "token-b", "app": " new ", "app.old": "old", "verify": "a-verify-token-1",
		"marker": "0123456789abcdef", "marker.old": "fedcba9876543210", "payload": "payload-key-1234", "payload.old": "payload-key-0123", "redis.password": "p@ss/word", "outbox": "postgres://sluice:pw@db/shop\n", "archive": "postgres://sluice:pw@db/archive\n", "secrets": "secrets-key-1234",
	} {
		write(t, dir, name, content)
	}
	path := write(t, dir, "sluice.yaml", `
environment: prod-1
redis: {url: "rediss://sluice@redis:6380/2", password_file: redis.password, durability: relaxed}
shards: 32
graph: {base_url: "http://127.0.0.1:8070/", version: v24.0}
marker_key_file: marker
second_marker_key_file: marker.old
payload_key_file: payload
second_payload_key_file: payload.old
numbers:
  - phone_number_id: "106540352242922"
    display_number: "+15550783881"
    token_file: a.token
    rate_limit: 1000
    classes: {utility: {deadline: 2h}}
    template_classes: [{name: "otp_*", class: authentication}, {name: "*", class: marketing}]
  - {phone_number_id: 200000000000001, token_file: b.token}
apps: [{name: main, secret_file: app, previous_secret_file: app.old, previous_secret_expires: 2027-01-31T00:00:00Z, verify_token_file: verify}]
api_keys: [{name: shop, sha256: `+aDigest+`, phone_number_ids: ["*"], scopes: [messages:send, messages:read], revoked: true, expires: 2027-01-31T00:00:00Z}, {name: outbox, sha256: `+strings.Repeat("0", 64)+`, phone_number_ids: ["*"], scopes: [messages:send]}]
outbox: {database_url_file: outbox, table: shop.messages, api_key: outbox, poll_interval: 1s}
classes: {utility: {deadline: 12h, in_doubt_window: 5m, in_doubt_policy: close, server_error_window: 20s}}
roles: send,archive
retry: {base: 2s, max: 2m, attempts: 7}
events: {retention: 48h, memory: 1.5GiB}
idempotency_key_retention: 0s
archive: {database_url_file: archive, retention: 2000h}
prices_file: prices.yaml
secrets_key_file: secrets
recipient_index: false
unmatched_statuses: {retention: 5m, max: 500}
template_sync: 10m
listen: {api: "127.0.0.1:1", console: ":4", webhook: ":2", ops: ":3"}
log_level: warn
`)
	args := []string{"--config", path}
	wider := Class{Deadline: 12 * time.Hour, InDoubtWindow: 5 * time.Minute, InDoubtPolicy: "close", ErrorWindow: 20 * time.Second}
	common := Common{
		Environment: "prod-1",
		Redis:       Redis{PasswordFile: dir + "/redis.password", URL: "rediss://sluice:p%40ss%2Fword@redis:6380/2", Durability: Relaxed},
		Shards:      32,
		Graph:       Graph{BaseURL: "http://127.0.0.1:8070", Version: "v24.0"},
		Numbers: []Number{
			{
				ID: "106540352242922", Rate: 1000, Display: "+15550783881", Classes: map[string]Class{"utility": {Deadline: 2 * time.Hour}},
				TemplateClasses: []TemplateClass{{"otp_*", "authentication"}, {"*", "marketing"}}, TokenFile: dir + "/a.token",
			},
			{ID: "200000000000001", Rate: DefaultRate, Learn: true, TokenFile: dir + "/b.token"},
		},
		Classes:    map[string]Class{"utility": wider},
		PricesFile: dir + "/prices.yaml",
		LogLevel:   slog.LevelWarn,
		Ops:        ":3",
	}

	archive := Archive{URL: "postgres://sluice:pw@db/archive", Retention: 2000 * time.Hour, Key: "secrets-key-1234"}
	p, err := LoadProducer(args, env())
	key := APIKey{Name: "shop", SHA256: sha256.Sum256([]byte("secret")), Numbers: []string{"*"}, Scopes: []string{ScopeSend, ScopeRead}, Revoked: true, Expires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC)}
	if got, err := p.Tokens.Token("200000000000001"); got != "token-b" || err != nil {
		t.Errorf("the producer's Token = %q, %v", got, err)
	}
	p.Tokens = nil
	second := APIKey{Name: "outbox", Numbers: []string{"*"}, Scopes: []string{ScopeSend}}
	same(t, err, p, Producer{
		Common: common, Listen: "127.0.0.1:1", Console: ":4", APIKeys: []APIKey{key, second}, PayloadKey: "payload-key-1234",
		Outbox: Outbox{URL: "postgres://sluice:pw@db/shop", Table: "shop.messages", APIKey: "outbox", Poll: time.Second}, SecretsKey: "secrets-key-1234", Archive: archive,
	})

	wh, err := LoadWebhook(args, env())
	app := App{Name: "main", Secret: "new", PreviousSecret: "old", PreviousExpires: time.Date(2027, 1, 31, 0, 0, 0, 0, time.UTC), VerifyToken: "a-verify-token-1"}
	same(t, err, wh, Webhook{Common: common, Listen: ":2", Apps: []App{app}, SecretsKey: "secrets-key-1234"})
	end := app.PreviousExpires
	for now, want := range map[time.Time][]string{end.Add(-1): {"new", "old"}, end: {"new"}} {
		if got := app.Secrets(now); !slices.Equal(got, want) {
			t.Errorf("Secrets(%s) = %q", now, got)
		}
	}
	app.PreviousExpires = time.Time{}
	if got := app.Secrets(end); !slices.Equal(got, []string{"new", "old"}) {
		t.Errorf("Secrets without an end = %q", got)
	}

	w, err := LoadWorker(args, env())
	for number, want := range map[string]string{"106540352242922": "token-a", "200000000000001": "token-b"} {
		if got, err := w.Tokens.Token(number); got != want || err != nil {
			t.Errorf("Token(%s) = %q, %v", number, got, err)
		}
	}
	if _, err := w.Tokens.Token("3"); err == nil {
		t.Error("Token of an unknown number: no error")
	}
	w.Tokens = nil
	same(t, err, w, Worker{Common: common, Roles: []string{RoleSend, RoleArchive}, Archive: archive, SecretsKey: "secrets-key-1234", MarkerKey: "0123456789abcdef", Retry: Retry{Base: 2 * time.Second, Max: 2 * time.Minute, Attempts: 7}, Events: Events{48 * time.Hour, 3 << 29}, TemplateSync: 10 * time.Minute, UnmatchedStatuses: UnmatchedStatuses{5 * time.Minute, 500}, SecondMarkerKey: "fedcba9876543210", PayloadKey: "payload-key-1234", SecondPayloadKey: "payload-key-0123"})
}

// A producer starts without the tokens that it cannot read, because an operator may keep them from it.
func TestProducerNeedsNoTokens(t *testing.T) {
	path := write(t, t.TempDir(), "s.yaml", "numbers: [{phone_number_id: 1, token_file: nosuch}, {phone_number_id: 2}]\napi_keys: [{name: k, sha256: "+aDigest+", phone_number_ids: [\"*\"], scopes: [messages:send]}]\n")
	p, err := LoadProducer([]string{"--config", path}, env())
	if err != nil {
		t.Fatal(err)
	}
	for _, number := range []string{"1", "2"} {
		if token, err := p.Tokens.Token(number); token != "" || err == nil {
			t.Errorf("Token(%s) = %q, %v", number, token, err)
		}
	}
}

func same[T any](t *testing.T, err error, got, want T) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("(secrets may differ)\ngot  %+v\nwant %+v", got, want)
	}
}

func TestWithoutAFile(t *testing.T) {
	guides := env("ACCESS_TOKEN", "token", "PHONE_NUMBER_ID", "106540352242922", "VERIFY_TOKEN", "a-verify-token-1",
		"APP_SECRET", "app", "SLUICE_API_KEY", "0123456789abcdef", "SLUICE_MARKER_KEY", "0123456789abcdef")
	common := Common{
		Environment: "default",
		Redis:       Redis{URL: "redis://127.0.0.1:6379", Durability: Fsync},
		Shards:      16,
		Graph:       Graph{BaseURL: "https://graph.facebook.com", Version: "v25.0"},
		Numbers:     []Number{{ID: "106540352242922", Rate: DefaultRate, Learn: true}},
		LogLevel:    slog.LevelInfo,
		Ops:         ":9101",
	}
	p, err := LoadProducer(nil, guides)
	if token, err := p.Tokens.Token("106540352242922"); token != "token" || err != nil {
		t.Errorf("the producer's Token = %q, %v", token, err)
	}
	p.Tokens = nil
	same(t, err, p, Producer{Common: common, RecipientIndex: true, Listen: ":8080", Console: ":8081", APIKeys: []APIKey{{
		Name: "environment", SHA256: sha256.Sum256([]byte("0123456789abcdef")),
		Numbers: []string{"*"}, Scopes: Scopes(),
	}}})

	common.Ops = ":9102"
	w, err := LoadWorker(nil, guides)
	if token, err := w.Tokens.Token("106540352242922"); token != "token" || err != nil {
		t.Errorf("Token = %q, %v", token, err)
	}
	w.Tokens = nil
	same(t, err, w, Worker{Common: common, Roles: []string{RoleSend, RoleReconcile, RoleRelay, RoleArchive}, MarkerKey: "0123456789abcdef", Retry: Retry{Base: time.Second, Max: time.Minute, Attempts: 20}, Events: Events{24 * time.Hour, 0}, RecipientIndex: true, KeyLife: 720 * time.Hour, TemplateSync: time.Hour, UnmatchedStatuses: UnmatchedStatuses{15 * time.Minute, 10_000}})

	common.Ops = ":9103"
	wh, err := LoadWebhook(nil, guides)
	same(t, err, wh, Webhook{Common: common, Listen: ":8090", Apps: []App{{Name: "main", Secret: "app", VerifyToken: "a-verify-token-1"}}})

	common.Ops = ""
	common.Numbers = nil
	tool, err := LoadTool(nil, env())
	same(t, err, tool, common)
}

func TestPrecedence(t *testing.T) {
	path := write(t, t.TempDir(), "s.yaml", "shards: 20\n")
	for _, c := range []struct {
		name string
		args []string
		env  func(string) string
		want int
	}{
		{"default", nil, env(), 16},
		{"file", []string{"--config", path}, env(), 20},
		{"file named by the environment", nil, env("SLUICE_CONFIG", path), 20},
		{"environment over file", []string{"--config", path}, env("SLUICE_SHARDS", "30"), 30},
		{"flag over environment", []string{"--config", path, "--shards=40"}, env("SLUICE_SHARDS", "30"), 40},
		{"an empty variable is none", []string{"--config", path}, env("SLUICE_SHARDS", ""), 20},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := LoadTool(c.args, c.env)
			if err != nil || got.Shards != c.want {
				t.Errorf("shards = %d, %v, want %d", got.Shards, err, c.want)
			}
		})
	}
}

func TestGuidesNamesWinOverTheFile(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "token", "token-from-a-file")
	path := write(t, dir, "s.yaml", `
numbers: [{phone_number_id: "1", token_file: token, rate_limit: 5}, {phone_number_id: "2", token_file: token}]
apps: [{name: main, secret_file: no-such-file, verify_token_file: token}]
`)
	args := []string{"--config", path}
	e := env("PHONE_NUMBER_ID", "1", "ACCESS_TOKEN", "from-env", "APP_SECRET", "s", "SLUICE_MARKER_KEY", "0123456789abcdef")
	w, err := LoadWorker(args, e)
	if err != nil {
		t.Fatal(err)
	}
	one, _ := w.Tokens.Token("1")
	two, _ := w.Tokens.Token("2")
	if one != "from-env" || two != "token-from-a-file" || len(w.Numbers) != 2 || w.Numbers[0].Rate != 5 {
		t.Errorf("tokens %q, %q; numbers %+v", one, two, w.Numbers)
	}
	wh, err := LoadWebhook(args, e)
	if err != nil || string(wh.Apps[0].Secret) != "s" || string(wh.Apps[0].VerifyToken) != "token-from-a-file" {
		t.Errorf("app: %v", err)
	}
}

func TestMistakesAreToldTogetherWithPlaceAndFix(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "empty", "\n")
	write(t, dir, "words", "two words")
	file := func(content string) []string {
		return []string{"--config", write(t, t.TempDir(), "s.yaml", content)}
	}
	producer := func(args []string, e func(string) string) error { _, err := LoadProducer(args, e); return err }
	worker := func(args []string, e func(string) string) error { _, err := LoadWorker(args, e); return err }
	webhook := func(args []string, e func(string) string) error { _, err := LoadWebhook(args, e); return err }
	tool := func(args []string, e func(string) string) error { _, err := LoadTool(args, e); return err }
	for _, c := range []struct {
		name string
		load func([]string, func(string) string) error
		args []string
		env  func(string) string
		want []string // each in the error
	}{
		{"several at once", tool, append(file("shards: 0\nrat: 1\nredis:\n  durability: always\n"), "--log-level", "loud"), env("GRAPH_API_VERSION", "25"), []string{
			`s.yaml:1: shards: "0" is not a whole number from 1 to 256`,
			`s.yaml:2: rat: unknown key; valid keys: api_keys, apps, archive, canary,`,
			`s.yaml:4: redis.durability: "always" is none of fsync, replica, asserted, relaxed`,
			`--log-level: "loud" is none of debug, info, warn, error`,
			`GRAPH_API_VERSION (environment): "25" is not a version like v25.0`,
		}},
		{"file named and not there", tool, []string{"--config", "/no/such.yaml"}, env(), []string{"configuration file: open /no/such.yaml"}},
		{"no YAML", tool, file("a: b: c\n"), env(), []string{"s.yaml: yaml: mapping values are not allowed"}},
		{"a list for a mapping", tool, file("redis: [a]\n"), env(), []string{"s.yaml:1: redis: must be a mapping with the keys durability, failover_may_lose_writes, password_file, url"}},
		{"a mapping for a value", tool, file("shards: {a: 1}\n"), env(), []string{"s.yaml:1: shards: must be a single value"}},
		{"a key without value", tool, file("\nshards:\n"), env(), []string{"s.yaml:2: shards: has no value"}},
		{"a key twice", tool, file("shards: 1\nshards: 2\n"), env(), []string{"s.yaml:2: shards: is given twice"}},
		{"two documents", tool, file("shards: 1\n---\nshards: 2\n"), env(), []string{"more than one YAML document"}},
		{"an empty list", tool, file("numbers: []\n"), env(), []string{"s.yaml:1: numbers: must be a list with at least one entry"}},
		{"unknown flag", tool, []string{"--shrads", "1"}, env(), []string{"flags: flag provided but not defined: -shrads; -h lists them"}},
		{"another program's flag", webhook, []string{"--listen-api", ":1"}, env(), []string{"flag provided but not defined: -listen-api"}},
		{"an argument", tool, []string{"now"}, env(), []string{`unexpected argument "now"`}},
		{"addresses", producer, file("listen: {api: 8080, ops: \":99999\"}\n"), env(), []string{`listen.api: "8080" is not an address`, `listen.ops: ":99999" is not an address`}},
		{"graph", tool, file("graph: {base_url: graph.facebook.com, version: \"25\"}\n"), env(), []string{"graph.base_url: is not a URL", `graph.version: "25" is not a version`}},
		{"no memory", worker, file("events: {memory: 512mb}\n"), env("SLUICE_EVENTS_MEMORY", "15MiB"), []string{
			`events.memory: "512mb" is not a size from 16 MiB to 1024 GiB, like 512MiB or 4GiB`, `SLUICE_EVENTS_MEMORY (environment): "15MiB" is not a size`,
		}},
		{"a limit of older versions", worker, file("events: {max_length: 20000}\n"), env(), []string{"s.yaml:1: events.max_length: unknown key; valid keys: memory, retention"}},
		{"environment", tool, file("environment: Prod_1\n"), env(), []string{`environment: "Prod_1" is not 1 to 16 of a-z, 0-9 and -`}},

		{"producer without anything", producer, nil, env(), []string{"api_keys: none is configured"}},
		{"worker without anything", worker, nil, env(), []string{"marker key: is missing: make one with `openssl rand -hex 32`"}},

		{"numbers", worker, file(`
numbers:
  - {phone_number_id: "+49151", rate_limit: 0}
  - {token_file: x}
  - {phone_number_id: "7", token_file: gone, classes: {urgent: {deadline: 1h}, service: {deadline: 1, in_doubt_policy: pray}}}
  - {phone_number_id: "7"}
  - {phone_number_id: "8"}
  - {phone_number_id: "9", token_file: ` + dir + `/empty}
  - {phone_number_id: "10", token_file: ` + dir + `/words}
`), env("SLUICE_MARKER_KEY", "short"), []string{
			"s.yaml:3: numbers[0].phone_number_id: is not a phone number id: that is Meta's id",
			`s.yaml:3: numbers[0].rate_limit: "0" is not a whole number from 1 to 10000`,
			"s.yaml:4: numbers[1].phone_number_id: is missing",
			"s.yaml:5: numbers[2].classes.urgent: unknown key; valid keys: authentication, marketing, service, utility",
			`s.yaml:5: numbers[2].classes.service.deadline: "1" is not a time from 1s to 720h0m0s`,
			`s.yaml:5: numbers[2].classes.service.in_doubt_policy: "pray" is none of resend, park, close`,
			"number 8: has no token: give it a token_file",
			"token_file of number 9: " + dir + "/empty is empty",
			"token_file of number 10: " + dir + "/words has more than one word",
			"marker key: is shorter than 16 bytes",
		}},
		{"number twice", worker, file("numbers:\n- {phone_number_id: \"7\"}\n- {phone_number_id: \"7\"}\n"), env(), []string{"s.yaml:3: numbers[1].phone_number_id: phone number id 7 is in the list twice"}},
		{"no phone numbers", tool, file("numbers:\n- {phone_number_id: \"1\", display_number: \"15550783881\"}\n- {phone_number_id: \"2\", display_number: \"+1 555 078-3881\"}\n- {phone_number_id: \"3\", display_number: \"+0155507838\"}\n- {phone_number_id: \"4\", display_number: \"+155507\"}\n- {phone_number_id: \"5\", display_number: \"+1555078388112345\"}\n"), env(), []string{
			"s.yaml:2: numbers[0].display_number: is not a phone number like", "s.yaml:3: numbers[1].display_number: is not",
			"s.yaml:4: numbers[2].display_number: is not", "s.yaml:5: numbers[3].display_number: is not", "s.yaml:6: numbers[4].display_number: is not",
		}},
		{"token file gone", worker, file("numbers: [{phone_number_id: \"7\", token_file: gone}]"), env(), []string{"token_file of number 7: open /", "/gone: no such file"}},
		{"PHONE_NUMBER_ID", worker, nil, env("PHONE_NUMBER_ID", "+49151"), []string{"PHONE_NUMBER_ID (environment): is not a phone number id"}},
		{"payload key", producer, []string{"--payload-key-file", write(t, dir, "weak", "weak")}, env(), []string{
			"payload_key_file: has a key that is shorter than 16 bytes: make one with `openssl rand -hex 32`",
		}},
		{"a phone number for PHONE_NUMBER_ID", worker, nil, env("PHONE_NUMBER_ID", "+4915112345678"), []string{
			"PHONE_NUMBER_ID (environment): is not a phone number id", "number (PHONE_NUMBER_ID): has no token",
		}},
		{"a byte order mark", worker, file("marker_key_file: " + write(t, dir, "marked", "\ufeff0123456789abcdef\n") + "\n"), env(), []string{"/marked has a byte order mark"}},
		{"a secret of blanks", worker, file("marker_key_file: " + write(t, dir, "blank", " \t\r\n ") + "\n"), env(), []string{"/blank is empty"}},
		{"secrets with a line break", worker, nil, env("ACCESS_TOKEN", "token\n", "SLUICE_MARKER_KEY", "\ufeff0123456789abcdef", "APP_SECRET", "  "), []string{
			"ACCESS_TOKEN (environment): has a blank or a line break in it", "SLUICE_MARKER_KEY (environment): has a byte order mark", "APP_SECRET (environment): has only blanks",
		}},
		{"the hash of no key", producer, file("api_keys:\n- {name: a, sha256: e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855, phone_number_ids: [\"*\"], scopes: [admin]}\n- {name: b, sha256: 01ba4719c80b6fe911b091a7c05124b64eeece964e09c058ef8f9805daca546b, phone_number_ids: [\"*\"], scopes: [admin]}\n"), env(), []string{
			"s.yaml:2: api_keys[0].sha256: is the SHA-256 of no key", "s.yaml:3: api_keys[1].sha256: is the SHA-256 of no key",
		}},
		{"windows shorter than a request", worker, file("numbers: [{phone_number_id: \"7\", classes: {utility: {in_doubt_policy: resend}}}]\nclasses: {authentication: {in_doubt_window: 29s}, utility: {in_doubt_window: 10s}, service: {in_doubt_window: 1s}}\n"), env(), []string{
			"classes.authentication.in_doubt_window: is 29s and in_doubt_policy is resend", "in_doubt_window of class utility of number 7: is 10s and in_doubt_policy is resend",
		}},
		{"outbox without a key", producer, nil, env("SLUICE_OUTBOX_DATABASE_URL", "postgres://db"), []string{"outbox.api_key: is missing: set it to the name of an API key"}},
		{"outbox with an unknown key", producer, []string{"--outbox-api-key", "shop"}, env("SLUICE_OUTBOX_DATABASE_URL", "postgres://db"), []string{"outbox.api_key: no API key has the name shop"}},
		{"outbox with a key that cannot send", producer, file("numbers: [{phone_number_id: \"7\"}]\napi_keys: [{name: a, sha256: " + aDigest + ", phone_number_ids: [\"*\"], scopes: [admin]}]\noutbox: {api_key: a, database_url_file: gone, table: \"a.b.c\", poll_interval: 1ms}\n"), env("SLUICE_OUTBOX_DATABASE_URL", "postgres://db"), []string{
			"outbox.api_key: the API key a is revoked or does not have the scope messages:send", `outbox.table: "a.b.c" is not a table like sluice_outbox`, `outbox.poll_interval: "1ms" is not a time from 10ms to 1m0s`,
		}},
		{"archive without a secrets key", worker, nil, env("SLUICE_ARCHIVE_DATABASE_URL", "postgres://db"), []string{"archive: needs a secrets key"}},
		{"no role that works", worker, []string{"--roles", "archive"}, env(), []string{"roles: is only archive, and there is no archive"}},
		{"roles", worker, file("roles: send,sweep\n"), env(), []string{`roles: "send,sweep" is not a list of send, reconcile`}},
		{"retry", worker, file("retry: {base: 2m}\n"), env(), []string{"retry.max: is shorter than retry.base"}},

		{"apps", webhook, file("apps:\n- {name: main}\n- {name: main}\n- {secret_file: gone, previous_secret_expires: soon}\n- {name: Big}\n- {name: other, secret_file: gone, verify_token_file: " + dir + "/empty}\n- {name: third, secret_file: gone, previous_secret_expires: 2027-01-31T00:00:00Z}\n"), env(), []string{
			"s.yaml:3: apps[1].name: app main is in the list twice",
			"s.yaml:4: apps[2].name: is missing",
			`s.yaml:5: apps[3].name: "Big" is not 1 to 32 of a-z`,
			"app main: has no secret: give it a secret_file, or set APP_SECRET",
			"app main: has no verify token",
			`s.yaml:4: apps[2].previous_secret_expires: "soon" is not a time like`,
			"app third: has a previous_secret_expires and no previous_secret_file",
			"secret_file of app other: open /",
			"verify_token_file of app other: " + dir + "/empty is empty",
		}},
		{"verify token", webhook, nil, env("APP_SECRET", "s", "VERIFY_TOKEN", "15-characters.."), []string{
			"verify token of app main: is shorter than 16 characters: make one with `openssl rand -hex 32`",
		}},
		{"api keys", producer, file("numbers: [{phone_number_id: \"7\"}]\napi_keys:\n- {name: a, sha256: abc, phone_number_ids: [x], scopes: [all]}\n- {name: b, revoked: yes, expires: soon}\n- {name: c, sha256: " + aDigest + ", phone_number_ids: [\"8\"], scopes: [messages:send]}\n- {name: d, sha256: " + aDigest + ", phone_number_ids: [\"7\"], scopes: [messages:send]}\n"), env("SLUICE_API_KEY", "short"), []string{
			"s.yaml:3: api_keys[0].sha256: is not a SHA-256 in hex; make it with",
			`s.yaml:3: api_keys[0].phone_number_ids[0]: is neither a phone number id (digits only) nor "*"`,
			`s.yaml:3: api_keys[0].scopes[0]: "all" is none of messages:send, messages:read, messages:cancel, account:write, events:read, console:read, admin`,
			"s.yaml:4: api_keys[1].sha256: is missing", "api_keys[1].phone_number_ids: is missing", "api_keys[1].scopes: is missing",
			`s.yaml:4: api_keys[1].revoked: "yes" is neither true nor false`,
			`s.yaml:4: api_keys[1].expires: "soon" is not a time like 2027-01-31T00:00:00Z`,
			"s.yaml:6: api_keys[3]: has the name or the key of another API key: c",
			"SLUICE_API_KEY (environment): is shorter than 16 characters",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			err := c.load(c.args, c.env)
			if err == nil {
				t.Fatal("no error")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("no %q in:\n%v", want, err)
				}
			}
		})
	}
}

func TestMistakesQuoteNoSecret(t *testing.T) {
	const canary = "hunter2-EAAGm0PX4ZCpsBA"
	path := write(t, t.TempDir(), "s.yaml", `
redis: {url: "redis://:`+canary+`@[bad"}
numbers: [{phone_number_id: "`+canary+`"}]
apps: [{name: main, secret_file: `+write(t, t.TempDir(), "s", canary+" "+canary)+`}]
api_keys: [{name: a, sha256: `+canary+`, phone_number_ids: ["`+canary+`"], scopes: [messages:send]}]
`)
	e := env("SLUICE_REDIS_URL", "http://"+canary, "GRAPH_BASE_URL", "https://user:"+canary+"@x",
		"PHONE_NUMBER_ID", canary, "ACCESS_TOKEN", canary, "SLUICE_MARKER_KEY", canary[:9], "SLUICE_API_KEY", canary[:9],
		"VERIFY_TOKEN", canary[:9], "SLUICE_OUTBOX_DATABASE_URL", "postgres://"+canary, "SLUICE_ARCHIVE_DATABASE_URL", "postgres://"+canary)
	_, one := LoadProducer([]string{"--config", path}, e)
	_, two := LoadWorker([]string{"--config", path}, e)
	_, three := LoadWebhook([]string{"--config", path}, e)
	if one == nil || two == nil || three == nil {
		t.Fatal("no mistake found")
	}
	if err := errors.Join(one, two, three); strings.Contains(err.Error(), canary[:9]) {
		t.Errorf("a secret in:\n%v", err)
	}
}

func TestHelp(t *testing.T) {
	_, err := LoadWorker([]string{"--shards", "x", "-h"}, env())
	if !errors.Is(err, flag.ErrHelp) {
		t.Fatalf("error %v, want help", err)
	}
	for _, want := range []string{"--config", "--redis-url", "$SLUICE_REDIS_URL", "default :9102", "--retry-base", "$GRAPH_API_VERSION"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in:\n%v", want, err)
		}
	}
	if strings.Contains(err.Error(), "--listen-api") {
		t.Error("the worker offers a flag of the producer")
	}
}

func TestSecretNeverShows(t *testing.T) {
	v := struct{ S Secret }{"hunter2"}
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "s", v.S, "v", v)
	j, _ := json.Marshal(v)
	y, _ := yaml.Marshal(v)
	for _, got := range []string{
		fmt.Sprint(v), fmt.Sprintf("%+v %#v %q %x %d", v, v, v.S, v.S, v.S), string(j), string(y), logged.String(),
	} {
		if strings.Contains(got, "hunter2") || strings.Contains(got, "68756e74657232") || !strings.Contains(got, redacted) {
			t.Errorf("shown: %s", got)
		}
	}
	if got := Secret("").String(); got != "" {
		t.Errorf("no secret shows as %q", got)
	}
}

func TestEnvReadsDotEnvBelowTheRealOne(t *testing.T) {
	t.Chdir(t.TempDir())
	get, err := Env()
	if err != nil || get("SLUICE_TEST_A") != "" {
		t.Fatalf("without a file: %q, %v", get("SLUICE_TEST_A"), err)
	}
	write(t, ".", ".env", "SLUICE_TEST_A=file\nexport SLUICE_TEST_B=\"file\"\n")
	t.Setenv("SLUICE_TEST_A", "real")
	get, err = Env()
	if err != nil || get("SLUICE_TEST_A") != "real" || get("SLUICE_TEST_B") != "file" {
		t.Errorf("got %q, %q, %v", get("SLUICE_TEST_A"), get("SLUICE_TEST_B"), err)
	}
	write(t, ".", ".env", "ACCESS_TOKEN hunter2\n")
	if _, err = Env(); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Errorf("broken file: %v", err)
	}
}

func TestDefaultFileIsOptional(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, ".", "sluice.yaml", "shards: 20\n")
	if got, err := LoadTool(nil, env()); err != nil || got.Shards != 20 {
		t.Errorf("shards %d, %v", got.Shards, err)
	}
}
