package importfile

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
)

// TestMapping: flags say what the columns of a file mean. Other columns are not read, also where they have names of ours.
func TestMapping(t *testing.T) {
	t.Parallel()
	const file = "Phone, Name ,code,order_id,message\n+1,Ann,77,o-1,called twice\n+2,,78,o-2,\n,Eve,79,o-3,\n"
	o := Options{From: "9", Mapped: true, Templates: []Template{{"order_update/en", 1}}, Values: []Value{
		{"--to", "to", "{{phone}}"}, {"--key", "key", "{{order_id}}"}, {"--param 1", "body_1", "Dear {{ name }}"}, {"--param button_0", "button_0", "{{CODE}}"}, {"--campaign", "campaign", "spring"},
	}}
	got, err := readAll(t, strings.NewReader(file), o)
	want := []string{
		`2 {"campaign":"spring","from":"9","key":"o-1","message":{"template":{"components":[{"parameters":[{"text":"Dear Ann","type":"text"}],"type":"body"},{"index":"0","parameters":[{"text":"77","type":"text"}],"sub_type":"url","type":"button"}],"language":{"code":"en"},"name":"order_update"},"to":"+1","type":"template"}}`,
		"3 --param 1: the cell name is empty",
		"4 --to: the cell phone is empty",
	}
	if !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%s\nwant\n%s", err, strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestDefaults: without --to, flags fill what a row leaves empty.
func TestDefaults(t *testing.T) {
	t.Parallel()
	got, err := readAll(t, strings.NewReader("to,text,campaign\n+1,own,\n+2,,summer\n"), Options{From: "9", Values: []Value{{"--text", "text", "To {{to}}"}, {"--campaign", "campaign", "spring"}}})
	want := []string{
		`2 {"campaign":"spring","from":"9","message":{"text":{"body":"own"},"to":"+1","type":"text"}}`,
		`3 {"campaign":"summer","from":"9","message":{"text":{"body":"To +2"},"to":"+2","type":"text"}}`,
	}
	if !errors.Is(err, io.EOF) || !reflect.DeepEqual(got, want) {
		t.Errorf("%v\n%s", err, strings.Join(got, "\n"))
	}
}

func TestUnusableFlags(t *testing.T) {
	t.Parallel()
	text := Value{"--text", "text", "hi"}
	for want, values := range map[string][]Value{
		`--to: the file has no column "fone". Its columns are phone, name, name`: {{"--to", "to", "{{fone}}"}, text},
		`--ref: the file has the column "name" twice. Rename one`:                {{"--ref", "ref", "{{name}}"}, text},
		`--to: {{ has no }} after it in "{{phone"`:                               {{"--to", "to", "{{phone"}, text},
		"line 1: no column has the content of the messages":                      {{"--to", "to", "{{phone}}"}},
	} {
		_, err := readAll(t, strings.NewReader("phone,name,name\n"), Options{Mapped: true, Values: values})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
	for _, all := range [][]string{{"a/en", "b/en=1"}, {"a/en=0"}, {"a/en=half"}} {
		if _, err := ParseTemplates(all); err == nil || !strings.Contains(err.Error(), "share") {
			t.Errorf("%q: %v", all, err)
		}
	}
}

// TestShares: the key of a row chooses its template, by the shares, and always the same one.
func TestShares(t *testing.T) {
	t.Parallel()
	templates, err := ParseTemplates([]string{"a/en=30", "b/en=60", "c/en=10"})
	if err != nil {
		t.Fatal(err)
	}
	const rows = 3000
	var file strings.Builder
	file.WriteString("to,key\n")
	for n := range rows {
		fmt.Fprintf(&file, "+1555%07d,order-%d\n", n, n)
	}
	o := Options{From: "9", Templates: templates}
	first, err := readAll(t, strings.NewReader(file.String()), o)
	counts := map[string]int{}
	for _, row := range first {
		_, rest, _ := strings.Cut(row, `"name":"`)
		counts[rest[:1]]++
	}
	if !errors.Is(err, io.EOF) || len(first) != rows {
		t.Fatal(err, len(first))
	}
	for name, share := range map[string]int{"a": 30, "b": 60, "c": 10} {
		if want := rows * share / 100; counts[name] < want*8/10 || counts[name] > want*12/10 {
			t.Errorf("template %s: %d rows, want about %d", name, counts[name], want)
		}
	}
	second, _ := readAll(t, strings.NewReader(file.String()), o)
	if !reflect.DeepEqual(first, second) {
		t.Error("the second reading chose other templates")
	}
}
