package cloudapi_test

import (
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/content"
)

// posted returns the body for Meta for an object of a caller.
func posted(t testing.TB, object, to, marker string, expires time.Time) string {
	t.Helper()
	payload, err := content.Payload(json.RawMessage(object), to)
	if err != nil {
		t.Fatal(err)
	}
	body, err := cloudapi.Body(payload, marker, expires)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestBody(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, object, to, want string }{
		{
			"bare", `{"type":"text","text":{"body":"hi"}}`, "+16505551234",
			`{"messaging_product":"whatsapp","to":"+16505551234","type":"text","text":{"body":"hi"},"biz_opaque_callback_data":"mark"}`,
		},
		{
			"everything replaced", `{"messaging_product":"other","to":"16505551234","biz_opaque_callback_data":"theirs"}`, "+16505551234",
			`{"messaging_product":"whatsapp","to":"+16505551234","biz_opaque_callback_data":"mark"}`,
		},
		{
			"the recipient is unchanged", `{"to":"16505551234","recipient":"US.1"}`, "",
			`{"messaging_product":"whatsapp","to":"16505551234","recipient":"US.1","biz_opaque_callback_data":"mark"}`,
		},
		{
			"unknown members, numbers and links unchanged", `{"new":{"n":1.50,"big":12345678901234567890,"null":null},"link":"https://a.example/?a=1&b=<2>","esc":"\u00e4"}`, "",
			`{"messaging_product":"whatsapp","new":{"n":1.50,"big":12345678901234567890,"null":null},"link":"https://a.example/?a=1&b=<2>","esc":"\u00e4","biz_opaque_callback_data":"mark"}`,
		},
		{
			"names in escapes", `{"\u0074o":"1","a\"b":2}`, "+16505551234",
			`{"messaging_product":"whatsapp","to":"+16505551234","a\"b":2,"biz_opaque_callback_data":"mark"}`,
		},
		{
			"white space", "\n{ \"text\" : { \"body\" : \" } ]\" } , \"n\" : [ ] ,\t\"o\":{ } , \"z\": -1e3 }\n", "",
			`{"messaging_product":"whatsapp","text":{"body":" } ]"},"n":[],"o":{},"z":-1e3,"biz_opaque_callback_data":"mark"}`,
		},
		{"nothing", `{}`, "", `{"messaging_product":"whatsapp","biz_opaque_callback_data":"mark"}`},
	}
	for _, tt := range tests {
		if got := posted(t, tt.object, tt.to, "mark", time.Time{}); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
	if got := posted(t, `{"biz_opaque_callback_data":"theirs"}`, "", "", time.Time{}); got != `{"messaging_product":"whatsapp"}` {
		t.Errorf("without a marker: %s", got)
	}
	for _, object := range []string{``, `null`, `[]`, `"canary"`, `{"canary":`, `{} canary`} {
		if got, err := content.Payload(json.RawMessage(object), ""); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %s, %v", object, got, err)
		}
	}
	for _, payload := range []string{``, `{}`, `"canary"`, `{"canary":1}`, `{"messaging_product":"whatsapp","canary"`} {
		if got, err := cloudapi.Body([]byte(payload), "mark", time.Time{}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %s, %v", payload, got, err)
		}
	}
}

// Body must not change the payload, because the next attempt needs it.
func TestBodyLeavesThePayload(t *testing.T) {
	t.Parallel()
	const text = `{"messaging_product":"whatsapp","to":"1","category":"utility"}`
	payload := append(make([]byte, 0, 4096), text...)
	if _, err := cloudapi.Body(payload, "mark", time.Now()); err != nil || string(payload) != text {
		t.Errorf("the payload became %s, %v", payload, err)
	}
}

// A Direct Send message expires at Meta at its deadline, within the limits of ttl_seconds.
func TestBodyEndsWithTheDeadline(t *testing.T) {
	t.Parallel()
	tests := []struct {
		object string
		left   time.Duration
		want   string // after messaging_product
	}{
		{`{"category":"utility","type":"text"}`, time.Hour, `"type":"text","category":"utility","ttl_seconds":3600`},
		{`{"category":"utility"}`, 61*time.Second - 1, `"category":"utility","ttl_seconds":60`},
		{`{"category":"utility"}`, 24 * time.Hour, `"category":"utility","ttl_seconds":43200`},
		{`{"category":"authentication"}`, 10 * time.Minute, `"category":"authentication","ttl_seconds":600`},
		{`{"category":"authentication"}`, time.Hour, `"category":"authentication","ttl_seconds":900`},
		{`{"category":"authentication"}`, 29 * time.Second, `"category":"authentication","ttl_seconds":30`},
		{`{"category":"utility"}`, -time.Second, `"category":"utility","ttl_seconds":30`},
		{`{"c\u0061tegory": "\u0075tility"}`, time.Minute, `"category":"utility","ttl_seconds":60`},
		{`{"ttl_seconds":null,"category":"utility"}`, time.Minute, `"category":"utility","ttl_seconds":60`},
		{`{"ttl_seconds":7200,"category":"utility"}`, time.Minute, `"category":"utility","ttl_seconds":7200`},
		{`{"category":"service"}`, time.Minute, `"category":"service"`},
		{`{"category":null,"type":"text"}`, time.Minute, `"type":"text"`},
		{`{"type":"text","text":{"body":"hi","category":"utility"}}`, time.Minute, `"type":"text","text":{"body":"hi","category":"utility"}`},
		{`{"x":",\"category\":\"utility"}`, time.Minute, `"x":",\"category\":\"utility"`},
	}
	synctest.Test(t, func(t *testing.T) { // time does not advance
		for _, tt := range tests {
			got := posted(t, tt.object, "", "", time.Now().Add(tt.left))
			if want := `{"messaging_product":"whatsapp",` + tt.want + `}`; got != want {
				t.Errorf("%s, %s left:\n got %s\nwant %s", tt.object, tt.left, got, want)
			}
		}
		if got := posted(t, `{"category":"utility"}`, "", "", time.Time{}); strings.Contains(got, "ttl") {
			t.Errorf("without a deadline: %s", got)
		}
	})
}

func BenchmarkBody(b *testing.B) {
	object := json.RawMessage(`{"recipient_type":"individual","to":"+16505551234","type":"template","template":{"name":"order_confirmation",
		"language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"Jo"},{"type":"text","text":"4711"}]},
		{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"orders/4711"}]}]}}`)
	payload, err := content.Payload(object, "+16505551234")
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudapi.Body(payload, "sl1.prod.106540352242922-abcdefghijklmnopqrstuvwxyz.1.0a1b2c3d", time.Time{}); err != nil {
			b.Fatal(err)
		}
	}
}

// Before format 2 of the records, a message was stored with its members in the order of the request.
func TestBodyOfAnOldMessage(t *testing.T) {
	t.Parallel()
	const head, mark = `{"messaging_product":"whatsapp","to":"+16505551234"`, `,"biz_opaque_callback_data":"mark"}`
	synctest.Test(t, func(t *testing.T) {
		for object, want := range map[string]string{
			`,"type":"text"}`:                                                 `,"type":"text"`,
			`,"category":"utility","type":"text"}`:                            `,"type":"text","category":"utility","ttl_seconds":3600`,
			`,"type":"text","category":"utility"}`:                            `,"type":"text","category":"utility","ttl_seconds":3600`,
			`,"ttl_seconds":7200,"category":"utility"}`:                       `,"category":"utility","ttl_seconds":7200`,
			`,"category":"utility","ttl_seconds":7200,"type":"text"}`:         `,"type":"text","category":"utility","ttl_seconds":7200`,
			`,"category":"utility","ttl_seconds":7200}`:                       `,"category":"utility","ttl_seconds":7200`,
			`,"text":{"body":",\"category\":\"utility"},"type":"text"}`:       `,"text":{"body":",\"category\":\"utility"},"type":"text"`,
			`,"category":"utility","text":{"body":"a, \"b\": c"}}`:            `,"text":{"body":"a, \"b\": c"},"category":"utility","ttl_seconds":3600`,
			`,"ttl_seconds":7200,"type":"text","new":{"a":1,"category":"x"}}`: `,"type":"text","new":{"a":1,"category":"x"},"ttl_seconds":7200`,
		} {
			body, err := cloudapi.Body([]byte(head+object), "mark", time.Now().Add(time.Hour))
			if err != nil || string(body) != head+want+mark {
				t.Errorf("%s: %v\n got %s\nwant %s", object, err, body, head+want+mark)
			}
		}
	})
}
