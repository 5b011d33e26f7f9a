package doctor_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/app"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/doctor"
	"sluice/internal/events"
	"sluice/internal/golden"
	"sluice/internal/graphsim"
	"sluice/internal/holdpolicy"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/relay"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

//go:generate go test . -run TestDoctorPage -update

// TestMain makes the certificate of httptest's servers one of a known authority.
func TestMain(m *testing.M) {
	s := httptest.NewTLSServer(nil)
	file := filepath.Join(os.TempDir(), fmt.Sprintf("doctor-%d.pem", os.Getpid()))
	err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}), 0o600)
	s.Close()
	if err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file)
	code := m.Run()
	os.Remove(file)
	os.Exit(code)
}

const (
	number  = "106540352242922"
	token   = "doctor-access-token"
	secret  = "doctor-app-secret"
	display = "+1 555-224-2922"
)

// world is an installation in which all is well: a Redis, a simulated Meta, a worker, the webhook program and a
// proxy with a certificate in front of it.
type world struct {
	t     *testing.T
	env   map[string]string
	redis *redistest.Server
	sim   *graphsim.Sim
	off   time.Duration // of Meta's clock
	front http.HandlerFunc
	url   string // of the webhook, in public
	sends bool   // a worker that sends lives

	options doctor.Options

	stopWorker func()            // stops the worker that applies statuses
	names      *strings.Replacer // what differs from run to run
}

func setup(t *testing.T, redis *redistest.Server) *world {
	w := &world{t: t, redis: redis, sends: true}
	t.Cleanup(func() { redis.Client().FlushAll(context.Background()) }) // after the programs have ended
	w.env = map[string]string{
		"SLUICE_REDIS_URL": w.redis.URL(), "PHONE_NUMBER_ID": number, "ACCESS_TOKEN": token, "APP_SECRET": secret,
		"VERIFY_TOKEN": "doctor-verify-token", "SLUICE_API_KEY": "0123456789abcdef", "SLUICE_MARKER_KEY": "0123456789abcdef",
	}
	var inside string
	proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(&url.URL{Scheme: "http", Host: inside}) }}
	w.front = proxy.ServeHTTP
	front := httptest.NewTLSServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) { w.front(rw, r) }))
	t.Cleanup(front.Close)
	w.url = front.URL + "/webhooks/whatsapp/main"

	w.sim = graphsim.New(graphsim.Options{
		Token: token, Rate: 80, Webhook: graphsim.Webhook{URL: w.url, Secret: secret},
		Account: graphsim.Account{Numbers: []graphsim.Number{{ID: number, Display: display}}},
	})
	served := w.sim.Handler()
	graph := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("Date", time.Now().Add(w.off).UTC().Format(http.TimeFormat))
		served.ServeHTTP(rw, r)
	}))
	t.Cleanup(graph.Close)
	w.env["GRAPH_BASE_URL"] = graph.URL

	anywhere := []string{"--listen-ops", "127.0.0.1:0", "--redis-durability", "relaxed"}
	c, err := config.LoadWebhook(append(anywhere, "--listen-webhook", "127.0.0.1:0"), w.getenv)
	if err != nil {
		t.Fatal(err)
	}
	program, err := app.NewWebhook(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	inside = program.Addr()
	w.run(program)
	wc, err := config.LoadWorker(anywhere, w.getenv)
	if err != nil {
		t.Fatal(err)
	}
	wc.Roles = []string{config.RoleReconcile} // it leaves the tasks alone
	worker, err := app.NewWorker(t.Context(), wc, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	w.stopWorker = w.run(worker)
	poll.Until(t, "the worker reads the event streams", func() bool { return redis.Client().ZCard(t.Context(), "sluice:{s00}:readers").Val() == 1 })
	poll.Until(t, "the worker has measured the event streams", func() bool { return redis.Client().Exists(t.Context(), events.KeptKey()).Val() == 1 })
	version := regexp.MustCompile(`redis_version:(\S+)`).FindStringSubmatch(w.redis.Client().Info(t.Context(), "server").Val())
	w.names = strings.NewReplacer(w.redis.Addr, "127.0.0.1:6379", graph.URL, "https://graph.facebook.com", version[1], "7.2.4")
	return w
}

// run runs a program until the test ends or stop is called.
func (w *world) run(p *app.Program) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			w.t.Errorf("program: %v", err)
		}
	})
	w.t.Cleanup(stop)
	return stop
}

func (w *world) getenv(name string) string { return w.env[name] }

// examine returns the report, as it is and as text in which nothing differs from run to run.
func (w *world) examine() (doctor.Report, string) {
	w.t.Helper()
	if w.sends {
		pulse := w.records().Heartbeat(w.t.Context(), []message.Heartbeat{{Shard: 3, Worker: "sender", N: 1}})
		if pulse[0].Err != nil {
			w.t.Fatal(pulse[0].Err)
		}
	}
	w.options.Getenv, w.options.WebhookURL = w.getenv, w.url
	r := doctor.Examine(w.t.Context(), w.options)
	var text, raw bytes.Buffer
	r.Text(&text)
	if err := r.JSON(&raw); err != nil || !json.Valid(raw.Bytes()) {
		w.t.Errorf("JSON: %v: %s", err, raw.Bytes())
	}
	for _, hidden := range []string{token, secret, "doctor-verify", "0123456789abcdef", display, "15552242922"} {
		if strings.Contains(text.String()+raw.String(), hidden) {
			w.t.Errorf("the report has %q", hidden)
		}
	}
	return r, w.names.Replace(text.String())
}

// set changes the account at Meta.
func (w *world) set(change func(*graphsim.Account)) {
	w.t.Helper()
	a := graphsim.Account{Numbers: []graphsim.Number{{ID: number, Display: display}}}
	a.Token.Value = token
	change(&a)
	if err := w.sim.SetAccount(a); err != nil {
		w.t.Fatal(err)
	}
}

// db returns the Redis of the world as programs open it.
func (w *world) db() *store.DB {
	w.t.Helper()
	db, err := store.Open(w.t.Context(), w.redis.URL())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { db.Close() })
	return db
}

func (w *world) records() *ledger.Ledger { return ledger.New(w.db(), ledger.Options{}) }

// waiting lets n tasks wait for a number.
func (w *world) waiting(n int, number string) {
	shard := message.DefaultShards.Of(number)
	w.redis.Client().SAdd(w.t.Context(), store.Key(shard, "work"), number)
	for i := range n {
		w.redis.Client().LPush(w.t.Context(), "asynq:{"+shard.String()+"}:"+number+":utility}:pending", fmt.Sprintf("m%d.1", i))
	}
}

// listed puts a message into a list of the ledger, with a time.
func (w *world) listed(list message.List, at time.Time) {
	w.redis.Client().ZAdd(w.t.Context(), store.Key(message.DefaultShards.Of(number), string(list)), redis.Z{Score: float64(at.UnixMilli()), Member: message.NewID(number, "")})
}

// kept stores what the event streams have, in place of a worker that measures them.
func (w *world) kept(k events.Kept) {
	w.t.Helper()
	w.stopWorker()
	w.redis.Client().ZAdd(w.t.Context(), "sluice:{s00}:readers", redis.Z{Score: float64(ago(-time.Hour).UnixMilli()), Member: "another"})
	k.At, k.Budget, k.Retention = time.Now(), 128<<20, 24*time.Hour
	text, err := json.Marshal(k)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := w.redis.Client().Set(w.t.Context(), events.KeptKey(), text, 0).Err(); err != nil {
		w.t.Fatal(err)
	}
}

// webhookCame stores when the last webhook came.
func (w *world) webhookCame(at time.Time) {
	err := events.New(w.db(), message.DefaultShards, events.Options{}).NoteReceived(w.t.Context(), map[message.Shard]message.LastReceived{5: {Any: at}})
	if err != nil {
		w.t.Fatal(err)
	}
}

const secretsKey = "doctor-secrets-key"

// relayTarget adds a relay target.
func (w *world) relayTarget(name, secret string) {
	w.t.Helper()
	targets := relay.NewTargets(w.db(), message.DefaultShards, secrets.New(secretsKey, ""))
	if _, err := targets.Set(w.t.Context(), message.RelayTarget{Name: name, URL: "https://crm.example.com/"}, secret); err != nil {
		w.t.Fatal(err)
	}
}

// relays lets a worker live that relays.
func (w *world) relays() {
	w.redis.Client().ZAdd(w.t.Context(), "sluice:{s00}:relay:workers", redis.Z{Score: float64(time.Now().Add(time.Minute).UnixMilli()), Member: "worker"})
}

// stored stores an entry of the directory.
func (w *world) stored(e directory.Entry) {
	w.t.Helper()
	store := directory.NewStore(directory.StoreOptions{DB: w.db(), File: directory.File{Numbers: []config.Number{{ID: number}}}})
	if _, err := store.Put(w.t.Context(), e, nil, directory.Change{Actor: "anna", Reason: "new"}); err != nil {
		w.t.Fatal(err)
	}
}

func ago(d time.Duration) time.Time { return time.Now().Add(-d) }

// removed is a number that is not configured.
const removed = "106540352242999"

// setups are what may be wrong with an installation, and what is found then.
var setups = []struct {
	title string
	wrong func(*world)
	finds []string // "verdict check", in order: all that is not ok
	shown bool     // on the page
}{
	{"A healthy installation", func(*world) {}, nil, true},
	{
		"Redis forgets", func(w *world) { w.redisSet("appendonly", "no"); w.redisSet("maxmemory-policy", "allkeys-lru") },
		[]string{"fail redis maxmemory-policy", "fail redis appendonly"},
		true,
	},
	{
		"The token has expired", func(w *world) { w.set(func(a *graphsim.Account) { a.Token.ExpiresIn = graphsim.Duration(-time.Hour) }) },
		[]string{"fail token"},
		true,
	},
	{"The token lacks a permission", func(w *world) {
		w.set(func(a *graphsim.Account) { a.Token.Scopes = []string{"whatsapp_business_messaging"} })
	}, []string{"fail token scopes", "fail account"}, true},
	{"The number is restricted", func(w *world) {
		w.set(func(a *graphsim.Account) { a.Numbers[0].Status, a.Numbers[0].Quality = "RESTRICTED", "RED" })
	}, []string{"fail number status", "fail number health", "warn number quality"}, true},
	{
		"The account does not send its webhooks to the app", func(w *world) { w.set(func(a *graphsim.Account) { a.App.Unsubscribed = true }) },
		[]string{"fail account"},
		true,
	},
	{
		"The configured app secret belongs to another app", func(w *world) { w.env["APP_SECRET"] = "of-another-app" },
		[]string{"fail app", "fail webhook signed"},
		true,
	},
	{"The outbox cannot be read", func(w *world) {
		w.env["SLUICE_OUTBOX_DATABASE_URL"], w.env["SLUICE_OUTBOX_API_KEY"] = "postgres://sluice:canary@127.0.0.1:1/shop?sslmode=disable", "environment"
	}, []string{"fail outbox"}, true},
	{"The archive cannot be written", func(w *world) {
		w.env["SLUICE_ARCHIVE_DATABASE_URL"], w.env["SLUICE_SECRETS_KEY"] = "postgres://sluice:canary@127.0.0.1:1/archive?sslmode=disable", "a-key-for-secrets-in-redis"
	}, []string{"fail archive"}, true},
	{"Redis is full", func(w *world) { w.redisSet("maxmemory", "1mb") }, []string{"fail redis memory"}, true},
	{"No worker runs", func(w *world) { w.sends = false; w.stopWorker() }, []string{"fail workers", "fail status workers"}, true},
	{"A number is held", func(w *world) {
		w.waiting(2, number)
		_, err := holds.New(w.db(), message.DefaultShards, slog.New(slog.DiscardHandler)).Set(w.t.Context(), message.Hold{
			Number: number, Code: 190, Reason: "Access token has expired", By: holdpolicy.BySluice, Since: ago(3 * time.Hour),
		})
		if err != nil {
			w.t.Fatal(err)
		}
	}, []string{"fail hold"}, true},
	{
		"Messages wait for an operator", func(w *world) {
			w.listed(message.ListParked, ago(time.Minute))
			w.listed(message.ListDead, ago(time.Minute))
		},
		[]string{"fail messages parked", "fail dead letters"},
		true,
	},
	{"Webhooks never came", func(w *world) { w.listed(message.ListAwaiting, ago(2*time.Minute)) }, []string{"fail statuses"}, true},
	{"A number was taken out of the configuration", func(w *world) {
		w.waiting(3, removed)
	}, []string{"warn number not configured"}, true},
	{"Events are dropped before their time", func(w *world) { w.kept(events.Kept{Bytes: 130 << 20, Effective: 6*time.Hour + 10*time.Minute}) }, []string{"warn events"}, true},
	{"A relay target takes nothing", func(w *world) {
		w.relays()
		w.redis.Client().HSet(w.t.Context(), "sluice:relay:targets", "crm", `{"name":"crm","born":1}`)
		w.redis.Client().HSet(w.t.Context(), "sluice:{s03}:relay", "crm", fmt.Sprintf(`{"born":1,"failing":%d,"paused":true,"error":"status_500"}`, ago(3*time.Hour).UnixMilli()))
	}, []string{"fail relay target"}, true},
	{"No worker relays", func(w *world) {
		w.redis.Client().HSet(w.t.Context(), "sluice:relay:targets", "crm", `{"name":"crm","born":1}`)
		w.redis.Client().HSet(w.t.Context(), "sluice:{s03}:relay", "crm", `{"born":1}`)
		w.redis.Client().ZAdd(w.t.Context(), "sluice:{s00}:relay:workers", redis.Z{Score: float64(ago(time.Second).UnixMilli()), Member: "worker"})
	}, []string{"fail relay workers"}, true},
	{"A relay target is held", func(w *world) {
		w.relays()
		since := ago(3 * time.Hour).Format(time.RFC3339)
		w.redis.Client().HSet(w.t.Context(), "sluice:relay:targets", "crm", `{"name":"crm","born":1,"held_since":"`+since+`","held_by":"ann","held_reason":"the CRM moves"}`)
	}, []string{"fail relay target"}, true},
	{"The secrets key is missing", func(w *world) {
		w.relayTarget("crm", "a-secret-of-the-target")
	}, []string{"fail relay target"}, true},
	{"The clocks differ", func(w *world) { w.off = 5 * time.Minute }, []string{"fail clock of Meta"}, true},
	{
		"The configuration is not finished", func(w *world) { delete(w.env, "SLUICE_MARKER_KEY"); delete(w.env, "ACCESS_TOKEN") },
		[]string{"fail configuration", "fail configuration"},
		true,
	},

	{"events use most of their memory", func(w *world) { w.kept(events.Kept{Bytes: 100 << 20, Effective: 24 * time.Hour}) }, []string{"warn events"}, false},
	{"events have more memory than fits", func(w *world) { w.env["SLUICE_EVENTS_MEMORY"] = "257MiB" }, []string{"fail events"}, false},
	{"events and messages do not fit together", func(w *world) {
		w.redisSet("maxmemory", "128mb")
		w.env["SLUICE_EVENTS_MEMORY"] = "64MiB"
		for i := range 8 * 24 { // one value of 24 MiB would be in Redis's buffers too
			w.redis.Client().Set(w.t.Context(), fmt.Sprint("messages", i), strings.Repeat("x", 128<<10), 0)
		}
	}, []string{"warn events memory"}, false},
	{"a relay target with its key", func(w *world) {
		w.relayTarget("crm", "a-secret-of-the-target")
		w.env["SLUICE_SECRETS_KEY"] = secretsKey
	}, nil, false},
	{"events were given up for a relay target", func(w *world) {
		w.relayTarget("crm", "")
		w.redis.Client().XAdd(w.t.Context(), &redis.XAddArgs{Stream: "sluice:{s03}:relay:dead:crm", Values: []string{"event", "{}"}})
	}, []string{"warn relay dead letters"}, false},
	{"no worker begins to relay to a target", func(w *world) {
		w.relays()
		w.redis.Client().HSet(w.t.Context(), "sluice:relay:targets", "crm", `{"name":"crm","born":1}`)
	}, []string{"fail relay target"}, false},
	{"a message was accepted a moment ago", func(w *world) { w.listed(message.ListAwaiting, ago(time.Second)) }, nil, false},
	{
		"webhooks come no more", func(w *world) {
			w.listed(message.ListAwaiting, ago(20*time.Minute))
			w.webhookCame(ago(30 * time.Minute))
		},
		[]string{"fail statuses"},
		false,
	},
	{
		"a status does not come", func(w *world) { w.listed(message.ListAwaiting, ago(20*time.Minute)); w.webhookCame(ago(time.Minute)) },
		[]string{"warn statuses"},
		false,
	},
	{"Redis does not answer", func(w *world) { w.env["SLUICE_REDIS_URL"] = "redis://:pass-word@127.0.0.1:1" }, []string{"fail redis"}, false},
	{"relaxed", func(w *world) { w.env["SLUICE_REDIS_DURABILITY"] = "relaxed" }, []string{"warn redis durability"}, false},
	{"a person's token, soon over", func(w *world) {
		w.set(func(a *graphsim.Account) { a.Token.Type, a.Token.ExpiresIn = "USER", graphsim.Duration(72*time.Hour) })
	}, []string{"warn token type", "warn token expiry"}, false},
	{"a token for accounts of others too", func(w *world) {
		w.set(func(a *graphsim.Account) { a.Token.Targets = []string{"102290129340397", "102290129340398"} })
	}, nil, false},
	{"another token", func(w *world) { w.env["ACCESS_TOKEN"] = "not-" + token }, []string{"fail token"}, false},
	{"a number's smaller problems", func(w *world) {
		w.set(func(a *graphsim.Account) {
			n := &a.Numbers[0]
			n.Status, n.Quality, n.NameStatus, n.Mode, n.OnBizApp = "FLAGGED", "YELLOW", "DECLINED", "SANDBOX", true
		})
	}, []string{"warn number status", "warn number quality", "warn number name", "warn number mode", "warn number throughput"}, false},
	{
		"not on the Cloud API", func(w *world) { w.set(func(a *graphsim.Account) { a.Numbers[0].Platform = "ON_PREMISE" }) },
		[]string{"fail number status", "fail number health"},
		false,
	},
	{"the messages of the number go elsewhere", func(w *world) {
		w.set(func(a *graphsim.Account) { a.Numbers[0].Callback = "https://other.example.com/hook?secret=canary" })
	}, []string{"warn number callback"}, false},
	{"a new portfolio", func(w *world) { w.set(func(a *graphsim.Account) { a.Tier = "TIER_250" }) }, []string{"warn number messaging limit"}, false},
	{"a version that ended", func(w *world) { w.env["GRAPH_API_VERSION"] = "v20.0" }, []string{"warn Graph version"}, false},
	{"no such number", func(w *world) { w.set(func(a *graphsim.Account) { a.Numbers[0].ID = "1" }) }, []string{"fail number"}, false},
	{"the app is not subscribed to messages", func(w *world) { w.set(func(a *graphsim.Account) { a.App.Fields = []string{"security"} }) }, []string{"fail app fields"}, false},
	{"The app does not get all webhooks", func(w *world) {
		w.set(func(a *graphsim.Account) {
			a.App.Fields = []string{"messages", "account_update", "message_template_status_update", "message_template_quality_update", "message_template_components_update", "template_category_update"}
		})
	}, []string{"warn app fields"}, true},
	{"An API key expires soon", func(w *world) {
		w.stored(directory.APIKey{Name: "shop", SHA256: strings.Repeat("ab", 32), Numbers: []string{number}, Scopes: []string{"messages:send"}, Expires: time.Now().Add(10*24*time.Hour + time.Hour).UTC().Truncate(time.Second)})
	}, []string{"warn API key"}, true},
	{"Meta does not send some templates, or will archive them", func(w *world) {
		w.stopWorker() // or it would read the templates of the simulator
		db := w.redis.Client()
		db.HSet(w.t.Context(), "sluice:templates:syncs", "102290129340398", `{"synced":1}`)
		db.HSet(w.t.Context(), "sluice:accounts", number, "102290129340398")
		for name, status := range map[string]string{"news": "APPROVED", "sale_1": "PAUSED", "sale_2": "ARCHIVED", "order": "APPROVED", "welcome": "APPROVED"} {
			at := ago(340 * 24 * time.Hour)
			if name == "news" {
				at = time.Now()
			}
			db.HSet(w.t.Context(), "sluice:templates:of:102290129340398", name, fmt.Sprintf(`{"n":%q,"l":"en_US","s":%q,"a":%d}`, name, status, at.UnixMilli()))
		}
		db.HSet(w.t.Context(), "sluice:templates:sent:"+number, "order/en_US", ago(24*time.Hour).Unix()/86400, "welcome/en_US", ago(340*24*time.Hour).Unix()/86400)
		db.HSet(w.t.Context(), "sluice:templates:revisions", "102290129340398", 1)
		db.Incr(w.t.Context(), "sluice:templates:revision")
		db.ZAdd(w.t.Context(), "sluice:{s00}:readers", redis.Z{Score: float64(ago(-time.Hour).UnixMilli()), Member: "another"})
	}, []string{"warn templates", "warn templates", "warn templates"}, true},
	{"a stored number without a token", func(w *world) { w.stored(directory.Number{PhoneNumberID: removed}) }, []string{"fail token"}, false},
	{"another verify token", func(w *world) { w.env["VERIFY_TOKEN"] = "verify-token-of-another" }, []string{"fail webhook handshake"}, false},
	{
		"another program accepts all", func(w *world) { w.front = func(http.ResponseWriter, *http.Request) {} },
		[]string{"fail webhook handshake", "fail webhook forged"},
		false,
	},
	{
		"no webhook behind the URL", func(w *world) { w.front = http.NotFound },
		[]string{"fail webhook handshake", "fail webhook signed", "fail webhook forged"},
		false,
	},
	{"the URL names no app", func(w *world) { w.url += "er" }, []string{"warn app", "fail webhook"}, false},
	{"no webhook URL", func(w *world) { w.url = "" }, []string{"warn webhook"}, false},
	{"Meta does not answer", func(w *world) { w.env["GRAPH_BASE_URL"] = "http://127.0.0.1:1" }, []string{"fail Graph API"}, false},
}

func (w *world) redisSet(name, value string) {
	w.t.Helper()
	if err := w.redis.Client().ConfigSet(w.t.Context(), name, value).Err(); err != nil {
		w.t.Fatal(err)
	}
}

const pageHead = `# sluice doctor

<!-- Made from checks of real installations by: make docs -->

` + "`bin/sluice doctor --webhook-url https://<your host>/webhooks/whatsapp/main`" + ` checks a whole installation, from the configuration to the
webhooks from Meta. It prints one line per check: what is wrong, and how to fix it. It reads the same configuration as the programs
([configuration.md](configuration.md)). It sends no message, and changes nothing without ` + "`--fix`" + `. ` + "`main`" + ` in the URL is the name of the app under ` + "`apps`" + `. With
` + "`--webhook-url`" + ` it sends the webhook a handshake, a signed request without events, and a forged request.

| exit code | meaning |
| --- | --- |
| 0 | no check failed; there can be warnings. A check that ` + "`--fix`" + ` corrected did not fail |
| 1 | a check failed, or the command could not run; standard error says which |
| 80 | an argument is wrong |

Full Redis memory, a missing worker, a hold, a parked message, a dead letter, missing webhooks, an outbox that cannot be read, an archive that cannot be written
and a relay target that gets nothing are failed checks too.
` + "`warn`" + ` marks what works now and may fail later. ` + "`--json`" + ` prints the same for scripts. The output contains no secret and no
phone number. Doctor skips a check that depends on a failed one: fix the failed one and run the command again.

` + "`--fix`" + ` corrects at Meta what can be corrected safely: it subscribes the app to an account that does not send it webhooks, and to the webhook
fields that Sluice uses. It asks nothing, and each line says what was done. ` + "`--dry-run`" + ` says what ` + "`--fix`" + ` would do, and changes nothing.

Doctor checks the numbers, apps and API keys of the configuration file and those that operators stored ([clients.md](clients.md)). Give it the secrets key, or it cannot use stored
access tokens. It makes one request to Meta for each number, and one more for each of their access tokens, accounts and apps: about 600 for 200 accounts with one number and
one access token each, or 400 if they share an access token. It checks up to 500 numbers; ` + "`--phone-number-id`" + ` selects some. It reads templates from Redis, and asks Meta for none.

Three things it cannot check. Meta does not say when a template was last used: doctor knows the messages that Sluice sent, since it first read the template. The Graph API shows the mode (development or live) of a number, but not of an app. The signed test request goes to
the URL that you give; if Meta has another URL, doctor prints "Meta sends to another URL than --webhook-url".

Below is the output for a healthy installation, and then for broken ones. For the broken ones the lines with ` + "`ok`" + ` are left out.
`

// withoutOK finds the lines that the page leaves out of a broken installation.
var withoutOK = regexp.MustCompile(`(?m)^ok .*\n`)

// TestDoctorPage: the checks of each broken installation fail, and no others, and docs/doctor.md shows what is
// printed.
func TestDoctorPage(t *testing.T) {
	redis := redistest.Start(t)
	memory := redis.Client().ConfigGet(t.Context(), "maxmemory").Val()["maxmemory"]
	var page strings.Builder
	page.WriteString(pageHead)
	for _, s := range setups {
		t.Run(s.title, func(t *testing.T) {
			w := setup(t, redis)
			s.wrong(w)
			defer func() {
				w.redisSet("appendonly", "yes")
				w.redisSet("maxmemory-policy", "noeviction")
				w.redisSet("maxmemory", memory)
			}()
			report, text := w.examine()
			var finds []string
			failed := false
			for _, f := range report {
				if (f.Verdict == doctor.OK) != (f.Fix == "") {
					t.Errorf("%+v: what is not ok has a fix, and nothing else", f)
				}
				if f.Verdict != doctor.OK {
					finds = append(finds, string(f.Verdict)+" "+f.Check)
				}
				failed = failed || f.Verdict == doctor.Fail
			}
			if got, want := strings.Join(finds, ", "), strings.Join(s.finds, ", "); got != want {
				t.Errorf("found %s, want %s:\n%s", got, want, text)
			}
			if report.Failed() != failed {
				t.Errorf("Failed is %t", report.Failed())
			}
			if s.shown {
				if s.finds != nil {
					text = withoutOK.ReplaceAllString(text, "")
				}
				fmt.Fprintf(&page, "\n## %s\n\n```\n%s```\n", s.title, text)
			}
		})
	}
	if !t.Failed() {
		golden.File(t, filepath.Join("..", "..", "docs", "doctor.md"), []byte(page.String()))
	}
}

// TestFix: --fix subscribes the app to the account and to the fields, and a dry run only says so.
func TestFix(t *testing.T) {
	w := setup(t, redistest.Start(t))
	w.set(func(a *graphsim.Account) { a.App.Unsubscribed, a.App.Fields = true, []string{"security"} })
	check := func(name string, fix, dryRun bool, verdict doctor.Verdict, fixed string) {
		t.Helper()
		w.options.Fix, w.options.DryRun = fix, dryRun
		report, text := w.examine()
		found := 0
		for _, f := range report {
			if f.Check == "account" || f.Check == "app fields" {
				found++
				if f.Verdict != verdict || !strings.HasPrefix(f.Fixed, fixed) || (fixed == "") != (f.Fixed == "") {
					t.Errorf("%s: %+v", name, f)
				}
			}
		}
		if found != 2 {
			t.Errorf("%s: %s", name, text)
		}
	}
	check("without --fix", false, false, doctor.Fail, "")
	check("a dry run", true, true, doctor.Fail, "would subscribe the app to ")
	check("it changed nothing", false, false, doctor.Fail, "")
	check("--fix", true, false, doctor.OK, "done: subscribe the app to ")
	check("afterwards", true, false, doctor.OK, "")
}
