package config

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestParseEntries: entries to store pass the checks of the configuration file, and may name no file that depends on where it is.
func TestParseEntries(t *testing.T) {
	t.Parallel()
	e, mistakes := ParseEntries("", []byte(`{"numbers": [{"phone_number_id": "7", "token_file": "/token", "client": "shop", "classes": {"utility": {"deadline": "90s"}}}],
"apps": [{"name": "main"}], "clients": [{"name": "shop", "note": "a note"}]}`), nil)
	if len(mistakes) > 0 || len(e.Numbers) != 1 || len(e.Apps) != 1 || len(e.Clients) != 1 {
		t.Fatalf("%+v, %v", e, mistakes)
	}
	if n := e.Numbers[0]; !n.Learn || n.Rate != DefaultRate || n.TokenFile != "/token" || n.Client != "shop" || n.Classes["utility"].Deadline != 90*time.Second {
		t.Errorf("%+v", n)
	}
	for text, want := range map[string]string{
		`numbers: [{phone_number_id: "7", token_file: token}]`: "x:1: numbers[0].token_file: is not an absolute path: give the path that all workers can read, or set the access token itself",
		`apps: [{name: main, secret_file: /secret}]`:           "x:1: apps[0].secret_file: a stored entry has no files: remove the key, and set the secret itself",
		`canary: []`:                                     "x:1: canary: unknown key; valid keys: api_keys, apps, clients, numbers",
		`clients: [{name: a, weight: 1001}]`:             `x:1: clients[0].weight: "1001" is not a whole number from 1 to 1000`,
		`clients: [{name: a, campaign_weights: {b: 0}}]`: `x:1: clients[0].campaign_weights.b: "0" is not a whole number from 1 to 1000`,
		"clients: [{name: a, campaign_weights: {" + strings.Repeat("b", 65) + ": 1}}]":                                "x:1: clients[0].campaign_weights: the name of a campaign has 1 to 64 characters, \"" + strings.Repeat("b", 65) + "\" has 65",
		`clients: [{name: a, quotas: {per_day: -1}}]`:                                                                 `x:1: clients[0].quotas.per_day: "-1" is not a whole number from 1 to 1000000000`,
		`clients: [{name: a, suppress: [utility]}]`:                                                                   "x:1: clients[0].suppress: lacks marketing: add it",
		`numbers: [{phone_number_id: "7", suppress: [marketing, authentication]}]`:                                    `x:1: numbers[0].suppress[1]: "authentication" is none of marketing, utility`,
		`clients: [{name: a, quiet_hours: [{from: "21:00"}]}]`:                                                        "x:1: clients[0].quiet_hours[0].to: is missing",
		`clients: [{name: a, quiet_hours: [{from: "24:00", to: "08:00"}]}]`:                                           "x:1: clients[0].quiet_hours[0].from: \"24:00\" is not a time of the day like 21:00",
		`clients: [{name: a, quiet_hours: [{from: "21:00", to: "08:00", classes: [authentication]}]}]`:                `x:1: clients[0].quiet_hours[0].classes[0]: "authentication" is none of marketing, utility, service`,
		`clients: [{name: a, quiet_hours: [{from: "21:00", to: "08:00", days: [sun, sun]}]}]`:                         "x:1: clients[0].quiet_hours[0].days[1]: sun is in the list twice: remove one",
		`numbers: [{phone_number_id: "7", auto_reply: {api_key: bot}}]`:                                               `x:1: numbers[0].auto_reply: has nothing to answer: give it rules, hook, away or welcome, or leave it out`,
		`numbers: [{phone_number_id: "7", auto_reply: {welcome: hi}}]`:                                                `x:1: numbers[0].auto_reply.api_key: is missing`,
		`numbers: [{phone_number_id: "7", auto_reply: {api_key: bot, rules: [{words: ["?"], text: hi}]}}]`:            `x:1: numbers[0].auto_reply.rules[0].words[0]: has neither a letter nor a digit, so no message would match it`,
		`numbers: [{phone_number_id: "7", auto_reply: {api_key: bot, hook: {url: "ftp://x"}}}]`:                       `x:1: numbers[0].auto_reply.hook.url: is not a URL like https://bot.example.com/answer without a user`,
		`numbers: [{phone_number_id: "7", auto_reply: {api_key: bot, hook: {url: "https://x", secret_file: /s}}}]`:    `x:1: numbers[0].auto_reply.hook.secret_file: a stored entry has no files: remove the key, and set the secret itself`,
		`numbers: [{phone_number_id: "7", auto_reply: {api_key: bot, away: {text: hi, from: "18:00", to: "09:00"}}}]`: `x:1: numbers[0].auto_reply.away.time_zone: is missing`,
		`numbers: [{phone_number_id: "7", quiet_hours: [{from: "21:00", to: "08:00", time_zone: Europe/Bonn}]}]`:      `x:1: numbers[0].quiet_hours[0].time_zone: "Europe/Bonn" is not the name of a time zone like Europe/Berlin or UTC`,
		`clients: [{name: a, frequency_caps: [{messages: 0, within: 24h}]}]`:                                          `x:1: clients[0].frequency_caps[0].messages: "0" is not a whole number from 1 to 1000`,
		`clients: [{name: a, frequency_caps: [{messages: 1, within: 1m}]}]`:                                           `x:1: clients[0].frequency_caps[0].within: "1m" is not a time from 1h0m0s to 720h0m0s, like 90s, 15m or 24h`,
		`clients: [{name: a}, {name: a}]`:                                                                             "x:1: clients[1].name: client a is in the list twice: remove one",
		`numbers: [{phone_number_id: "7", classes: {authentication: {in_doubt_window: 5s}}}]`:                         "in_doubt_window of class authentication of number 7: is 5s and in_doubt_policy is resend: the first request may still be running then. Set in_doubt_window to 30s or more, or in_doubt_policy to park",
		`[]`: "x:1: must be a mapping with the keys api_keys, apps, clients, numbers",
		``:   "x: is empty",
	} {
		if _, mistakes := ParseEntries("x", []byte(text), nil); len(mistakes) != 1 || mistakes[0].Error() != want {
			t.Errorf("%s: %v, want %s", text, mistakes, want)
		}
	}
}

// TestGraphVersions: a number has its own version or that of all, and a canary is for its share of the messages, whole messages only.
func TestGraphVersions(t *testing.T) {
	t.Parallel()
	e, mistakes := ParseEntries("", []byte(`{"numbers": [{"phone_number_id": "7", "marketing_messages": "strict", "message_activity_sharing": false,
"graph_version": "v24.0", "graph_version_canary": {"version": "v27.0", "share": 5}}, {"phone_number_id": "8", "graph_version_canary": {"version": "v25.0", "share": 100}}]}`), nil)
	if len(mistakes) > 0 || len(e.Numbers) != 2 {
		t.Fatalf("%+v, %v", e, mistakes)
	}
	n := e.Numbers[0]
	if n.Marketing != MarketingStrict || n.Sharing == nil || *n.Sharing || n.Versions != (GraphVersions{"v24.0", "v27.0", 5}) {
		t.Errorf("%+v", n)
	}
	for want, got := range map[string][]string{
		"[v24.0 v27.0]": n.Versions.All("v25.0"), "[v25.0]": e.Numbers[1].Versions.All("v25.0"), "[v26.0]": GraphVersions{}.All("v26.0"),
	} {
		if fmt.Sprint(got) != want {
			t.Errorf("%v, want %s", got, want)
		}
	}
	if v := e.Numbers[1].Versions.Of("any", "v26.0"); v != "v25.0" {
		t.Errorf("of a canary for all messages: %s", v)
	}
	for text, want := range map[string]string{
		`numbers: [{phone_number_id: "7", marketing_messages: on}]`:                           `x:1: numbers[0].marketing_messages: "on" is none of off, fallback, strict`,
		`numbers: [{phone_number_id: "7", message_activity_sharing: yes}]`:                    `x:1: numbers[0].message_activity_sharing: "yes" is neither true nor false`,
		`numbers: [{phone_number_id: "7", graph_version: "27"}]`:                              `x:1: numbers[0].graph_version: "27" is not a version like v25.0`,
		`numbers: [{phone_number_id: "7", graph_version_canary: {version: v27.0, share: 0}}]`: `x:1: numbers[0].graph_version_canary.share: "0" is not a whole number from 1 to 100`,
		`numbers: [{phone_number_id: "7", graph_version_canary: {version: v27.0}}]`:           `x:1: numbers[0].graph_version_canary.share: is missing`,
	} {
		if _, mistakes := ParseEntries("x", []byte(text), nil); len(mistakes) != 1 || mistakes[0].Error() != want {
			t.Errorf("%s: %v, want %s", text, mistakes, want)
		}
	}
}
