package seal_test

import (
	"bytes"
	"errors"
	"testing"

	"sluice/internal/message"
	"sluice/internal/seal"
)

const (
	id     = "106540352242922-abcdefghijklmnopqrstuvwxyz"
	object = `{"to":"+15551234567","text":{"body":"hi"}}`
)

func TestSeal(t *testing.T) {
	t.Parallel()
	closed := func(keys ...string) string { return string(seal.New(keys...).Close(id, []byte(object))) }
	one := closed("one")
	tests := []struct {
		name, id, sealed string
		keys             []string
		ok               bool
	}{
		{"as it was closed", id, one, []string{"one"}, true},
		{"the first key seals", id, closed("one", "two"), []string{"one"}, true},
		{"the second key is good too", id, one, []string{"two", "one"}, true},
		{"an empty key is none", id, closed("", "one"), []string{"", "one"}, true},
		{"without a key nothing is sealed", id, closed(), nil, true},
		{"without a key no seal is looked at", id, one, nil, true},
		{"another key", id, one, []string{"two"}, false},
		{"no seal", id, object, []string{"one"}, false},
		{"another content", id, one[:len(one)-4] + `"}}`, []string{"one"}, false},
		{"another message's", id[:len(id)-1] + "a", one, []string{"one"}, false},
		{"a seal cut short", id, one[1:], []string{"one"}, false},
		{"something before it", id, "x" + one, []string{"one"}, false},
		{"a content in front", id, `{"a":1}` + one, []string{"one"}, false},
		{"nothing", id, "", []string{"one"}, false},
	}
	for _, tt := range tests {
		got, err := seal.New(tt.keys...).Open(tt.id, []byte(tt.sealed))
		if tt.ok && (err != nil || string(got) != object) {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
		if !tt.ok && (!errors.Is(err, message.ErrTampered) || got != nil) {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
	}
}

func FuzzOpen(f *testing.F) {
	s := seal.New("one")
	f.Add(id, []byte(object))
	f.Add(id, s.Close(id, []byte(object)))
	f.Add("", []byte("{"))
	f.Fuzz(func(t *testing.T, id string, sealed []byte) {
		if got, err := s.Open(id, sealed); err == nil && !bytes.Equal(s.Close(id, got), sealed) {
			t.Errorf("%q opens, and closes as something else", sealed)
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	s := seal.New("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	sealed := s.Close(id, []byte(`{"to":"`+string(make([]byte, 500))+`"}`))
	b.ReportAllocs()
	for b.Loop() {
		s.Open(id, sealed)
	}
}

func BenchmarkClose(b *testing.B) {
	s := seal.New("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	payload := []byte(`{"to":"` + string(make([]byte, 500)) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		s.Close(id, payload)
	}
}
