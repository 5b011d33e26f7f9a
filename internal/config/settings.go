package config

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"sluice/internal/redisurl"
)

// setting is a single value that file, environment and flags can set.
type setting struct {
	key  string // in the file, with dots
	name string // of the environment variable; empty: made from key
	def  string
	use  string             // the names of the programs with it; empty: all
	help string             // half a line for -h; docs/configuration.md begins with it
	more string             // what docs/configuration.md adds to help
	path bool               // a file name; in the configuration file it is relative to the folder of that file
	set  func(string) error // checks and stores a value; its error does not quote secrets
}

// env returns the name of the environment variable.
func (s setting) env() string {
	if s.name != "" {
		return s.name
	}
	return "SLUICE_" + strings.ToUpper(strings.ReplaceAll(s.key, ".", "_"))
}

// flag returns the name of the flag, without dashes.
func (s setting) flag() string { return strings.NewReplacer(".", "-", "_", "-").Replace(s.key) }

// of reports whether a program has the setting.
func (s setting) of(program string) bool {
	return s.use == "" || slices.Contains(strings.Fields(s.use), program)
}

var opsListen = map[string]string{"producer": ":9101", "worker": ":9102", "webhook": ":9103"}

// settings is the table of all single values, which are stored in v. The lists of the file (numbers,
// apps, api_keys, classes) are in file.go.
func (v *values) settings(program string) []setting {
	return []setting{
		{
			key: "environment", def: "default", help: "name of this installation, in the marker of each message", set: pattern(&v.Environment, `[a-z0-9-]{1,16}`, "1 to 16 of a-z, 0-9 and -"),
			more: "The marker is a signed tag by which Sluice recognizes Meta's statuses of its messages. 1 to 16 of a-z, 0-9 and `-`. Two installations on one WhatsApp Business Account need different names, so that each recognizes the statuses of its own messages.",
		},
		{key: "redis.url", def: "redis://127.0.0.1:6379", help: "URL of one Redis, of Sentinels or of a Cluster", more: "See below.", set: redisURL(&v.Redis.URL)},
		{key: "redis.password_file", path: true, help: "file with Redis's password", more: "It wins over a password in the URL. The programs read it again for each new connection.", set: text(&v.redisPasswordFile)},
		{
			key: "redis.durability", def: Fsync, help: "what a confirmed write must survive, checked at start: fsync, replica, asserted or relaxed", set: oneOf(&v.Redis.Durability, Fsync, Replica, Asserted, Relaxed),
			more: "See [reliability.md](reliability.md#what-an-answered-write-survives). `fsync`: a crash of Redis. `replica`: a failover too; for Sentinel and Cluster. `asserted`: as `fsync`, but Sluice does not check it: you guarantee it. For a managed Redis that forbids CONFIG. `relaxed`: nothing; for tests only.",
		},
		{
			key: "redis.failover_may_lose_writes", def: "false", help: "true: accept durability fsync on Sentinel or a Cluster", set: truth(&v.Redis.FailoverMayLose),
			more: "Without it the programs refuse to start there: a failover loses writes that the next master has not received, also accepted messages. `redis.durability: replica` prevents the loss.",
		},
		{key: "shards", def: "16", help: "number of shards, fixed at the first start of an installation", more: "1 to 256.", set: integer(&v.Shards, 1, 256)},
		{key: "graph.base_url", name: "GRAPH_BASE_URL", def: "https://graph.facebook.com", help: "base URL of Meta's Graph API", more: "For tests: the address of the simulator.", set: baseURL(&v.Graph.BaseURL)},
		{key: "graph.version", name: "GRAPH_API_VERSION", def: "v25.0", help: "version of the Graph API", set: graphVersion(&v.Graph.Version), more: "A number can have its own, and a canary: [graph-versions.md](graph-versions.md)."},
		{
			key: "marker_key_file", use: "worker", path: true, help: "file with the key that signs the marker of each message", set: text(&v.markerKeyFile),
			more: "The worker needs it, or the variable `SLUICE_MARKER_KEY`. At least 16 bytes; `openssl rand -hex 32` makes one. All workers of an installation must have the same key: a worker with another key refuses to start. See [changing the key](#changing-the-marker-key).",
		},
		{
			key: "second_marker_key_file", use: "worker", path: true, help: "file with a second marker key; markers signed with it are accepted too", set: text(&v.secondMarkerKeyFile),
			more: "Set it while you change the key.",
		},
		{
			key: "payload_key_file", use: "producer worker", path: true, help: "file with the key that signs the payloads of messages in Redis", set: text(&v.payloadKeyFile),
			more: "With it the producer signs each payload, and the worker sends no message whose payload signature is wrong. At least 16 bytes; `openssl rand -hex 32` makes one. Set it at the producers first: [security.md](security.md#who-can-write-to-redis).",
		},
		{
			key: "second_payload_key_file", use: "worker", path: true, help: "file with a second payload key; signatures made with it are accepted too", set: text(&v.secondPayloadKeyFile),
			more: "Set it while you change the key.",
		},
		{
			key: "secrets_key_file", use: "producer worker webhook", path: true, help: "file with the key that encrypts secrets in Redis", set: text(&v.secretsKeyFile),
			more: "For access tokens and app secrets that are stored at run time, for the secrets of [relay targets](relay.md), and for the index of recipients (`recipient_index`). The variable `SLUICE_SECRETS_KEY` can have the key instead. At least 16 bytes; `openssl rand -hex 32` makes one. All programs need the same key. To change it, see `second_secrets_key_file`.",
		},
		{
			key: "second_secrets_key_file", use: "producer worker webhook", path: true, help: "file with a second secrets key; secrets encrypted with it can be read too", set: text(&v.secondSecretsKeyFile),
			more: "Set it while you change the key: first give all programs the new key as the second one, then exchange the two keys, then let Sluice encrypt all secrets again, then remove the second key. Messages that were accepted with the old key are not found by their recipient.",
		},
		{
			key: "recipient_index", def: "true", use: "producer worker", help: "whether messages can be found by their recipient; needs a secrets key", set: truth(&v.recipientIndex),
			more: "The index has a hash of each recipient, made with the key of `secrets_key_file`. Without that key there is no index. It needs about 60 bytes for each message in Redis. Messages that were accepted without it, or with another key, are not found by their recipient. Workers use the same hashes to remember which phone numbers and user ids are [one person](people.md). See [security.md](security.md#the-index-of-recipients).",
		},
		{
			key: "relay.allowed_private_hosts", use: "producer worker", help: "hosts of relay targets and auto-reply hooks that may have private addresses", set: hosts(&v.relay.PrivateHosts),
			more: "Host names or IP addresses as they are in the URLs of targets and hooks, separated by commas. Sluice connects to other hosts only at public addresses and with TLS. It may connect to these at any address, and without TLS.",
		},
		{
			key: "roles", def: RoleSend + "," + RoleReconcile + "," + RoleRelay + "," + RoleArchive, use: "worker", help: "what this worker does: some of send, reconcile, relay and archive", set: someOf(&v.roles, RoleSend, RoleReconcile, RoleRelay, RoleArchive),
			more: "`send` sends messages, and runs the sweeper, which handles deadlines and ended in-doubt windows. `reconcile` applies statuses from Meta to the records. `relay` forwards events to the [relay targets](relay.md). `archive` writes events to the [archive](archive.md), if there is one. Split the roles to scale them separately. At least one worker must have each role.",
		},
		{key: "retry.base", def: "1s", use: "worker", help: "first wait before a retry", more: "It doubles with each attempt. 10 ms to 1 h.", set: duration(&v.retry.Base, 10*time.Millisecond, time.Hour)},
		{key: "retry.max", def: "60s", use: "worker", help: "longest wait before a retry", more: "Up to 24 h, and not less than `retry.base`.", set: duration(&v.retry.Max, 10*time.Millisecond, 24*time.Hour)},
		{key: "retry.attempts", def: "20", use: "worker", help: "number of counted attempts after which a message becomes a dead letter", more: "[message-life.md](message-life.md#outcomes-of-an-attempt) says which attempts count. 1 to 1000.", set: integer(&v.retry.Attempts, 1, 1000)},
		{
			key: "events.retention", def: "24h", use: "worker", help: "how long events are kept for your own consumers", more: "Events that Sluice itself has not applied are kept longer. 1 min to 720 h. See [events.md](events.md#retention).",
			set: duration(&v.events.Retention, time.Minute, 30*24*time.Hour),
		},
		{
			key: "events.memory", use: "worker", help: "how much Redis memory events may use", set: size(&v.events.Memory, 16<<20, 1<<40),
			more: "Like `512MiB` or `4GiB`; at least 16 MiB, and at most half of `maxmemory` (in a Cluster, of all masters together). Without it: a quarter of `maxmemory`, or of the memory of the machine if Redis has no `maxmemory`. When events need more, Sluice drops the oldest before `events.retention`. See [events.md](events.md#retention).",
		},
		{
			key: "idempotency_key_retention", def: "720h", use: "worker", help: "how long an idempotency key is remembered after the record of its message is removed", set: duration(&v.keyLife, 0, 365*24*time.Hour),
			more: "0s to 8760h; `0s`: a key is removed with its record. A key needs about 300 bytes of Redis memory. See [reliability.md](reliability.md#the-same-key-and-how-long-a-record-lives).",
		},
		{
			key: "template_sync", def: "1h", use: "worker", help: "how often the message templates of each WhatsApp Business Account are read from Meta", set: duration(&v.templateSync, time.Second, 24*time.Hour),
			more: "Webhooks about templates cause a read at once. Without these webhooks, set a shorter time; see [templates.md](templates.md). 1s to 24h.",
		},
		{
			key: "unmatched_statuses.retention", def: "15m", use: "worker", help: "how long a status from Meta that matches no message is kept", set: duration(&v.unmatchedLife, time.Minute, 24*time.Hour),
			more: "A status can arrive before the outcome of its message. Most of these statuses are for messages that other systems sent from the number. 1m to 24h.",
		},
		{
			key: "unmatched_statuses.max", def: "10000", use: "worker", help: "maximum number of such statuses in each shard", set: integer(&v.unmatchedMost, 100, 1_000_000),
			more: "The oldest are dropped first. 100 to 1000000; 10,000 need about 8 MB of Redis memory.",
		},
		{
			key: "outbox.database_url_file", use: "producer", path: true, help: "file with the URL of the PostgreSQL database with the outbox", set: text(&v.outboxURLFile),
			more: "Without it, or the variable `SLUICE_OUTBOX_DATABASE_URL`, there is no [outbox](outbox.md). Like `postgres://user:password@host:5432/database?sslmode=verify-full`.",
		},
		{
			key: "outbox.table", def: "sluice_outbox", use: "producer", help: "table of the outbox", set: pattern(&v.outbox.Table, `([a-z_][a-z0-9_]{0,54}\.)?[a-z_][a-z0-9_]{0,54}`, "a table like sluice_outbox or shop.sluice_outbox, of a-z, 0-9 and _"),
			more: "A name, or a schema and a name: `shop.sluice_outbox`.",
		},
		{
			key: "outbox.api_key", use: "producer", help: "name of the API key with whose rights the outbox sends", set: text(&v.outbox.APIKey),
			more: "An entry of `api_keys` with the scope `messages:send`; `environment` is the key in `SLUICE_API_KEY`. The outbox needs it. Rows for other phone number ids than those of the key are refused.",
		},
		{
			key: "outbox.poll_interval", def: "200ms", use: "producer", help: "time between two reads of the outbox when no row is pending", more: "10 ms to 1 min.",
			set: duration(&v.outbox.Poll, 10*time.Millisecond, time.Minute),
		},
		{
			key: "archive.database_url_file", use: "producer worker", path: true, help: "file with the URL of the PostgreSQL database of the archive", set: text(&v.archiveURLFile),
			more: "Without it, or the variable `SLUICE_ARCHIVE_DATABASE_URL`, there is no [archive](archive.md). Workers with the role `archive` write to it. Producers and `sluice report` read it. It needs a secrets key (`secrets_key_file`), which hashes recipients. Like `postgres://user:password@host:5432/database?sslmode=verify-full`.",
		},
		{
			key: "archive.retention", def: "9600h", use: "worker", help: "how long the archive keeps messages", set: duration(&v.archive.Retention, 35*24*time.Hour, 20*366*24*time.Hour),
			more: "840h to 175680h. Workers drop whole days.",
		},
		{
			key: "prices_file", use: "producer worker", path: true, help: "file with what Meta charges", set: text(&v.PricesFile),
			more: "See [budgets.md](budgets.md#prices). Without it reports count messages and name no cost, and budgets have no effect.",
		},
		{key: "listen.api", def: ":8080", use: "producer", help: "host:port of the API", set: address(&v.listenAPI)},
		{key: "listen.console", def: ":8081", use: "producer", help: "host:port of the console, for operators", more: "See [console.md](console.md). Do not expose it to the internet.", set: address(&v.listenConsole)},
		{key: "listen.webhook", def: ":8090", use: "webhook", help: "host:port for Meta's webhooks", set: address(&v.listenWebhook)},
		{
			key: "listen.ops", def: opsListen[program], use: "producer worker webhook", help: "host:port of metrics, health and profiles", set: address(&v.Ops),
			more: "The paths are `/metrics`, `/livez`, `/readyz` and `/debug/pprof`. Do not expose them to the internet.",
		},
		{key: "log_level", def: "info", help: "lowest level that is logged: debug, info, warn or error", set: level(&v.LogLevel)},
	}
}

// usage is the text for -h.
func usage(program string, settings []setting) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Usage of %s (flags win over the environment, the environment over the file):\n", program)
	line := func(flag, env, help, def string) {
		if def != "" {
			help += ", default " + def
		}
		fmt.Fprintf(&b, "  --%-20s %s [$%s]\n", flag, help, env)
	}
	line("config", "SLUICE_CONFIG", "configuration file", defaultFile+" where there is one")
	for _, s := range settings {
		if s.of(program) {
			line(s.flag(), s.env(), s.help, s.def)
		}
	}
	return b.String()
}

// The functions below return setters. A setter checks a text and stores its value in dst.

func text(dst *string) func(string) error {
	return func(s string) error { *dst = s; return nil }
}

// compiled has the patterns of pattern by their expressions: to compile them takes longer than to check an entry.
var compiled sync.Map

func pattern(dst *string, expr, want string) func(string) error {
	re, known := compiled.Load(expr)
	if !known {
		re, _ = compiled.LoadOrStore(expr, regexp.MustCompile(`^(?:`+expr+`)$`))
	}
	return func(s string) error {
		if !re.(*regexp.Regexp).MatchString(s) {
			return fmt.Errorf("%q is not %s", s, want)
		}
		*dst = s
		return nil
	}
}

func oneOf(dst *string, known ...string) func(string) error {
	return func(s string) error {
		if !slices.Contains(known, s) {
			return fmt.Errorf("%q is none of %s", s, strings.Join(known, ", "))
		}
		*dst = s
		return nil
	}
}

func someOf(dst *[]string, known ...string) func(string) error {
	return func(s string) error {
		var some []string
		for one := range strings.SplitSeq(s, ",") {
			if one = strings.TrimSpace(one); !slices.Contains(known, one) || slices.Contains(some, one) {
				return fmt.Errorf("%q is not a list of %s", s, strings.Join(known, ", "))
			}
			some = append(some, one)
		}
		*dst = some
		return nil
	}
}

func hosts(dst *[]string) func(string) error {
	return func(s string) error {
		var all []string
		for one := range strings.SplitSeq(s, ",") {
			one = strings.ToLower(strings.TrimSpace(one))
			if strings.ContainsAny(one, "/ @*") || strings.Contains(one, ":") && net.ParseIP(one) == nil {
				return fmt.Errorf("%q is not a host name or an IP address without a port", one)
			}
			if one != "" {
				all = append(all, one)
			}
		}
		*dst = all
		return nil
	}
}

func integer(dst *int, low, high int) func(string) error {
	return func(s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < low || n > high {
			return fmt.Errorf("%q is not a whole number from %d to %d", s, low, high)
		}
		*dst = n
		return nil
	}
}

// size sets a number of bytes. An empty text is 0.
func size(dst *int64, low, high int64) func(string) error {
	return func(s string) error {
		if s == "" {
			*dst = 0
			return nil
		}
		for unit, bytes := range map[string]float64{"MiB": 1 << 20, "GiB": 1 << 30} {
			number, ok := strings.CutSuffix(s, unit)
			n, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
			if ok && err == nil && n*bytes >= float64(low) && n*bytes <= float64(high) {
				*dst = int64(n * bytes)
				return nil
			}
		}
		return fmt.Errorf("%q is not a size from %d MiB to %d GiB, like 512MiB or 4GiB", s, low>>20, high>>30)
	}
}

func truth(dst *bool) func(string) error {
	return func(s string) error {
		if s != "true" && s != "false" {
			return fmt.Errorf("%q is neither true nor false", s)
		}
		*dst = s == "true"
		return nil
	}
}

// optional sets something that is true, false or absent.
func optional(dst **bool) func(string) error {
	return func(s string) error {
		var is bool
		err := truth(&is)(s)
		if err == nil {
			*dst = &is
		}
		return err
	}
}

func moment(dst *time.Time) func(string) error {
	return func(s string) error {
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return fmt.Errorf("%q is not a time like 2027-01-31T00:00:00Z", s)
		}
		*dst = t
		return nil
	}
}

func duration(dst *time.Duration, low, high time.Duration) func(string) error {
	return func(s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d < low || d > high {
			return fmt.Errorf("%q is not a time from %s to %s, like 90s, 15m or 24h", s, low, high)
		}
		*dst = d
		return nil
	}
}

func address(dst *string) func(string) error {
	return func(s string) error {
		if s == "" { // a tool's ops address: it has none
			return nil
		}
		_, port, err := net.SplitHostPort(s)
		if n, perr := strconv.ParseUint(port, 10, 16); err != nil || perr != nil || n > 65535 {
			return fmt.Errorf("%q is not an address like :8080 or 127.0.0.1:8080", s)
		}
		*dst = s
		return nil
	}
}

func level(dst *slog.Level) func(string) error {
	levels := map[string]slog.Level{"debug": slog.LevelDebug, "info": slog.LevelInfo, "warn": slog.LevelWarn, "error": slog.LevelError}
	return func(s string) error {
		l, ok := levels[s]
		if !ok {
			return fmt.Errorf("%q is none of debug, info, warn, error", s)
		}
		*dst = l
		return nil
	}
}

// redisURL does not quote the value in its error, because the URL may contain a password.
func redisURL(dst *Secret) func(string) error {
	return func(s string) error {
		if _, err := redisurl.Parse(s); err != nil {
			return err
		}
		*dst = Secret(s)
		return nil
	}
}

func baseURL(dst *string) func(string) error {
	return func(s string) error {
		u, err := url.Parse(s)
		if err != nil || u.Host == "" || (u.Scheme != "http" && u.Scheme != "https") || u.RawQuery != "" || u.User != nil {
			return fmt.Errorf("is not a URL like https://graph.facebook.com without a user and a query")
		}
		*dst = strings.TrimRight(s, "/")
		return nil
	}
}
