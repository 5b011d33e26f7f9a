package content_test

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"sluice/internal/content"
	"sluice/internal/jsondoc"
	"sluice/internal/message"
)

// example is a message that passes, and changes to it of which some pass and others do not.
// The files in testdata/messages have them, a file for each family; docs/messages.md shows them.
type example struct {
	Name, About string
	Message     json.RawMessage
	Passes      []change
	Refused     []struct {
		Set change
		Say []string // "path code" of each problem
	}
}

// change is new values by the path of the member; null takes it away. In strings "<60>"
// stands for 60 emoji of four bytes, "<60 a>" for 60 times an a. {"copies": 11, "of": x} is
// an array of 11 x, with "#" in strings for the index.
type change map[string]any

func examples(t testing.TB) []example {
	t.Helper()
	files, err := filepath.Glob("testdata/messages/*.json")
	if err != nil || len(files) == 0 {
		t.Fatal(files, err)
	}
	var all []example
	for _, file := range files {
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var some []example
		decoder := json.NewDecoder(strings.NewReader(string(b)))
		decoder.DisallowUnknownFields()
		decoder.UseNumber()
		if err := decoder.Decode(&some); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		all = append(all, some...)
	}
	return all
}

// with returns the example's message, changed.
func (e example) with(t testing.TB, c change) any {
	t.Helper()
	object := decode(t, e.Message)
	for _, path := range slices.Sorted(maps.Keys(c)) {
		steps := strings.FieldsFunc(path, func(r rune) bool { return strings.ContainsRune(".[]", r) })
		if !put(object, steps, expand(c[path])) {
			t.Fatalf("%s: the message has no %s", e.Name, path)
		}
	}
	return object
}

func decode(t testing.TB, b []byte) (value any) {
	t.Helper()
	decoder := json.NewDecoder(strings.NewReader(string(b)))
	decoder.UseNumber()
	if err := decoder.Decode(&value); err != nil {
		t.Fatalf("%v in %s", err, b)
	}
	return value
}

func put(in any, steps []string, value any) bool {
	last := len(steps) == 1
	switch in := in.(type) {
	case map[string]any:
		if !last {
			return put(in[steps[0]], steps[1:], value)
		}
		if in[steps[0]] = value; value == nil {
			delete(in, steps[0])
		}
		return true
	case []any:
		i, err := strconv.Atoi(steps[0])
		if err != nil || i >= len(in) {
			return false
		}
		if !last {
			return put(in[i], steps[1:], value)
		}
		in[i] = value
		return true
	}
	return false
}

var repeated = regexp.MustCompile(`<(\d+)(?: (\w))?>`)

func expand(value any) any {
	switch v := value.(type) {
	case string:
		return repeated.ReplaceAllStringFunc(v, func(s string) string {
			m := repeated.FindStringSubmatch(s)
			count, _ := strconv.Atoi(m[1])
			if m[2] != "" {
				return strings.Repeat(m[2], count)
			}
			return strings.Repeat("😀", count)
		})
	case []any:
		for i := range v {
			v[i] = expand(v[i])
		}
	case map[string]any:
		if number, ok := v["copies"].(json.Number); ok {
			count, _ := number.Int64()
			var all []any
			for i := range int(count) {
				all = append(all, numbered(expand(v["of"]), strconv.Itoa(i)))
			}
			return all
		}
		for name := range v {
			v[name] = expand(v[name])
		}
	}
	return value
}

// numbered returns a copy of value with the index in place of "#".
func numbered(value any, index string) any {
	b, _ := json.Marshal(value)
	var other any
	json.Unmarshal([]byte(strings.ReplaceAll(string(b), "#", index)), &other)
	return other
}

// parse parses what is a message or a mark.
func parse(object any) (problems []message.Problem) {
	b, err := json.Marshal(object)
	if err != nil {
		panic(err) // it was decoded from JSON
	}
	var d jsondoc.Doc
	if err := d.Read(string(b)); err != nil {
		panic(err)
	}
	if content.IsMark(d.Root()) {
		_, problems = content.CheckMark(d.Root())
		return problems
	}
	_, problems = content.Check(d.Root())
	return problems
}

// read returns a JSON text as it is checked.
func read(t testing.TB, text string) jsondoc.Value {
	t.Helper()
	var d jsondoc.Doc
	if err := d.Read(text); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	return d.Root()
}

// refusals returns "path code" of each problem.
func refusals(problems []message.Problem) []string {
	var all []string
	for _, p := range problems {
		all = append(all, p.Path+" "+p.Code)
	}
	return all
}

func TestExamples(t *testing.T) {
	t.Parallel()
	for _, e := range examples(t) {
		t.Run(e.Name, func(t *testing.T) {
			t.Parallel()
			for _, c := range append(e.Passes, change{}) {
				if got := refusals(parse(e.with(t, c))); got != nil {
					t.Errorf("%.200v: %q, and it should pass", c, got)
				}
			}
			for _, r := range e.Refused {
				problems := parse(e.with(t, r.Set))
				if got := refusals(problems); !reflect.DeepEqual(got, r.Say) {
					t.Errorf("%.200v:\n got %q\nwant %q", r.Set, got, r.Say)
				}
				for _, p := range problems {
					if p.Detail == "" || p.Fix == "" {
						t.Errorf("%s at %s tells too little: %+v", p.Code, p.Path, p)
					}
				}
			}
		})
	}
}

// What a later version of Meta's adds to an object is none of our business.
func TestUnknownMembersPass(t *testing.T) {
	t.Parallel()
	var add func(value any)
	add = func(value any) {
		switch v := value.(type) {
		case map[string]any:
			for _, member := range v {
				add(member)
			}
			v["x_new"] = []any{nil, map[string]any{"type": json.Number("1e400")}}
		case []any:
			for _, element := range v {
				add(element)
			}
		}
	}
	for _, e := range examples(t) {
		object := e.with(t, nil)
		add(object)
		if got := refusals(parse(object)); got != nil {
			t.Errorf("%s: %q", e.Name, got)
		}
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	shown := map[string]bool{"json_invalid": true} // of no object
	for _, e := range examples(t) {
		for _, r := range e.Refused {
			for _, say := range r.Say {
				_, code, _ := strings.Cut(say, " ")
				shown[code] = true
			}
		}
	}
	before := ""
	for _, r := range content.Rules() {
		if !shown[r.Code] && !r.Declared { // TestDeclaredTemplates breaks those
			t.Errorf("no example breaks the rule %s", r.Code)
		}
		if r.Code == before {
			t.Errorf("%s is the code of two rules", r.Code)
		}
		if r.Detail == "" || r.Fix == "" || !slices.Contains([]content.Breach{content.Missing, content.Malformed, content.Invalid}, r.Breach) {
			t.Errorf("%s tells too little: %+v", r.Code, r)
		}
		before = r.Code
		delete(shown, r.Code)
	}
	for code := range shown {
		t.Errorf("%s is no rule's code", code)
	}
}
