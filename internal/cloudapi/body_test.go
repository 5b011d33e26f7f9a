package cloudapi_test

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"

	"sluice/internal/cloudapi"
)

func TestBody(t *testing.T) {
	t.Parallel()
	tests := []struct{ name, object, to, want string }{
		{
			"bare", `{"type":"text","text":{"body":"hi"}}`, "+16505551234",
			`{"biz_opaque_callback_data":"mark","messaging_product":"whatsapp","text":{"body":"hi"},"to":"+16505551234","type":"text"}`,
		},
		{
			"everything replaced", `{"messaging_product":"other","to":"16505551234","biz_opaque_callback_data":"theirs"}`, "+16505551234",
			`{"biz_opaque_callback_data":"mark","messaging_product":"whatsapp","to":"+16505551234"}`,
		},
		{
			"no recipient of ours", `{"to":"16505551234","recipient":"US.1"}`, "",
			`{"biz_opaque_callback_data":"mark","messaging_product":"whatsapp","recipient":"US.1","to":"16505551234"}`,
		},
		{
			"unknown members, numbers and links unchanged", `{"new":{"n":1.50,"big":12345678901234567890,"null":null},"link":"https://a.example/?a=1&b=<2>","esc":"\u00e4"}`, "",
			`{"biz_opaque_callback_data":"mark","esc":"\u00e4","link":"https://a.example/?a=1&b=<2>","messaging_product":"whatsapp","new":{"n":1.50,"big":12345678901234567890,"null":null}}`,
		},
	}
	for _, tt := range tests {
		got, err := cloudapi.Body(json.RawMessage(tt.object), tt.to, "mark")
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
	for _, object := range []string{``, `null`, `[]`, `"canary"`, `{"canary":`, `{} canary`} {
		if got, err := cloudapi.Body(json.RawMessage(object), "", "mark"); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %s, %v", object, got, err)
		}
	}
}

// Body must not change the caller's object: it is kept and made into the next attempt's body.
func TestBodyLeavesTheObject(t *testing.T) {
	t.Parallel()
	const text = `{"to":"1","text":{"body":"hi"}}`
	object := json.RawMessage(text)
	if _, err := cloudapi.Body(object, "2", "mark"); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(object, json.RawMessage(text)) {
		t.Errorf("the object became %s", object)
	}
}

func BenchmarkBody(b *testing.B) {
	object := json.RawMessage(`{"recipient_type":"individual","to":"+16505551234","type":"template","template":{"name":"order_confirmation",
		"language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"Jo"},{"type":"text","text":"4711"}]},
		{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"orders/4711"}]}]}}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := cloudapi.Body(object, "+16505551234", "sl1.prod.106540352242922-abcdefghijklmnopqrstuvwxyz.1.0a1b2c3d"); err != nil {
			b.Fatal(err)
		}
	}
}
