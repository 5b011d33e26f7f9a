package importfile

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/unicode"
)

// zipped returns a text, compressed with gzip.
func zipped(text string) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// in returns a text in an encoding.
func in(t *testing.T, e encoding.Encoding, text string) string {
	t.Helper()
	text, err := e.NewEncoder().String(text)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// TestForms: the same rows in all forms of files.
func TestForms(t *testing.T) {
	t.Parallel()
	const comma = "to,text\n+1,Grüße €\n"
	want := []string{`2 {"from":"9","message":{"text":{"body":"Grüße €"},"to":"+1","type":"text"}}`}
	utf16 := func(order unicode.Endianness, mark unicode.BOMPolicy) string {
		return in(t, unicode.UTF16(order, mark), comma)
	}
	for name, c := range map[string]struct {
		file string
		o    Options
	}{
		"UTF-8":                           {comma, Options{}},
		"UTF-8 by name":                   {comma, Options{Encoding: "utf-8"}},
		"byte order mark":                 {"\ufeff" + comma, Options{Encoding: "windows-1252"}},
		"UTF-16, big end first":           {utf16(unicode.BigEndian, unicode.ExpectBOM), Options{}},
		"UTF-16, little end first":        {utf16(unicode.LittleEndian, unicode.ExpectBOM), Options{}},
		"UTF-16 without a mark":           {utf16(unicode.LittleEndian, unicode.IgnoreBOM), Options{Encoding: "utf-16le"}},
		"windows-1252":                    {in(t, charmap.Windows1252, comma), Options{Encoding: "windows-1252"}},
		"ISO 8859-15":                     {in(t, charmap.ISO8859_15, comma), Options{Encoding: "iso-8859-15"}},
		"gzip":                            {zipped(comma), Options{}},
		"gzip of UTF-16":                  {zipped(utf16(unicode.LittleEndian, unicode.ExpectBOM)), Options{}},
		"semicolon":                       {"to;text\n+1;Grüße €\n", Options{}},
		"tab":                             {"to\ttext\n+1\tGrüße €\n", Options{}},
		"bar":                             {"to|text\n+1|Grüße €\n", Options{}},
		"delimiters in quotes":            {"\"to\";\"text\";\"body_1\"\n+1;Grüße €;\n", Options{}},
		"another delimiter":               {"to~text\n+1~Grüße €\n", Options{Delimiter: "~"}},
		"tab by name":                     {"to\ttext\n+1\tGrüße €\n", Options{Delimiter: "tab"}},
		"CSV that begins with a brace":    {"{to\n+1\n", Options{Format: CSV, Mapped: true, Values: []Value{{"--to", "to", "{{{to}}"}, {"--text", "text", "Grüße €"}}}},
		"CSV with Windows ends of lines":  {"to,text\r\n+1,Grüße €\r\n", Options{}},
		"CSV without an end of last line": {"to,text\n+1,Grüße €", Options{}},
	} {
		c.o.From = "9"
		if got, err := readAll(t, strings.NewReader(c.file), c.o); !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %q", name, err, got)
		}
	}
}

// TestUnusableFiles: the error says what is wrong and what to do. No row after the damage is read.
func TestUnusableFiles(t *testing.T) {
	t.Parallel()
	long := zipped("to,text\n" + strings.Repeat("+1,hi\n", 100_000))
	for _, c := range []struct {
		file, want string
		o          Options
		rows       int
	}{
		{long[:len(long)/2], "the file is compressed with gzip, and is damaged or not complete", Options{}, -1},
		{"\x1f\x8b", "the file is compressed with gzip, and is damaged or not complete", Options{}, 0},
		{"to,text\n", `encoding: "ebcdic" is not the name of an encoding. Use for example utf-8, windows-1252`, Options{Encoding: "ebcdic"}, 0},
		{"to,text\n+1,hi\n+1,\x81\x20\n", "line 3: the text is not in the encoding shift_jis", Options{Encoding: "shift_jis"}, 1},
		{"to,text\n", "delimiter: is not one character. Use for example ; or tab", Options{Delimiter: "::"}, 0},
		{"to,text\n", "delimiter: is not one character", Options{Delimiter: `"`}, 0},
		{"{}\n{\"ref\":\"\xff\"}\n", "line 2: the text is not UTF-8", Options{}, 1},
		{"{}\n", "the file is NDJSON: each line is a complete message", Options{Mapped: true}, 0},
	} {
		got, err := readAll(t, strings.NewReader(c.file), c.o)
		if err == nil || !strings.Contains(err.Error(), c.want) || c.rows >= 0 && len(got) != c.rows {
			t.Errorf("%.20q: %v, want %s; %d rows", c.file, err, c.want, len(got))
		}
	}
}

// TestLines: lines of NDJSON keep their text and get a key. A mistake in a line does not end the file.
func TestLines(t *testing.T) {
	t.Parallel()
	file := "{}\n\n  {\"ref\": \"a\"}\r\n{\"key\":null}\n{\"key\":7,\"n\":1.10}\n[1]\n{\"ref\":\"" + strings.Repeat("x", 2*maxRow) + "\"}\n{\"key\":\"k\"}"
	f, err := Open(strings.NewReader(file), Options{})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for {
		row, err := f.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		text := string(row.Body)
		if err != nil {
			text = err.Error()
		}
		if row.Key != "" {
			text = strings.Replace(text, `"`+row.Key+`"`, `"KEY"`, 1)
		}
		got = append(got, strings.Repeat(" ", row.Line)+text)
	}
	want := []string{
		` {"key":"KEY"}`, `   {"key":"KEY","ref": "a"}`, `    key: is null. Remove it, or give it a value`, `     {"key":7,"n":1.10}`, `      [1]`,
		`       the row is longer than 1048576 bytes`, `        {"key":"KEY"}`,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q\nwant\n%q", got, want)
	}
	if n := f.BytesRead(); n != int64(len(file)) {
		t.Errorf("read %d of %d bytes", n, len(file))
	}
}
