package cloudapi_test

import (
	"strings"
	"testing"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
)

var messageID = message.NewID(number, "order-4711")

func TestMarks(t *testing.T) {
	t.Parallel()
	m := cloudapi.NewMarks("prod-1", []byte("key"))
	for _, attempt := range []int{1, 2, 999} {
		mark := m.Make(messageID, attempt)
		if !strings.HasPrefix(mark, "sl1.prod-1."+messageID+".") || len(mark) > 120 {
			t.Errorf("marker %q", mark)
		}
		id, n, ok := m.Parse(mark)
		if !ok || id != messageID || n != attempt {
			t.Errorf("%q: %q, %d, %v", mark, id, n, ok)
		}
	}
	// Markers rest in Meta's hands for days: their form must not change by accident.
	if got, want := m.Make("106540352242922-abcdefghijklmnopqrstuvwxyz", 1), "sl1.prod-1.106540352242922-abcdefghijklmnopqrstuvwxyz.1.a724c92f"; got != want {
		t.Errorf("marker %q, want %q", got, want)
	}
}

func TestForeignMarks(t *testing.T) {
	t.Parallel()
	m := cloudapi.NewMarks("prod", []byte("key"))
	mark := m.Make(messageID, 1)
	parts := strings.Split(mark, ".")
	with := func(i int, s string) string {
		changed := append([]string{}, parts...)
		changed[i] = s
		return strings.Join(changed, ".")
	}
	tests := map[string]string{
		"empty":                "",
		"a caller's own":       "order-4711",
		"another version":      with(0, "sl2"),
		"another environment":  cloudapi.NewMarks("staging", []byte("key")).Make(messageID, 1),
		"environment replaced": with(1, "staging"),
		"another key":          cloudapi.NewMarks("prod", []byte("other")).Make(messageID, 1),
		"another id":           with(2, message.NewID(number, "order-4712")),
		"another attempt":      with(3, "2"),
		"attempt with a zero":  with(3, "01"),
		"no MAC":               strings.Join(parts[:4], "."),
		"short MAC":            mark[:len(mark)-1],
		"long MAC":             mark + "0",
		"upper-case MAC":       with(4, "ABCDEF01"),
		"one part more":        mark + ".x",
		"not an id":            m.Make("106540352242922", 1),
		"attempt zero":         m.Make(messageID, 0),
		"negative attempt":     m.Make(messageID, -1),
		"too long":             m.Make(strings.Repeat("1", 600), 1),
	}
	for name, s := range tests {
		if id, n, ok := m.Parse(s); ok || id != "" || n != 0 {
			t.Errorf("%s: %q is taken for ours: %q, %d", name, s, id, n)
		}
	}
}

func TestNewMarksRefuses(t *testing.T) {
	t.Parallel()
	refuses := func(env, key string) (refused bool) {
		defer func() { refused = recover() != nil }()
		cloudapi.NewMarks(env, []byte(key))
		return false
	}
	for _, env := range []string{"", "a.b", "Prod", "seventeen-letters", "ä"} {
		if cloudapi.ValidEnv(env) || !refuses(env, "key") {
			t.Errorf("environment %q is taken", env)
		}
	}
	if !refuses("prod", "") {
		t.Error("an empty key is taken")
	}
}

func FuzzMarks(f *testing.F) {
	m := cloudapi.NewMarks("prod", []byte("key"))
	for _, s := range []string{m.Make(messageID, 1), m.Make(messageID, 2) + "x", "sl1....", "sl1.prod.1-a.1.00000000", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, n, ok := m.Parse(s); ok && m.Make(id, n) != s {
			t.Errorf("%q is read as %q, %d", s, id, n)
		}
	})
}
