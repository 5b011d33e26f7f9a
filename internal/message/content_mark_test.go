package message_test

import (
	"reflect"
	"testing"

	"sluice/internal/message"
)

func TestCheckMark(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		body string
		want message.Mark
		say  []string
	}{
		{`{"messaging_product":"whatsapp","status":"read","message_id":"wamid.x"}`, message.Mark{MessageID: "wamid.x"}, nil},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"text"},"new":1}`, message.Mark{MessageID: "wamid.x", Typing: true}, nil},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":null}`, message.Mark{MessageID: "wamid.x"}, nil},
		{`[]`, message.Mark{}, []string{" type_mismatch"}},
		{`{"messaging_product":"x","message_id":"wamid.x"}`, message.Mark{}, []string{"messaging_product value_not_allowed", "status value_missing"}},
		{`{"status":"seen","message_id":" "}`, message.Mark{}, []string{"status value_not_allowed", "message_id mark_message_id_empty"}},
		{`{"status":"read","message_id":7}`, message.Mark{}, []string{"message_id type_mismatch"}},
		{`{"status":"read","message_id":"wamid.x","to":"+15551234567","type":"text"}`, message.Mark{}, []string{"type mark_ambiguous"}},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":{}}`, message.Mark{}, []string{"typing_indicator.type value_missing"}},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":{"type":"audio"}}`, message.Mark{}, []string{"typing_indicator.type value_not_allowed"}},
		{`{"status":"read","message_id":"wamid.x","typing_indicator":true}`, message.Mark{}, []string{"typing_indicator type_mismatch"}},
	} {
		got, problems := message.CheckMark(read(t, c.body))
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
		if got := message.IsMark(read(t, body)); got != want {
			t.Errorf("%s: %v", body, got)
		}
	}
}
