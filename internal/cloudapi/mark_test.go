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
		accepted := int64(attempt-1) * 1_764_000_000_123
		mark := m.Make(messageID, attempt, accepted)
		if !strings.HasPrefix(mark, "sl1.prod-1."+messageID+".") || len(mark) > 120 {
			t.Errorf("marker %q", mark)
		}
		id, n, since, ok := m.Parse(mark)
		if !ok || id != messageID || n != attempt || since != accepted {
			t.Errorf("%q: %q, %d, %d, %v", mark, id, n, since, ok)
		}
	}
	// Meta may return markers after days, so their form must not change.
	for accepted, want := range map[int64]string{
		0:                 "sl1.prod-1.106540352242922-abcdefghijklmnopqrstuvwxyz.1.a724c92f", // the form of older versions
		1_764_000_000_123: "sl1.prod-1.106540352242922-abcdefghijklmnopqrstuvwxyz.1-midc1z7f.07854d14",
	} {
		if got := m.Make("106540352242922-abcdefghijklmnopqrstuvwxyz", 1, accepted); got != want {
			t.Errorf("marker %q, want %q", got, want)
		}
	}
}

func TestForeignMarks(t *testing.T) {
	t.Parallel()
	m := cloudapi.NewMarks("prod", []byte("key"))
	mark := m.Make(messageID, 1, 17)
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
		"another environment":  cloudapi.NewMarks("staging", []byte("key")).Make(messageID, 1, 17),
		"environment replaced": with(1, "staging"),
		"another key":          cloudapi.NewMarks("prod", []byte("other")).Make(messageID, 1, 17),
		"another id":           with(2, message.NewID(number, "order-4712")),
		"another attempt":      with(3, "2-h"),
		"attempt with a zero":  with(3, "01-h"),
		"another record":       with(3, "1-i"),
		"no MAC":               strings.Join(parts[:4], "."),
		"short MAC":            mark[:len(mark)-1],
		"long MAC":             mark + "0",
		"upper-case MAC":       with(4, "ABCDEF01"),
		"one part more":        mark + ".x",
		"not an id":            m.Make("106540352242922", 1, 17),
		"attempt zero":         m.Make(messageID, 0, 17),
		"negative attempt":     m.Make(messageID, -1, 17),
		"too long":             m.Make(strings.Repeat("1", 600), 1, 17),
	}
	for name, s := range tests {
		if id, n, since, ok := m.Parse(s); ok || id != "" || n != 0 || since != 0 {
			t.Errorf("%s: %q is accepted: %q, %d, %d", name, s, id, n, since)
		}
	}
}

// TestASecondKey: during a rotation, Parse accepts markers of both keys, and Make uses the first.
func TestASecondKey(t *testing.T) {
	t.Parallel()
	before, after := cloudapi.NewMarks("prod", []byte("old")), cloudapi.NewMarks("prod", []byte("new"))
	both := cloudapi.NewMarks("prod", []byte("new"), []byte("old"))
	for name, m := range map[string]*cloudapi.Marks{"old": before, "new": after} {
		if id, n, since, ok := both.Parse(m.Make(messageID, 2, 17)); !ok || id != messageID || n != 2 || since != 17 {
			t.Errorf("a marker of the %s key is parsed as %q, %d, %d, %t", name, id, n, since, ok)
		}
	}
	if made := both.Make(messageID, 2, 17); made != after.Make(messageID, 2, 17) {
		t.Errorf("made %q", made)
	}
	empty := cloudapi.NewMarks("prod", []byte("new"), nil)
	if _, _, _, ok := empty.Parse(cloudapi.NewMarks("prod", []byte("x")).Make(messageID, 1, 17)); ok {
		t.Error("an empty second key accepts other markers")
	}
}

// TestOtherEnvironments: Other is true for markers of other environments only.
func TestOtherEnvironments(t *testing.T) {
	t.Parallel()
	m, other := cloudapi.NewMarks("prod", []byte("key")), cloudapi.NewMarks("staging", []byte("another"))
	for s, want := range map[string]bool{
		other.Make(messageID, 1, 17): true,
		other.Make(messageID, 1, 0):  true,
		m.Make(messageID, 1, 17):     false,
		cloudapi.NewMarks("prod", []byte("another")).Make(messageID, 1, 17): false,
		"": false, "order-4711": false, "sl1.staging.x.1.00000000": false, "a.b.c.d.e": false,
		other.Make(messageID, 1, 17) + ".x": false,
	} {
		if got := m.Other(s); got != want {
			t.Errorf("%q is of another environment: %t", s, got)
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
			t.Errorf("environment %q is accepted", env)
		}
	}
	if !refuses("prod", "") {
		t.Error("an empty key is accepted")
	}
}

func FuzzMarks(f *testing.F) {
	m := cloudapi.NewMarks("prod", []byte("key"))
	for _, s := range []string{m.Make(messageID, 1, 17), m.Make(messageID, 2, 17) + "x", "sl1....", "sl1.prod.1-a.1.00000000", ""} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if id, n, since, ok := m.Parse(s); ok && m.Make(id, n, since) != s {
			t.Errorf("%q is read as %q, %d, %d", s, id, n, since)
		}
	})
}
