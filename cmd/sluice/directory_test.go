package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"sluice/internal/config"
	"sluice/internal/directory"
)

// TestDirectoryCommands: what the commands about numbers, apps, API keys and clients ask for, and what they print.
func TestDirectoryCommands(t *testing.T) {
	const number, stored = "106540352242922", `{"revision":4}`
	secret := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("the-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	replies := filepath.Join(t.TempDir(), "auto-reply.yaml")
	if err := os.WriteFile(replies, []byte("api_key: bot\nrules: [{words: [price], text: 10 EUR}]\nhook: {url: https://bot.example.com/}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	why := []string{"--reason", "new", "--actor", "anna"}
	const who = `"reason":"new"`
	entry := `{"phone_number_id":"` + number + `","client":"acme","rate_limit":80,"source":"stored","revision":9007199254740993}`
	for name, tt := range map[string]struct {
		args    []string
		answers []string
		asks    []string
		prints  []string
	}{
		"list": {
			[]string{"numbers", "list"},
			[]string{`{"numbers":[` + entry + `,{"phone_number_id":"7","source":"file","leaving":"move","leaving_to":"8","messages_left":37,"secrets":{"access_token":{"fingerprint":"0a1b2c3d","set_at":"2026-01-31T15:04:05Z"}}}]}`},
			[]string{"GET /v1/numbers "},
			[]string{"stored, revision 9007199254740993", "as Meta says", "access_token 0a1b2c3d", "move to 8, 37 left"},
		},
		"list other settings": {
			[]string{"numbers", "list"},
			[]string{`{"numbers":[{"phone_number_id":"7","shared_with":["a","b"],"unknown_types":"refuse","other_app_conversations":"wait","customer_service_window":"refuse","messaging_account_id":"222","marketing_messages":"strict","message_activity_sharing":false,` +
				`"graph_version":"v26.0","graph_version_canary":{"version":"v27.0","share":5},"token_file":"/t","classes":{"marketing":{"deadline":"24h","portfolio_limit":"wait"}},"template_classes":[{"name":"otp_*","class":"authentication"}]}]}`},
			[]string{"GET /v1/numbers "},
			[]string{"shared_with=a,b unknown_types=refuse other_app_conversations=wait customer_service_window=refuse messaging_account_id=222 marketing_messages=strict message_activity_sharing=false graph_version=v26.0 graph_version_canary=v27.0=5 " +
				"token_file=/t classes.marketing.deadline=24h classes.marketing.portfolio_limit=wait template_classes.otp_*=authentication"},
		},
		"add": {
			append([]string{"numbers", "add", number, "--client", "acme", "--access-token-file", secret}, why...),
			[]string{stored},
			[]string{`POST /v1/numbers {"access_token":"the-secret","actor":"anna","client":"acme","phone_number_id":"` + number + `",` + who + `}`},
			[]string{"Stored as revision 4."},
		},
		"set": {
			append([]string{"numbers", "set", number, "--rate-limit", "20", "--client", ""}, why...),
			[]string{`{"numbers":[` + entry + `]}`, stored},
			[]string{"GET /v1/numbers?phone_number_id=" + number + " ", `POST /v1/numbers {"actor":"anna","client":null,"phone_number_id":"` + number + `","rate_limit":20,` + who + `,"revision":9007199254740993,"source":"stored"}`},
			[]string{"Stored as revision 4."},
		},
		"set the route": {
			append([]string{"numbers", "set", number, "--marketing-messages", "strict", "--message-activity-sharing", "false", "--graph-version", "", "--graph-version-canary", "v27.0=5"}, why...),
			[]string{`{"numbers":[{"phone_number_id":"` + number + `"}]}`, stored},
			[]string{"GET /v1/numbers?phone_number_id=" + number + " ", `POST /v1/numbers {"actor":"anna","graph_version":null,"graph_version_canary":{"version":"v27.0","share":5},"marketing_messages":"strict","message_activity_sharing":false,"phone_number_id":"` + number + `",` + who + `}`},
			nil,
		},
		"set automatic replies": {
			append([]string{"numbers", "set", number, "--auto-reply", replies, "--auto-reply-hook-secret-file", secret}, why...),
			[]string{`{"numbers":[{"phone_number_id":"` + number + `"}]}`, stored},
			[]string{"GET /v1/numbers?phone_number_id=" + number + " ", `POST /v1/numbers {"actor":"anna","auto_reply":{"api_key":"bot","rules":[{"words":["price"],"text":"10 EUR"}],"hook":{"url":"https://bot.example.com/"}},"auto_reply_hook_secret":"the-secret","phone_number_id":"` + number + `",` + who + `}`},
			nil,
		},
		"set quiet hours and frequency caps": {
			append([]string{"clients", "set", "shop", "--quiet-hours", "21:00-08:00", "--quiet-hours", "00:00-00:00 days=sat,sun classes=marketing,utility campaigns=spring time_zone=Europe/Berlin", "--frequency-cap", "2 within=24h classes=marketing,utility"}, why...),
			[]string{`{"clients":[{"name":"shop"}]}`, stored},
			[]string{"GET /v1/clients?name=shop ", `POST /v1/clients {"actor":"anna","frequency_caps":[{"messages":2,"within":"24h","classes":["marketing","utility"]}],"name":"shop","quiet_hours":[{"from":"21:00","to":"08:00"},{"from":"00:00","to":"00:00","days":["sat","sun"],"classes":["marketing","utility"],"campaigns":["spring"],"time_zone":"Europe/Berlin"}],` + who + `}`},
			nil,
		},
		"rotate a token": {
			append([]string{"numbers", "rotate", number, "--access-token-file", secret}, why...),
			[]string{stored},
			[]string{"POST /v1/numbers/" + number + `/rotate {"access_token":"the-secret","actor":"anna",` + who + `}`},
			nil,
		},
		"drain": {
			append([]string{"numbers", "remove", number, "--backlog", "drain"}, why...),
			[]string{`{"removed":false}`},
			[]string{"POST /v1/numbers/" + number + `/remove {"actor":"anna","backlog":"drain",` + who + `}`},
			[]string{"Workers remove it when its last message is final."},
		},
		"move": {
			append([]string{"numbers", "remove", number, "--backlog", "move", "--to", "8"}, why...),
			[]string{`{"removed":false}`},
			[]string{"POST /v1/numbers/" + number + `/remove {"actor":"anna","backlog":"move",` + who + `,"to":"8"}`},
			nil,
		},
		"accounts": {[]string{"accounts", "list"}, []string{`{"accounts":[{"waba_id":"11","phone_number_ids":["1","2"]}]}`}, []string{"GET /v1/accounts "}, []string{"11", "1, 2"}},
		"add an app": {
			append([]string{"apps", "add", "main", "--secret-file", secret, "--verify-token-file", secret}, why...),
			[]string{stored},
			[]string{`POST /v1/apps {"actor":"anna","name":"main",` + who + `,"secret":"the-secret","verify_token":"the-secret"}`},
			nil,
		},
		"rotate an app secret": {
			append([]string{"apps", "rotate", "main", "--secret-file", secret, "--previous-for", "48h"}, why...),
			[]string{stored},
			[]string{`POST /v1/apps/main/rotate {"actor":"anna","previous_for":"48h",` + who + `,"secret":"the-secret"}`},
			nil,
		},
		"list apps": {[]string{"apps", "list"}, []string{`{"apps":[{"name":"main","source":"file"}]}`}, []string{"GET /v1/apps "}, []string{"main  file"}},
		"add a key": {
			append([]string{"keys", "add", "shop", "--phone-number-id", number, "--scope", "messages:send", "--scope", "messages:read", "--expires", "2027-01-31T00:00:00Z"}, why...),
			[]string{`{"revision":4,"key":"sk_made"}`},
			[]string{`POST /v1/api-keys {"actor":"anna","expires":"2027-01-31T00:00:00Z","name":"shop","phone_number_ids":["` + number + `"],` + who + `,"scopes":["messages:send","messages:read"]}`},
			[]string{"key:  sk_made", "cannot be read again"},
		},
		"revoke a key": {
			append([]string{"keys", "set", "shop", "--revoked"}, why...),
			[]string{`{"api_keys":[{"name":"shop","sha256":"ab","revision":2}]}`, stored},
			[]string{"GET /v1/api-keys?name=shop ", `POST /v1/api-keys {"actor":"anna","name":"shop",` + who + `,"revision":2,"revoked":true,"sha256":"ab"}`},
			nil,
		},
		"rotate a key": {
			append([]string{"keys", "rotate", "shop"}, why...),
			[]string{`{"revision":5,"key":"sk_next"}`},
			[]string{`POST /v1/api-keys/shop/rotate {"actor":"anna",` + who + `}`},
			[]string{"sk_next"},
		},
		"list keys":       {[]string{"keys", "list"}, []string{`{"api_keys":[{"name":"shop","sha256":"abcdefabcdef","scopes":["admin"],"revoked":true,"last_used":"2026-01-15T12:00:00Z"}]}`}, []string{"GET /v1/api-keys "}, []string{"abcdefab ", "revoked", "2026-01-15"}},
		"remove a key":    {append([]string{"keys", "remove", "shop"}, why...), []string{`{"removed":true}`}, []string{`POST /v1/api-keys/shop/remove {"actor":"anna",` + who + `}`}, []string{"Removed."}},
		"add a client":    {append([]string{"clients", "add", "acme", "--note", "4711"}, why...), []string{stored}, []string{`POST /v1/clients {"actor":"anna","name":"acme","note":"4711",` + who + `}`}, nil},
		"remove a client": {append([]string{"clients", "remove", "acme"}, why...), []string{`{"removed":true}`}, []string{`POST /v1/clients/acme/remove {"actor":"anna",` + who + `}`}, nil},
		"list clients":    {[]string{"clients", "list", "--json"}, []string{`{"clients":[]}`}, []string{"GET /v1/clients "}, []string{`{"clients":[]}`}},
		"quotas": {
			[]string{"usage", "--quotas", "--client", "acme"},
			[]string{`{"quotas":[{"client":"acme","quota":"marketing.per_day","limit":5000,"used":4999,"refused":17,"until":"2026-02-01T00:00:00Z"}]}`},
			[]string{"GET /v1/quotas?client=acme "},
			[]string{"marketing.per_day", "4999", "5000", "17", "2026-0"},
		},
		"export": {[]string{"directory", "export"}, []string{`{"document":"clients:\n  - {name: acme}\n"}`}, []string{"GET /v1/directory/export "}, []string{"clients:\n  - {name: acme}\n"}},
		"import": {
			append([]string{"directory", "import", secret}, why...),
			[]string{`{"added":["client acme"],"unchanged":["app main"]}`},
			[]string{`POST /v1/directory/import {"actor":"anna","document":"the-secret\n",` + who + `}`},
			[]string{"added      client acme", "unchanged  app main"},
		},
		"reencrypt": {append([]string{"directory", "reencrypt"}, why...), []string{`{"secrets":5}`}, []string{`POST /v1/directory/reencrypt {"actor":"anna",` + who + `}`}, []string{"All 5 stored secrets"}},
	} {
		t.Run(name, func(t *testing.T) {
			asked, printed, code := sluice(t, tt.args, tt.answers...)
			if code != 0 || !slices.Equal(asked, tt.asks) {
				t.Errorf("asked %q, want %q; exit code %d", asked, tt.asks, code)
			}
			for _, want := range tt.prints {
				if !strings.Contains(printed, want) {
					t.Errorf("printed\n%s\nwithout %q", printed, want)
				}
			}
		})
	}
	if asked, _, code := sluice(t, append([]string{"clients", "set", "nosuch"}, why...), `{"clients":[]}`); code != 1 || len(asked) != 1 {
		t.Errorf("a change of what is not there: exit code %d, asked %q", code, asked)
	}
	if asked, _, code := sluice(t, []string{"usage", "--quotas", "--from", "2026-01-01"}, `{}`); code != 1 || len(asked) != 0 {
		t.Errorf("quotas of the past: exit code %d, asked %q", code, asked)
	}
	if asked, _, code := sluice(t, append([]string{"numbers", "rotate", number, "--access-token-file", os.DevNull}, why...), stored); code != 1 || len(asked) != 0 {
		t.Errorf("an empty secret: exit code %d, asked %q", code, asked)
	}
}

// TestDefaultsAreNoOtherSettings: sluice numbers list shows no setting that is its default.
func TestDefaultsAreNoOtherSettings(t *testing.T) {
	n := directory.Number{PhoneNumberID: "7", Client: "acme", UnknownTypes: "pass", OtherApp: "refuse", Window: config.WindowOff, Marketing: config.MarketingOff, Classes: map[string]directory.Class{"service": {PortfolioLimit: "refuse"}}}
	if got := otherSettings(n); got != "" {
		t.Errorf("other settings: %q", got)
	}
}
