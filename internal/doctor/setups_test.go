package doctor_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/directory"
	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/holdpolicy"
	"sluice/internal/holds"
	"sluice/internal/message"
)

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
	{"a number with a version that ended", func(w *world) {
		w.stored(directory.Number{PhoneNumberID: removed, GraphVersion: "v20.0"})
	}, []string{"warn Graph version", "fail token"}, false},
	{"no such number", func(w *world) { w.set(func(a *graphsim.Account) { a.Numbers[0].ID = "1" }) }, []string{"fail number"}, false},
	{"the app is not subscribed to messages", func(w *world) { w.set(func(a *graphsim.Account) { a.App.Fields = []string{"security"} }) }, []string{"fail app fields"}, false},
	{"a number tracks customer service windows, and the app does not get calls", func(w *world) {
		w.stored(directory.Number{PhoneNumberID: removed, Window: config.WindowRefuse})
		w.set(func(a *graphsim.Account) {
			for _, f := range cloudapi.Fields {
				a.App.Fields = append(a.App.Fields, f.Name)
			}
		})
	}, []string{"warn app fields", "fail token"}, false},
	{"The app does not get all webhooks", func(w *world) {
		w.set(func(a *graphsim.Account) {
			a.App.Fields = []string{"messages", "standby", "messaging_handovers", "user_preferences", "account_update", "business_capability_update", "message_template_status_update", "message_template_quality_update", "message_template_components_update", "template_category_update"}
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
	{"a number to check that is not there", func(w *world) { w.options.Numbers = []string{number, removed} }, []string{"fail number"}, false},
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
