package signature_test

import (
	"bytes"
	"errors"
	"testing"

	"sluice/internal/message"
	"sluice/internal/signature"
)

const (
	id     = "106540352242922-abcdefghijklmnopqrstuvwxyz"
	object = `{"to":"+15551234567","text":{"body":"hi"}}`
)

func TestVerify(t *testing.T) {
	t.Parallel()
	signed := func(keys ...string) string { return string(signature.New(keys...).Sign(id, []byte(object))) }
	one := signed("one")
	tests := []struct {
		name, id, signed string
		keys             []string
		ok               bool
	}{
		{"unchanged", id, one, []string{"one"}, true},
		{"the first key signs", id, signed("one", "two"), []string{"one"}, true},
		{"the second key is accepted", id, one, []string{"two", "one"}, true},
		{"an empty key is skipped", id, signed("", "one"), []string{"", "one"}, true},
		{"without a key nothing is signed", id, signed(), nil, true},
		{"without a key nothing is verified", id, one, nil, true},
		{"another key", id, one, []string{"two"}, false},
		{"no signature", id, object, []string{"one"}, false},
		{"changed content", id, one[:len(one)-4] + `"}}`, []string{"one"}, false},
		{"the signature of another message", id[:len(id)-1] + "a", one, []string{"one"}, false},
		{"a truncated signature", id, one[1:], []string{"one"}, false},
		{"text before the signature", id, "x" + one, []string{"one"}, false},
		{"an object before the signature", id, `{"a":1}` + one, []string{"one"}, false},
		{"empty", id, "", []string{"one"}, false},
	}
	for _, tt := range tests {
		got, err := signature.New(tt.keys...).Verify(tt.id, []byte(tt.signed))
		if tt.ok && (err != nil || string(got) != object) {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
		if !tt.ok && (!errors.Is(err, message.ErrTampered) || got != nil) {
			t.Errorf("%s: %s, %v", tt.name, got, err)
		}
	}
}

func FuzzVerify(f *testing.F) {
	s := signature.New("one")
	f.Add(id, []byte(object))
	f.Add(id, s.Sign(id, []byte(object)))
	f.Add("", []byte("{"))
	f.Fuzz(func(t *testing.T, id string, signed []byte) {
		if got, err := s.Verify(id, signed); err == nil && !bytes.Equal(s.Sign(id, got), signed) {
			t.Errorf("%q is valid, and Sign returns something else", signed)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	s := signature.New("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	signed := s.Sign(id, []byte(`{"to":"`+string(make([]byte, 500))+`"}`))
	b.ReportAllocs()
	for b.Loop() {
		s.Verify(id, signed)
	}
}

func BenchmarkSign(b *testing.B) {
	s := signature.New("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef")
	payload := []byte(`{"to":"` + string(make([]byte, 500)) + `"}`)
	b.ReportAllocs()
	for b.Loop() {
		s.Sign(id, payload)
	}
}
