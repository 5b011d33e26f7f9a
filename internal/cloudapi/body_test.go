package cloudapi_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/cloudapi"
)

func TestBody(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, object, to, want string }{
		{
			"bare", `{"type":"text","text":{"body":"hi"}}`, "+16505551234",
			`{"messaging_product":"whatsapp","to":"+16505551234","biz_opaque_callback_data":"mark","type":"text","text":{"body":"hi"}}`,
		},
		{
			"everything replaced", `{"messaging_product":"other","to":"16505551234","biz_opaque_callback_data":"theirs"}`, "+16505551234",
			`{"messaging_product":"whatsapp","to":"+16505551234","biz_opaque_callback_data":"mark"}`,
		},
		{
			"no recipient of ours", `{"to":"16505551234","recipient":"US.1"}`, "",
			`{"messaging_product":"whatsapp","biz_opaque_callback_data":"mark","to":"16505551234","recipient":"US.1"}`,
		},
		{
			"unknown members, numbers and links unchanged", `{"new":{"n":1.50,"big":12345678901234567890,"null":null},"link":"https://a.example/?a=1&b=<2>","esc":"\u00e4"}`, "",
			`{"messaging_product":"whatsapp","biz_opaque_callback_data":"mark","new":{"n":1.50,"big":12345678901234567890,"null":null},"link":"https://a.example/?a=1&b=<2>","esc":"\u00e4"}`,
		},
		{
			"names in escapes", `{"\u0074o":"1","a\"b":2}`, "+16505551234",
			`{"messaging_product":"whatsapp","to":"+16505551234","biz_opaque_callback_data":"mark","a\"b":2}`,
		},
		{
			"white space", "\n{ \"text\" : { \"body\" : \" } ]\" } , \"n\" : [ ] ,\t\"o\":{ } , \"z\": -1e3 }\n", "",
			`{"messaging_product":"whatsapp","biz_opaque_callback_data":"mark","text":{"body":" } ]"},"n":[],"o":{},"z":-1e3}`,
		},
	}
	for _, tt := range tests {
		got, err := cloudapi.Body(json.RawMessage(tt.object), tt.to, "mark", time.Time{})
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
	if got, err := cloudapi.Body(json.RawMessage(`{"biz_opaque_callback_data":"theirs"}`), "", "", time.Time{}); err != nil || string(got) != `{"messaging_product":"whatsapp"}` {
		t.Errorf("without a marker: %s, %v", got, err)
	}
	for _, object := range []string{``, `null`, `[]`, `"canary"`, `{"canary":`, `{} canary`} {
		if got, err := cloudapi.Body(json.RawMessage(object), "", "mark", time.Time{}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %s, %v", object, got, err)
		}
	}
}

// Body must not change the caller's object: it is kept and made into the next attempt's body.
func TestBodyLeavesTheObject(t *testing.T) {
	t.Parallel()
	const text = `{"to":"1","text":{"body":"hi"}}`
	object := json.RawMessage(text)
	if _, err := cloudapi.Body(object, "2", "mark", time.Time{}); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(object, json.RawMessage(text)) {
		t.Errorf("the object became %s", object)
	}
}

// A Direct Send message lives at Meta until its deadline, so far as Meta lets it be said.
func TestBodyEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		object string
		left   time.Duration
		want   string // behind messaging_product
	}{
		{`{"category":"utility","type":"text"}`, time.Hour, `"category":"utility","type":"text","ttl_seconds":3600`},
		{`{"category":"utility"}`, 61*time.Second - 1, `"category":"utility","ttl_seconds":60`},
		{`{"category":"utility"}`, 24 * time.Hour, `"category":"utility","ttl_seconds":43200`},
		{`{"category":"authentication"}`, 10 * time.Minute, `"category":"authentication","ttl_seconds":600`},
		{`{"category":"authentication"}`, time.Hour, `"category":"authentication","ttl_seconds":900`},
		{`{"category":"authentication"}`, 29 * time.Second, `"category":"authentication","ttl_seconds":30`},
		{`{"category":"utility"}`, -time.Second, `"category":"utility","ttl_seconds":30`},
		{`{"ttl_seconds":null,"category":"utility"}`, time.Minute, `"category":"utility","ttl_seconds":60`},
		{`{"ttl_seconds":7200,"category":"utility"}`, time.Minute, `"ttl_seconds":7200,"category":"utility"`},
		{`{"category":"service"}`, time.Minute, `"category":"service"`},
		{`{"type":"text","text":{"body":"hi","category":"utility"}}`, time.Minute, `"type":"text","text":{"body":"hi","category":"utility"}`},
	}
	synctest.Test(t, func(t *testing.T) { // time stands still
		for _, tt := range tests {
			got, err := cloudapi.Body(json.RawMessage(tt.object), "", "", time.Now().Add(tt.left))
			if want := `{"messaging_product":"whatsapp",` + tt.want + `}`; err != nil || string(got) != want {
				t.Errorf("%s, %s left:\n got %s, %v\nwant %s", tt.object, tt.left, got, err, want)
			}
		}
		got, err := cloudapi.Body(json.RawMessage(`{"category":"utility"}`), "", "", time.Time{})
		if err != nil || strings.Contains(string(got), "ttl") {
			t.Errorf("without a deadline: %s, %v", got, err)
		}
	})
}

func BenchmarkBody(b *testing.B) {
	object := json.RawMessage(`{"recipient_type":"individual","to":"+16505551234","type":"template","template":{"name":"order_confirmation",
		"language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"Jo"},{"type":"text","text":"4711"}]},
		{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"orders/4711"}]}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudapi.Body(object, "+16505551234", "sl1.prod.106540352242922-abcdefghijklmnopqrstuvwxyz.1.0a1b2c3d", time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}
