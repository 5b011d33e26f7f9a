package importfile

import (
	"reflect"
	"strings"
	"testing"

	"golang.org/x/text/encoding/charmap"
)

// TestHead: the first rows of a file are read as Open reads them, whatever the columns are called.
func TestHead(t *testing.T) {
	t.Parallel()
	csv := Head{CSV, []string{"Phone", "Größe"}, [][]string{{"+1", "a"}, {"+2"}}}
	for name, c := range map[string]struct {
		file string
		o    Options
		want Head
	}{
		"CSV":                      {"Phone,Größe\n+1,a\n+2\n+3,c\n", Options{}, csv},
		"gzip and semicolon":       {zipped("Phone;Größe\n+1;a\n+2\n+3;c\n"), Options{}, csv},
		"windows-1252":             {in(t, charmap.Windows1252, "Phone,Größe\n+1,a\n+2\n"), Options{Encoding: "windows-1252"}, csv},
		"a delimiter of the user":  {"Phone#Größe\n+1#a\n+2\n", Options{Delimiter: "#"}, csv},
		"columns without rows":     {"a,b\n", Options{}, Head{CSV, []string{"a", "b"}, nil}},
		"NDJSON":                   {"{\"a\":1}\n\n{\"b\":\n", Options{}, Head{NDJSON, nil, [][]string{{`{"a":1}`}, {`{"b":`}}}},
		"NDJSON that is named CSV": {"{,}\n", Options{Format: CSV}, Head{CSV, []string{"{", "}"}, nil}},
	} {
		if got, err := ReadHead(strings.NewReader(c.file), c.o, 2); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	for file, want := range map[string]string{"": "the file is empty", "a\n\xff\n": "not UTF-8", "a\n\"b\n": "quotes", "\x1f\x8b\x00": "gzip"} {
		if _, err := ReadHead(strings.NewReader(file), Options{}, 2); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", file, err)
		}
	}
}
