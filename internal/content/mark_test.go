package content_test

import (
	"reflect"
	"testing"

	"sluice/internal/content"
)

func TestCheckMark(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want content.Mark
		say  []string
	}{
		{`{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`, content.Mark{MessageID: "wamid.x"}, nil},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"},"new":1}`, content.Mark{MessageID: "wamid.x", Typing: true}, nil},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":null}`, content.Mark{MessageID: "wamid.x"}, nil},
		{`[]`, content.Mark{}, []string{" type_mismatch"}},
		{`{"messaging_product":"x","message_id":"wamid.x"}`, content.Mark{}, []string{"messaging_product value_not_allowed", "status value_missing"}},
		{`{"status":"seen","message_id":" "}`, content.Mark{}, []string{"status value_not_allowed", "message_id mark_message_id_empty"}},
		{`{"status":"read","message_id":7}`, content.Mark{}, []string{"message_id type_mismatch"}},
		{`{"status":"read","message_id":"wamid.x","to":"+15551234567","type":"text"}`, content.Mark{}, []string{"type mark_ambiguous"}},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":{}}`, content.Mark{}, []string{"typing_indicator.type value_missing"}},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"audio"}}`, content.Mark{}, []string{"typing_indicator.type value_not_allowed"}},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":true}`, content.Mark{}, []string{"typing_indicator type_mismatch"}},
	} {
		got, problems := content.CheckMark(read(t, c.body))
		if say := refusals(problems); !reflect.DeepEqual(say, c.say) {
			t.Errorf("%s: problems %q, want %q", c.body, say, c.say)
		}
		if c.say == nil && got != c.want {
			t.Errorf("%s: got %+v, want %+v", c.body, got, c.want)
		}
	}
}

func TestIsMark(t *testing.T) {
	t.Parallel()
	for body, want := range map[string]bool{
		`{"status":"read"}`: true, `{"status":7}`: true, `{"to":"+15551234567"}`: false, `{"status":null}`: false, `[]`: false,
	} {
		if got := content.IsMark(read(t, body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}
