package intake

import (
	"bytes"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestStrict(t *testing.T) {
	t.Parallel()
	nested := func(depth int) string {
		return `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	cases := []struct{ body, code, path string }{
		{`{}`, "", ""},
		{" \t\r\n{\"a\":[1,-2.5e3,1e999,true,false,null,\"\"]} \n", "", ""},
		{`{"a":{"b":1},"c":{"b":1}}`, "", ""},
		{`{"a":"\ud83d\ude00"}`, "", ""},
		{`{"a":"\\ud800"}`, "", ""},
		{`{"a":"\uFFFD"}`, "", ""},
		{nested(64), "", ""},
		{nested(65), "json_too_deep", "a" + strings.Repeat("[0]", 63)},
		{``, "body_empty", ""},
		{`x`, "json_invalid", ""},
		{`{"a":1,}`, "json_invalid", ""},
		{`{"a":[1,]}`, "json_invalid", ""},
		{`{"a" 1}`, "json_invalid", ""},
		{`{"a":1]`, "json_invalid", ""},
		{`{"a":01}`, "json_invalid", ""},
		{`{"a":NaN}`, "json_invalid", ""},
		{`{'a':1}`, "json_invalid", ""},
		{`{"a":1`, "json_invalid", ""},
		{`{"a":"` + "\x01" + `"}`, "json_invalid", ""},
		{"\ufeff{}", "json_invalid", ""},
		{`[1`, "json_invalid", ""},
		{`{"a":"\x"}`, "json_invalid", ""},
		{`{"a":"\u12g4"}`, "json_invalid", ""},
		{`{"a":"\`, "json_invalid", ""},
		{`{"a":tru}`, "json_invalid", ""},
		{`{"a":}`, "json_invalid", ""},
		{`{,"a":1}`, "json_invalid", ""},
		{`{"a":1 "b":2}`, "json_invalid", ""},
		{`{"a":[1 2]}`, "json_invalid", ""},
		{`{"a":[,1]}`, "json_invalid", ""},
		{`{"a":1` + "\x00" + `}`, "json_invalid", ""},
		{"\x00", "json_invalid", ""},
		{"{}\x00", "json_trailing_data", ""},
		{`[1]`, "json_not_object", ""},
		{`"a"`, "json_not_object", ""},
		{`null`, "json_not_object", ""},
		{`{}{}`, "json_trailing_data", ""},
		{`{} x`, "json_trailing_data", ""},
		{`{"a":1,"a":1}`, "json_duplicate_member", "a"},
		{`{"a":1,"\u0061":1}`, "json_duplicate_member", "a"},
		{`{"m":[{},{"b":1,"b":2}]}`, "json_duplicate_member", "m[1].b"},
		{`{"m":{"<b>":1,"<b>":2}}`, "json_duplicate_member", "m.?"},
		{`{"a":["x","\u0000"]}`, "char_not_allowed", "a[1]"},
		{`{"a\u0000":1}`, "char_not_allowed", ""},
		{"{\"a\":\"\xc3\"}", "utf8_invalid", ""},
		{"{\"a\":\"\xed\xa0\x80\"}", "utf8_invalid", ""},
		{`{"a":"\ud800"}`, "utf8_invalid", "a"},
		{`{"a":"\ud800x"}`, "utf8_invalid", "a"},
		{`{"a":"\ud800\n"}`, "utf8_invalid", "a"},
		{`{"a":"\ud800\ud800"}`, "utf8_invalid", "a"},
		{`{"a":"\udc00"}`, "utf8_invalid", "a"},
		{`{"a":"\ud83d\ude00\ude00"}`, "utf8_invalid", "a"},
		{`{"\ud800":1}`, "utf8_invalid", ""},
	}
	for _, c := range cases {
		var code, path string
		if _, refused := strict([]byte(c.body)); refused != nil {
			code, path = refused[0].Code, refused[0].Path
		}
		if code != c.code || path != c.path {
			t.Errorf("%.80q: got %s at %q, want %s at %q", c.body, code, path, c.code, c.path)
		}
	}
}

func FuzzStrict(f *testing.F) {
	for _, body := range []string{
		``, `{}`, `[]`, `{} x`, `{"message": {"to": [1] } , "a":2}`, `{"a":[{"b":"\ud83d\ude00"},null,1e999]}`, `{"a":1,"a":1}`, `{"a":"\ud800"}`, `{"a":"\`, `{"a":"\u12`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		document, refused := strict(body)
		decoder := json.NewDecoder(bytes.NewReader(body))
		decoder.UseNumber()
		var object any
		err := decoder.Decode(&object)
		switch {
		case refused == nil && (err != nil || !json.Valid(body) || !reflect.DeepEqual(object, any(document.members))):
			t.Errorf("read %v where encoding/json reads %v (%v)", document.members, object, err)
		case refused == nil && len(document.message) > 0 && !json.Valid(document.message):
			t.Errorf("the message was cut: %s", document.message)
		case refused != nil && refused[0].Code == "json_invalid" && json.Valid(body):
			t.Error("refused valid JSON as invalid")
		case refused != nil && refused.Status() >= 500:
			t.Errorf("blamed us: %v", refused)
		}
	})
}
