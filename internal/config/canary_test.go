package config

import (
	"reflect"
	"strings"
	"testing"
	"time"
)

const withKey = "\napi_keys: [{name: k, sha256: " + aDigest + ", phone_number_ids: [\"*\"], scopes: [messages:send]}]\n"

func TestCanaries(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "phone", "+15551234568\n")
	args := []string{"--config", write(t, dir, "s.yaml", `
numbers: [{phone_number_id: "7"}, {phone_number_id: "8"}, {phone_number_id: "9"}]
canary:
  - {phone_number_id: "7", to: "+15551234567", template: hello_world/en_US}
  - {phone_number_id: "8", to_file: phone, text: Canary, every: 1m}
  - {phone_number_id: "9", to: "+15551234567", text: Canary, every: 2h, within: 1h}
`+withKey)}
	want := []Canary{
		{Number: "7", To: "+15551234567", Template: "hello_world/en_US", Every: 15 * time.Minute, Within: 5 * time.Minute},
		{Number: "8", To: "+15551234568", Text: "Canary", Every: time.Minute, Within: 30 * time.Second},
		{Number: "9", To: "+15551234567", Text: "Canary", Every: 2 * time.Hour, Within: time.Hour},
	}
	p, err := LoadProducer(args, env())
	same(t, err, p.Canaries, want)
	all, err := LoadCanaries(args, env())
	same(t, err, all, want)
	if w, err := LoadWebhook(args, env("APP_SECRET", "app", "VERIFY_TOKEN", "a-verify-token-1")); err != nil || reflect.DeepEqual(w, Webhook{}) {
		t.Errorf("the webhook program, which does not need the recipients: %v", err)
	}
}

func TestMistakesOfCanaries(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "phone", "15559876543")
	for name, tt := range map[string]struct{ canary, want string }{
		"no recipient":          {`{phone_number_id: "7", text: a}`, "s.yaml:1: canary[0]: needs either to or to_file"},
		"two recipients":        {`{phone_number_id: "7", text: a, to: "+15559876543", to_file: phone}`, "needs either to or to_file"},
		"nothing to send":       {`{phone_number_id: "7", to: "+15559876543"}`, "needs either template or text"},
		"two things to send":    {`{phone_number_id: "7", to: "+15559876543", text: a, template: b/en}`, "needs either template or text"},
		"no language":           {`{phone_number_id: "7", to: "+15559876543", template: hello}`, "is not a template as name/language"},
		"too often":             {`{phone_number_id: "7", to: "+15559876543", text: a, every: 59s}`, `canary[0].every: "59s" is not a time from 1m0s to 24h0m0s`},
		"as long as every":      {`{phone_number_id: "7", to: "+15559876543", text: a, every: 1m, within: 1m}`, "canary[0].within: is not shorter than every (1m0s)"},
		"two of a number":       {`{phone_number_id: "7", to: "+15559876543", text: a}, {phone_number_id: "7", to: "+15559876543", text: a}`, "canary[1].phone_number_id: the number has another canary"},
		"no plus":               {`{phone_number_id: "7", to: "15551234567", text: a}`, "canary[0].to: is not a phone number like"},
		"no plus in the file":   {`{phone_number_id: "7", to_file: phone, text: a}`, "to_file of the canary of number 7: is not a phone number like"},
		"a file that is absent": {`{phone_number_id: "7", to_file: gone, text: a}`, "to_file of the canary of number 7: open "},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := LoadProducer([]string{"--config", write(t, dir, "s.yaml", "canary: ["+tt.canary+"]\nnumbers: [{phone_number_id: \"7\"}]"+withKey)}, env())
			switch {
			case err == nil || !strings.Contains(err.Error(), tt.want):
				t.Errorf("error %v, want %q", err, tt.want)
			case strings.Contains(err.Error(), "5559876"):
				t.Errorf("the error has a phone number: %v", err)
			}
		})
	}
}
