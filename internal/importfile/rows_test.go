package importfile

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"runtime"
	"strings"
	"testing"
)

// readAll returns the rows of a file as "line body", without the keys that they got, and those with a mistake as "line error".
func readAll(t *testing.T, file io.Reader, o Options) (got []string, failed error) {
	t.Helper()
	f, err := Open(file, o)
	if err != nil {
		return nil, err
	}
	for {
		row, err := f.Next()
		if mistake, is := errors.AsType[RowError](err); is {
			got = append(got, fmt.Sprint(row.Line, " ", mistake))
			continue
		}
		if err != nil {
			return got, err
		}
		var body map[string]any
		if err := json.Unmarshal(row.Body, &body); err != nil || body["key"] != row.Key {
			t.Fatal(err, body, row.Key)
		}
		if strings.HasPrefix(row.Key, "csv-") || strings.HasPrefix(row.Key, "ndjson-") {
			delete(body, "key")
		}
		text, _ := json.Marshal(body)
		got = append(got, fmt.Sprint(row.Line, " ", string(text)))
	}
}

func TestCSVRows(t *testing.T) {
	t.Parallel()
	const hi = `"message":{"text":{"body":"hi"},"to":"+1","type":"text"}`
	for name, c := range map[string]struct {
		file string
		want []string
	}{
		"all members": {
			"from,to,text,key,ref,class,tags,send_at,expires_at\n7,+1,hi,k,r,utility,a|b c,2030-01-01T00:00:00Z,2031-01-01T00:00:00Z\n",
			[]string{`2 {"class":"utility","expires_at":"2031-01-01T00:00:00Z","from":"7","key":"k",` + hi + `,"ref":"r","send_at":"2030-01-01T00:00:00Z","tags":["a","b c"]}`},
		},
		"default sender, names with capitals and blanks": {" To ,TEXT\n+1,hi", []string{`2 {"from":"9",` + hi + `}`}},
		"byte order mark":       {"\ufeffto,text\r\n+1,hi\r\n", []string{`2 {"from":"9",` + hi + `}`}},
		"semicolons":            {"to;text\n+1;\"hi\"\n", []string{`2 {"from":"9",` + hi + `}`}},
		"lines, quotes, commas": {"to,text\n+1,\"a\nb, \"\"c\"\"; é\"\n\n+1,hi\n", []string{`2 {"from":"9","message":{"text":{"body":"a\nb, \"c\"; é"},"to":"+1","type":"text"}}`, `5 {"from":"9",` + hi + `}`}},
		"only a head":           {"to,text\n", nil},
		"template":              {"to,template,body_1,body_2\n+1,a/en,,\n+1,b/en_US,x,y\n", []string{`2 {"from":"9","message":{"template":{"language":{"code":"en"},"name":"a"},"to":"+1","type":"template"}}`, `3 {"from":"9","message":{"template":{"components":[{"parameters":[{"text":"x","type":"text"},{"text":"y","type":"text"}],"type":"body"}],"language":{"code":"en_US"},"name":"b"},"to":"+1","type":"template"}}`}},
		"campaign, fallback template": {"to,template,body_1,fallback_template,campaign\n+1,a/en,x,b/en,spring\n+1,a/en,x,,\n", []string{
			`2 {"campaign":"spring","fallback_template":{"components":[{"parameters":[{"text":"x","type":"text"}],"type":"body"}],"language":{"code":"en"},"name":"b"},"from":"9","message":{"template":{"components":[{"parameters":[{"text":"x","type":"text"}],"type":"body"}],"language":{"code":"en"},"name":"a"},"to":"+1","type":"template"}}`,
			`3 {"from":"9","message":{"template":{"components":[{"parameters":[{"text":"x","type":"text"}],"type":"body"}],"language":{"code":"en"},"name":"a"},"to":"+1","type":"template"}}`,
		}},
		"text with a fallback template": {"to,text,body_1,fallback_template\n+1,hi,x,b/en\n+1,hi,,b/en\n", []string{
			`2 {"fallback_template":{"components":[{"parameters":[{"text":"x","type":"text"}],"type":"body"}],"language":{"code":"en"},"name":"b"},"from":"9",` + hi + `}`,
			`3 {"fallback_template":{"language":{"code":"en"},"name":"b"},"from":"9",` + hi + `}`,
		}},
		"mistakes of fallback templates": {"to,template,fallback_template\n+1,a/en,b\n", []string{
			"2 fallback_template: write it as name/language, such as order_update/en_US",
		}},
		"parameters of headers and buttons": {"to,template,header_image,body_1,button_0,button_1\n+1,a/en,https://x/y.png,x,c,d\n+1,a/en,,,,\n", []string{
			`2 {"from":"9","message":{"template":{"components":[{"parameters":[{"image":{"link":"https://x/y.png"},"type":"image"}],"type":"header"},{"parameters":[{"text":"x","type":"text"}],"type":"body"},{"index":"0","parameters":[{"text":"c","type":"text"}],"sub_type":"url","type":"button"},{"index":"1","parameters":[{"text":"d","type":"text"}],"sub_type":"url","type":"button"}],"language":{"code":"en"},"name":"a"},"to":"+1","type":"template"}}`,
			`3 {"from":"9","message":{"template":{"language":{"code":"en"},"name":"a"},"to":"+1","type":"template"}}`,
		}},
		"two headers": {"to,template,header,header_image\n+1,a/en,x,https://x/y.png\n", []string{"2 the row has several headers: fill one of header, header_image, header_video and header_document"}},
		"message":     {"to;message\n+1;\"{\"\"type\"\":\"\"location\"\",\"\"location\"\":{\"\"latitude\"\":1.10}}\"\n", []string{`2 {"from":"9","message":{"location":{"latitude":1.1},"to":"+1","type":"location"}}`}},
		"mistakes of single rows": {"to,text,template,message,body_1,body_2\n+1,hi,,,,\n+1,,,,,\n+1,hi,a/en,,,\n+1,,a,,,\n+1,,a/en,,,x\n+1,hi,,,x,\n+1,,,[],,\n+1,,,\"{\"\"to\"\":\"\"+2\"\"}\",,\n+1,hi,there,,,,\n+1,hi,,,,\n", []string{
			`2 {"from":"9",` + hi + `}`,
			"3 the row has no content: fill one of the cells text, template and message",
			"4 the row has text and template: fill one of them",
			"5 template: write it as name/language, such as order_update/en_US",
			"6 body_1: is empty, and body_2 is not",
			"7 body_1 and so on are for a row with a template or a fallback template: empty them",
			"8 message: is not a JSON object",
			"9 to: message has a recipient too: remove one of them",
			"10 the row has 7 cells, and the first row has 6: write a cell with a ',' in it in quotes",
			`11 {"from":"9",` + hi + `}`,
		}},
	} {
		got, err := readAll(t, strings.NewReader(c.file), Options{From: "9"})
		if !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v\n%s\nwant\n%s", name, err, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}

// TestBrokenCSV: a file that cannot be read to its end says where and why. The rows before it were read.
func TestBrokenCSV(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		file, want string
		rows       int
	}{
		{"", "the file is empty", 0},
		{"to,body\n+1,hi\n", `line 1: there is no column "body". The columns are from, to, text`, 0},
		{"to,text,to\n", "line 1: the column to is there twice", 0},
		{"to,text,body_01\n", `line 1: there is no column "body_01"`, 0},
		{"to,ref\n", "line 1: no column has the content", 0},
		{"t\xf6,text\n", "line 1: the text is not UTF-8", 0},
		{"to,text\n+1,hi\n+1,Gr\xfc\xdfe\n", "line 3: the text is not UTF-8. Name the encoding of the file, for example --encoding windows-1252", 1},
		{"to,text\n+1,hi\n+1,\"hi\n+1,hi\n", "line 3: the quotes of the row that begins there are not closed", 1},
		{"to,text\n+1,hi\n+1,\"hi\" there\n", "line 3: the quotes", 1},
		{"to,text\n+1,hi\n+1,\"" + strings.Repeat("a line\n", 2*maxRow/7), "line 3 or later: the row is longer than", 1},
	} {
		got, err := readAll(t, strings.NewReader(c.file), Options{From: "9"})
		if err == nil || !strings.HasPrefix(err.Error(), c.want) || len(got) != c.rows {
			t.Errorf("%q: %v, want %s; %d rows", c.file, err, c.want, len(got))
		}
	}
}

// keysOf returns the keys of the rows of a file.
func keysOf(t *testing.T, file string, o Options) (keys []string) {
	t.Helper()
	f, err := Open(strings.NewReader(file), o)
	for err == nil {
		var row Row
		if row, err = f.Next(); err == nil {
			keys = append(keys, row.Key)
		}
	}
	if !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	return keys
}

// TestKeys: a row keeps its key when the file is imported again, also with other rows, with its columns in another
// order and with empty ones. Rows that differ have different keys, and equal rows the same one. The keys must not change between
// versions, so they are written out here.
func TestKeys(t *testing.T) {
	t.Parallel()
	nine := Options{From: "9"}
	first := keysOf(t, "to,text\n+1,hi\n+2,hi\n+1,hi", nine)
	const hi = "csv-fc79d56c72ac3cefa43f952a621bce45-1"
	want := []string{hi, "csv-493f981c419e20b6f93bf16a355cd585-1", hi}
	if fmt.Sprint(first) != fmt.Sprint(want) {
		t.Errorf("keys %q", first)
	}
	if again := keysOf(t, "ref;text;to;key\n;hi;+3;\n;hi;+1;\n;hi;+4;own\n;hi;+2;", nine); again[1] != first[0] || again[3] != first[1] || again[2] != "own" {
		t.Errorf("keys %q, then %q", first, again)
	}
	if mapped := keysOf(t, "phone,note\n+1,x\n", Options{From: "9", Mapped: true, Values: []Value{{"--to", "to", "{{phone}}"}, {"--text", "text", "hi"}}}); mapped[0] != first[0] {
		t.Errorf("key %s of the same message with other columns", mapped[0])
	}
	for _, other := range [][]string{keysOf(t, "to,text\n+1,hi\n", Options{From: "8"}), keysOf(t, "to,text\n+1,hi\n", Options{From: "9", Name: "May"}), keysOf(t, "to,text,ref\n+1,h,i\n", nine)} {
		if other[0] == first[0] {
			t.Errorf("another row has the key %s", other[0])
		}
	}
	lines := keysOf(t, "{\"ref\":\"a\"}\n\n{\"ref\":\"a\"}\n{\"key\":\"own\"}\n{\"ref\":\"b\"}\nno JSON\n", Options{})
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "ndjson-") || lines[0] != lines[1] || lines[2] != "own" || lines[3][:20] == lines[0][:20] || lines[4] != "" {
		t.Errorf("keys %q", lines)
	}
}

// TestMemory: nothing of a row is kept in memory.
func TestMemory(t *testing.T) {
	in, out := io.Pipe()
	const rows = 10_000
	go func() {
		fmt.Fprintln(out, "to,text")
		for n := range rows {
			fmt.Fprintf(out, "+1555%07d,%s\n", n, strings.Repeat("long text ", 100))
		}
		out.Close()
	}()
	f, err := Open(in, Options{From: "9"})
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	n := 0
	for ; ; n++ {
		if _, err := f.Next(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	runtime.KeepAlive(f)
	if used := (int64(after.HeapAlloc) - int64(before.HeapAlloc)) / rows; n != rows || used > 2 {
		t.Errorf("%d rows, %d bytes for each", n, used)
	}
}
