package message_test

import (
	"strings"
	"testing"

	"sluice/internal/message"
)

// TestPersonNamesIn: a name is found in JSON, in JSON in a string, and in Meta's id of a message. Parts of longer numbers and ids are none.
func TestPersonNamesIn(t *testing.T) {
	t.Parallel()
	who := message.PersonNames{Is: func(recipient string) bool {
		return strings.Contains(" 16467043595 US.ENT.555 US.1234567890 ", " "+recipient+" ")
	}}
	for text, want := range map[string]bool{
		`{"recipient_id":"16467043595"}`:                                                         true,
		`{"event":"{\"from\":\"16467043595\",\"text\":\"\\nUS.9\"}"}`:                            true,
		`{"from_parent_user_id":"US.ENT.555"}`:                                                   true,
		`{"wamid":"wamid.HBgLMTY0NjcwNDM1OTUVAgARGBI1RjQyNUE3NEYxMzAzMzQ5MkEA","to":"+16***95"}`: true,
		`{"user_id":"US.1234567890"}`:                                                            true,
		`+16467043595`:                                                                           true,
		`{"id":"164670435951"}`:                                                                  false,
		`{"user_id":"US.12345678"}`:                                                              false,
		`{"at":1790000000,"wamid":"wamid.x"}`:                                                    false,
		``:                                                                                       false,
	} {
		if got := who.In(text); got != want {
			t.Errorf("%s: %v", text, got)
		}
	}
}
