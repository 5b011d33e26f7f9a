package content_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// to begins most objects below: they differ in what follows it.
const to = `{"to":"+15551234567",`

func TestParseReadsContent(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		object string
		want   message.Content
	}{
		{
			"text", to + `"type":"text","text":{"body":"hi"},"biz_opaque_callback_data":"order 7"}`,
			message.Content{Type: "text", To: "+15551234567", Callback: "order 7"},
		},
		{
			"template", to + `"type":"template","template":{"name":"order_update","language":{"code":"en_US"}}}`,
			message.Content{Type: "template", To: "+15551234567", Template: "order_update", Language: "en_US"},
		},
		{
			"group", `{"recipient_type":"group","to":"Y2FwaV9ncm91cA","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", To: "Y2FwaV9ncm91cA", Group: true},
		},
		{
			"user id", `{"recipient":"US.13491208655302741918","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", UserID: "US.13491208655302741918"},
		},
		{
			"formatted number", `{"to":"+1 (555) 123-45.67","type":"text","text":{"body":"hi"}}`,
			message.Content{Type: "text", To: "+15551234567"},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, problems := content.Parse(json.RawMessage(c.object))
			if problems != nil || got != c.want {
				t.Errorf("got %+v %q, want %+v", got, refusals(problems), c.want)
			}
		})
	}
}

func TestParseRefusesWhatIsNoObject(t *testing.T) {
	t.Parallel()
	for object, want := range map[string]string{
		"": " json_invalid", "{": " json_invalid", `{"a":1} x`: " json_invalid", `{} {}`: " json_invalid",
		"[]": " type_mismatch", "null": " type_mismatch", `"hi"`: " type_mismatch",
	} {
		if _, problems := content.Parse(json.RawMessage(object)); !slices.Equal(refusals(problems), []string{want}) {
			t.Errorf("%s: %q, want %q", object, refusals(problems), want)
		}
	}
}

func TestParseBoundsItsProblems(t *testing.T) {
	t.Parallel()
	object := to + `"type":"template","template":{"name":"a","language":{"code":"en"},"components":[` + strings.Repeat(`{},`, 999) + `{}]}}`
	if _, problems := content.Parse(json.RawMessage(object)); len(problems) != 20 {
		t.Errorf("%d problems for 1000 mistakes, want 20", len(problems))
	}
}

func TestProblemsNeverRepeatTheInput(t *testing.T) {
	t.Parallel()
	const secret = "hunter2"
	for _, object := range []string{
		`{"to":"hunter2","recipient":"hunter2","recipient_type":"hunter2","type":"hunter2"}`,
		`{"to":"+1hunter2","type":"image","image":{"link":"https://hunter2:hunter2@example.com"}}`,
		to + `"type":"template","template":{"name":"hunter2!","language":"hunter2","components":[{"type":"button","index":"hunter2"}]}}`,
	} {
		_, problems := content.Parse(json.RawMessage(object))
		if len(problems) == 0 {
			t.Errorf("no problem in %s", object)
		}
		if text := fmt.Sprint(problems); strings.Contains(text, secret) {
			t.Errorf("a problem repeats its input: %s", text)
		}
	}
}

// Whatever comes in, Parse does not panic and its problems can be used; what passes still
// passes, with the same content, after others have read and written it.
func FuzzParse(f *testing.F) {
	for _, e := range examples(f) {
		f.Add([]byte(e.Message))
		for _, r := range e.Refused {
			b, _ := json.Marshal(e.with(f, r.Set))
			if len(b) < 4096 {
				f.Add(b)
			}
		}
	}
	known := map[string]bool{}
	for _, r := range content.Rules() {
		known[r.Code] = true
	}
	whole := regexp.MustCompile(`^$|^[a-zA-Z_0-9.?\[\]]+$`)
	f.Fuzz(func(t *testing.T, object []byte) {
		got, problems := content.Parse(object)
		var d jsondoc.Doc
		if d.Read(string(object)) != nil {
			if got := refusals(problems); !slices.Equal(got, []string{" json_invalid"}) {
				t.Errorf("what cannot be read has %q", got)
			}
			return
		}
		var value any
		decoder := json.NewDecoder(bytes.NewReader(object))
		decoder.UseNumber()
		if err := decoder.Decode(&value); err != nil {
			t.Fatal(err)
		}
		_, marks := content.CheckMark(d.Root())
		for _, p := range append(problems, marks...) {
			if !known[p.Code] || p.Detail == "" || p.Fix == "" || !whole.MatchString(p.Path) {
				t.Errorf("a problem nobody can use: %+v", p)
			}
			if _, object := value.(map[string]any); object && p.Path == "" {
				t.Errorf("a problem without a path: %+v", p)
			}
		}
		if len(problems) > 20 || len(marks) > 20 {
			t.Errorf("%d problems", max(len(problems), len(marks)))
		}
		if len(problems) > 0 {
			return
		}
		if got.Type == "" || got.Recipient() == "" {
			t.Errorf("passed without a type or a recipient: %+v", got)
		}
		b, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		if again, problems := content.Parse(b); problems != nil || again != got {
			t.Errorf("%s\nbecame %+v %q\nand was %+v", b, again, refusals(problems), got)
		}
	})
}

// Most messages of most businesses are these.
var frequent = []struct{ name, object string }{
	{"text", to + `"type":"text","text":{"body":"Your order has shipped."}}`},
	{"template", to + `"type":"template","template":{"name":"order_update","language":{"code":"en_US"},"components":[{"type":"body","parameters":[{"type":"text","text":"Jo"},{"type":"text","text":"4711"}]}]}}`},
}

// BenchmarkCheck is the check alone, as the producer runs it.
func BenchmarkCheck(b *testing.B) {
	for _, c := range frequent {
		b.Run(c.name, func(b *testing.B) {
			object := read(b, c.object)
			b.ReportAllocs()
			for b.Loop() {
				if _, problems := content.Check(object); problems != nil {
					b.Fatal(problems)
				}
			}
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for _, c := range frequent {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, problems := content.Parse(json.RawMessage(c.object)); problems != nil {
					b.Fatal(problems)
				}
			}
		})
	}
}
