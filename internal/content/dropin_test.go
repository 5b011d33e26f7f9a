package content_test

import (
	"slices"
	"testing"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
)

// Meta decodes JSON texts in strings where it wants an object or an array.
func TestEmbedded(t *testing.T) {
	t.Parallel()
	for object, want := range map[string][]string{
		to + `"type":"text","text":{"body":"{\"a\":1}"}}`:                                                                nil,
		to + `"type":"text","text":"{\"body\":\"hi\"}"}`:                                                                 {`{"body":"hi"}`},
		to + `"type":"text","text":"hi"}`:                                                                                nil,
		to + `"type":"template","template":{"name":"a","language":" {\"code\":\"en\"}","components":"[]"}}`:              {` {"code":"en"}`, "[]"},
		to + `"type":"contacts","contacts":"[{\"name\":{}}]","context":"{\"message_id\":\"wamid.x\"}"}`:                  {`{"message_id":"wamid.x"}`, `[{"name":{}}]`},
		`{"status":"read","message_id":"wamid.x","typing_indicator":"{\"type\":\"text\"}"}`:                              {`{"type":"text"}`},
		to + `"type":"interactive","interactive":{"type":"button","body":{"text":"a"},"action":"{\"buttons\":\"[]\"}"}}`: {`{"buttons":"[]"}`},
	} {
		var got []string
		for _, v := range content.Embedded(read(t, object)) {
			s, _ := v.Text()
			got = append(got, s)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", object, got, want)
		}
	}
}

// A member that this version does not know passes, and the caller is warned about the first one.
func TestExtra(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]string{
		to + `"type":"text","text":{"body":"hi"}}`:                                              "",
		to + `"type":"text","text":{"body":"hi","prevew_url":true},"zeta":1}`:                   "text.prevew_url",
		to + `"type":"text","text":{"body":"hi"},"context":{"message_id":"wamid.x","from":""}}`: "context.from",
		to + `"type":"text","text":{"body":"hi"},"a b":1}`:                                      "?",
		to + `"type":"image","image":{"id":"1","width":7}}`:                                     "image.width",
		to + `"type":"contacts","contacts":[{"name":{"formatted_name":"A","first_name":"A"}}]}`: "",
	} {
		c, problems := content.Check(read(t, object))
		if problems != nil || c.Extra != want {
			t.Errorf("%s: %q %v, want %q", object, c.Extra, problems, want)
		}
	}
}

const named = "100000000000001-ufeqxlws3bsv46lbkkufh7m55l"

// The ids of Sluice in a stored message are found and replaced, and nothing else is.
func TestNamed(t *testing.T) {
	t.Parallel()
	const number = "100000000000001"
	for object, want := range map[string]string{
		to + `"context":{"message_id":"` + named + `"},"type":"text","text":{"body":"hi"}}`:      to + `"context":{"message_id":"wamid.x"},"type":"text","text":{"body":"hi"}}`,
		to + `"type":"reaction","reaction":{"message_id":"` + named + `","emoji":"\u2764"}}`:     to + `"type":"reaction","reaction":{"message_id":"wamid.x","emoji":"\u2764"}}`,
		to + `"context":{"message_id":"wamid.y"},"type":"text","text":{"body":"` + named + `"}}`: "",
		to + `"type":"text","text":{"body":"{\"message_id\":\"` + named + `\"}"}}`:               "",
		to + `"type":"text","text":{"body":"hi"},"other":{"message_id":"` + named + `"}}`:        "",
		to + `"context":{"message_id":"` + named + `x"},"type":"text","text":{"body":"hi"}}`:     "",
	} {
		ids := content.Named("signature"+object, number)
		if want == "" {
			if ids != nil {
				t.Errorf("%s: %q", object, ids)
			}
			want = object
		} else if !slices.Equal(ids, []string{named}) {
			t.Errorf("%s: %q", object, ids)
		}
		if got := string(content.Rename([]byte(object), map[string]string{named: "wamid.x"})); want != object && got != want {
			t.Errorf("%s\nbecame %s\nwant   %s", object, got, want)
		}
		if ids := content.Named(object, "100000000000002"); ids != nil {
			t.Errorf("another number: %q", ids)
		}
	}
	for object, want := range map[string]string{
		`{"context":{"message_id":"` + named + `"}}`: "", `{"reaction":{"message_id":"100000000000002` + named[15:] + `"}}`: "reaction.message_id", `{"context":{"message_id":"wamid.x"}}`: "",
	} {
		if got := content.OtherNumber(read(t, object), number); got != want {
			t.Errorf("%s: %q, want %q", object, got, want)
		}
	}
}

// What Meta calls a rule: its code, and whether the Graph API refuses it.
func TestMetaCode(t *testing.T) {
	t.Parallel()
	for rule, want := range map[string]int{
		"text_empty": 131008, "button_title_too_long": 131009, "type_mismatch": 100, "type_unknown": 100, "member_unexpected": 100, "recipient_missing": 100, "template_parameter_invalid": 132018, "nosuch": 0,
	} {
		code, plain := content.MetaCode(rule)
		if code != want || plain != (want == 100) {
			t.Errorf("%s: %d %t", rule, code, plain)
		}
	}
	for _, r := range content.Rules() {
		if code, _ := content.MetaCode(r.Code); code == 0 {
			t.Errorf("%s has no code of Meta's", r.Code)
		}
	}
}

// What is stored says for which of Meta's paths it is, and has no access token.
func TestAppendPayloadForMarketing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		object, want string
		marketing    bool
	}{
		{`{"to":"+1","access_token":"x","type":"template","product_policy":"STRICT"}`, `{"messaging_product":"whatsapp","product_policy":"STRICT","to":"+1","type":"template"}`, true},
		{`{"to":"+1","type":"text"}`, `{"messaging_product":"whatsapp","to":"+1","type":"text"}`, false},
	} {
		if got := content.AppendPayload(nil, read(t, c.object), "+1"); string(got) != c.want || content.ForMarketing(got) != c.marketing {
			t.Errorf("%s: %s", c.object, got)
		}
	}
	var d jsondoc.Doc
	if err := d.Read(`{"to":"+1"}`); err != nil {
		t.Fatal(err)
	}
	d.AddText("product_policy", content.DefaultPolicy)
	if got := string(content.AppendPayload(nil, d.Root(), "+1")); got != `{"messaging_product":"whatsapp","product_policy":"CLOUD_API_FALLBACK","to":"+1"}` {
		t.Error(got)
	}
}
