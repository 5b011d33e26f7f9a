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
		got, err := cloudapi.Body(json.RawMessage(tt.object), tt.to, "mark")
		if err != nil || string(got) != tt.want {
			t.Errorf("%s:\n got %s, %v\nwant %s", tt.name, got, err, tt.want)
		}
	}
	if got, err := cloudapi.Body(json.RawMessage(`{"biz_opaque_callback_data":"theirs"}`), "", ""); err != nil || string(got) != `{"messaging_product":"whatsapp"}` {
		t.Errorf("without a marker: %s, %v", got, err)
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
