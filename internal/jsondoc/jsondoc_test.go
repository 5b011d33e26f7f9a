package jsondoc_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"sluice/internal/jsondoc"
)

func TestRead(t *testing.T) {
	t.Parallel()
	nested := func(depth int) string {
		return `{"a":` + strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1) + `}`
	}
	many := func(last string) string {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, `"m%d":{},`, i)
		}
		return "{" + b.String() + last + "}"
	}
	cases := []struct{ text, code, path string }{
		{`{}`, "", ""},
		{" \t\r\n{\"a\":[1,-2.5e3,1e999,true,false,null,\"\"]} \n", "", ""},
		{`{"a":{"b":1},"c":{"b":1}}`, "", ""},
		{`{"a":"\ud83d\ude00"}`, "", ""},
		{`{"a":"\\ud800"}`, "", ""},
		{`{"a":"\uFFFD"}`, "", ""},
		{nested(64), "", ""},
		{many(`"last":1`), "", ""},
		{`[1]`, "", ""},
		{`"a"`, "", ""},
		{`null`, "", ""},
		{nested(65), "json_too_deep", "a" + strings.Repeat("[0]", 63)},
		{``, "body_empty", ""},
		{` `, "body_empty", ""},
		{`x`, "json_invalid", ""},
		{`1x`, "json_invalid", ""},
		{`{"a":1,}`, "json_invalid", ""},
		{`{"a":[1,]}`, "json_invalid", ""},
		{`{"a" 1}`, "json_invalid", ""},
		{`{"a":1]`, "json_invalid", ""},
		{`{"a":01}`, "json_invalid", ""},
		{`{"a":-}`, "json_invalid", ""},
		{`{"a":1.}`, "json_invalid", ""},
		{`{"a":1e}`, "json_invalid", ""},
		{`{"a":NaN}`, "json_invalid", ""},
		{`{'a':1}`, "json_invalid", ""},
		{`{"a":1`, "json_invalid", ""},
		{`{"a":`, "json_invalid", ""},
		{`{"a":"` + "\x01" + `"}`, "json_invalid", ""},
		{`{"a":"\n` + "\x01" + `"}`, "json_invalid", ""},
		{"\ufeff{}", "json_invalid", ""},
		{`[1`, "json_invalid", ""},
		{`{"a":"\x"}`, "json_invalid", ""},
		{`{"a":"\u12g4"}`, "json_invalid", ""},
		{`{"a":"\ud800\u12g4"}`, "json_invalid", ""},
		{`{"a":"\`, "json_invalid", ""},
		{`{"a":tru}`, "json_invalid", ""},
		{`{"a":truest}`, "json_invalid", ""},
		{`{"a":}`, "json_invalid", ""},
		{`{,"a":1}`, "json_invalid", ""},
		{`{"a":1 "b":2}`, "json_invalid", ""},
		{`{"a":1"b"}`, "json_invalid", ""},
		{`{"a":[1 2]}`, "json_invalid", ""},
		{`{"a":[,1]}`, "json_invalid", ""},
		{`{"a":1` + "\x00" + `}`, "json_invalid", ""},
		{"\x00", "json_invalid", ""},
		{"{}\x00", "json_trailing_data", ""},
		{`{}{}`, "json_trailing_data", ""},
		{`{} x`, "json_trailing_data", ""},
		{`1]`, "json_trailing_data", ""},
		{`{"a":1,"a":1}`, "json_duplicate_member", "a"},
		{`{"a":1,"\u0061":1}`, "json_duplicate_member", "a"},
		{`{"m":[{},{"b":1,"b":2}]}`, "json_duplicate_member", "m[1].b"},
		{`{"m":{"<b>":1,"<b>":2}}`, "json_duplicate_member", "m.?"},
		{many(`"m3":1`), "json_duplicate_member", "m3"},
		{many(`"m99":1`), "json_duplicate_member", "m99"},
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
		{`{"a":"\ud800\u0000"}`, "utf8_invalid", "a"},
		{`{"\ud800":1}`, "utf8_invalid", ""},
		{`{"m":{"\ud800":1}}`, "utf8_invalid", "m"},
	}
	var d jsondoc.Doc
	for _, c := range cases {
		var code, path string
		if err := d.Read(c.text); err != nil {
			code, path = err.Code, err.Path
			if d.Root().Kind() != jsondoc.Absent {
				t.Errorf("%.80q: something was read", c.text)
			}
		}
		if code != c.code || path != c.path {
			t.Errorf("%.80q: got %s at %q, want %s at %q", c.text, code, path, c.code, c.path)
		}
	}
}

// plain returns a value as encoding/json decodes it.
func plain(v jsondoc.Value) any {
	switch v.Kind() {
	case jsondoc.Bool:
		return v.True()
	case jsondoc.Number:
		n, _ := v.Number()
		return json.Number(n)
	case jsondoc.String:
		s, _ := v.Text()
		return s
	case jsondoc.Array:
		all := []any{}
		for _, element := range v.Elements() {
			all = append(all, plain(element))
		}
		return all
	case jsondoc.Object:
		all := map[string]any{}
		for name, member := range v.Members() {
			all[name] = plain(member)
		}
		return all
	}
	return nil
}

// A text that Read accepts means the same to encoding/json, and is written as encoding/json writes it.
func FuzzRead(f *testing.F) {
	for _, text := range []string{
		``, `{}`, `[]`, `{} x`, `{"message": {"to": [1] } , "a":2}`, `{"a":[{"b":"\ud83d\ude00"},null,1e999]}`, `{"a":1,"a":1}`, `{"a":"\ud800"}`,
		`{"a":"\`, `{"a":"\u12`, ` { "b" : " \" ] " , "a":[ "<ü\u2028" , true ] } `,
	} {
		f.Add([]byte(text))
	}
	var d jsondoc.Doc
	f.Fuzz(func(t *testing.T, text []byte) {
		refused := d.Read(string(text))
		if refused != nil {
			if refused.Code == jsondoc.Invalid && json.Valid(text) {
				t.Error("refused valid JSON as invalid")
			}
			return
		}
		decoder := json.NewDecoder(bytes.NewReader(text))
		decoder.UseNumber()
		var want any
		if err := decoder.Decode(&want); err != nil || !json.Valid(text) || !reflect.DeepEqual(plain(d.Root()), want) {
			t.Fatalf("read %v where encoding/json reads %v (%v)", plain(d.Root()), want, err)
		}
		var compact bytes.Buffer
		json.Compact(&compact, text)
		if got := d.Root().AppendCompact(nil); !bytes.Equal(got, compact.Bytes()) {
			t.Errorf("compact %s, want %s", got, &compact)
		}
		canonical, err := json.Marshal(want)
		if got := d.Root().AppendCanonical(nil); err != nil || !bytes.Equal(got, canonical) {
			t.Errorf("canonical %s, want %s (%v)", got, canonical, err)
		}
	})
}

func TestValue(t *testing.T) {
	t.Parallel()
	var d jsondoc.Doc
	if err := d.Read(` {"a": "x\n", "b": [1, {"c": null}], "e": true} `); err != nil {
		t.Fatal(err)
	}
	root := d.Root()
	if s, ok := root.Get("a").Text(); s != "x\n" || !ok {
		t.Errorf("a is %q", s)
	}
	if b := root.Get("b"); b.Len() != 2 || b.Raw() != `[1, {"c": null}]` || string(b.AppendCompact(nil)) != `[1,{"c":null}]` {
		t.Errorf("b is %s", b.Raw())
	}
	for i, element := range root.Get("b").Elements() {
		if n, ok := element.Number(); i == 0 && (n != "1" || !ok) {
			t.Errorf("b[0] is %q", n)
		}
		if c := element.Get("c"); i == 1 && (c.Kind() != jsondoc.Null || c.Present()) {
			t.Errorf("b[1].c is %s", c.Raw())
		}
	}
	if missing := root.Get("b").Get("c").Get("d"); missing != (jsondoc.Value{}) || missing.Raw() != "" || missing.Len() != 0 {
		t.Errorf("what is not there is %v", missing)
	}
	root.Get("a").SetText("y")
	d.AddText("f", "z")
	d.AddTexts("g", []string{"1", "2"})
	if got := string(d.Root().AppendCanonical(nil)); got != `{"a":"y","b":[1,{"c":null}],"e":true,"f":"z","g":["1","2"]}` {
		t.Errorf("with changes: %s", got)
	}
	if got := root.Get("a").Raw() + root.Get("f").Raw(); got != `"x\n"` {
		t.Errorf("as written: %s", got)
	}
	d.Reset()
	d.AddTexts("g", nil)
	d.AddTexts("h", []string{"1"})
	d.AddText("i", "2")
	if got := string(d.Root().AppendCanonical(nil)); got != `{"g":[],"h":["1"],"i":"2"}` {
		t.Errorf("from nothing: %s", got)
	}
}

const template = `{"from":"106540352242922","message":{"recipient_type":"individual","to":"+4930123456700","type":"template","template":{"name":"order_shipped","language":{"code":"en_US"},"components":[` +
	`{"type":"header","parameters":[{"type":"image","image":{"link":"https://shop.example/media/parcel-of-the-day.png"}}]},` +
	`{"type":"body","parameters":[{"type":"text","text":"Maria"},{"type":"text","text":"#20261122-000123"},{"type":"text","text":"between 10 and 12 o'clock"}]},` +
	`{"type":"button","sub_type":"url","index":"0","parameters":[{"type":"text","text":"20261122000123"}]}]}},"class":"utility","ref":"order-1001"}`

func BenchmarkRead(b *testing.B) {
	var d jsondoc.Doc
	b.SetBytes(int64(len(template)))
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Read(template); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendCanonical(b *testing.B) {
	var d jsondoc.Doc
	if err := d.Read(template); err != nil {
		b.Fatal(err)
	}
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = d.Root().AppendCanonical(out[:0])
	}
}
