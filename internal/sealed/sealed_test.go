package sealed_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/sealed"
)

func TestSealAndOpen(t *testing.T) {
	t.Parallel()
	b := sealed.New("0123456789abcdef")
	text, err := b.Seal("relay target crm", "the secret")
	if err != nil || strings.Contains(text, "secret") {
		t.Fatalf("%q, %v", text, err)
	}
	if again, _ := b.Seal("relay target crm", "the secret"); again == text {
		t.Error("the same secret is sealed to the same text twice")
	}
	if got, err := b.Open("relay target crm", text); got != "the secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for name, open := range map[string]func() (string, error){
		"another key":     func() (string, error) { return sealed.New("another key").Open("relay target crm", text) },
		"another purpose": func() (string, error) { return b.Open("relay target shop", text) },
		"changed":         func() (string, error) { return b.Open("relay target crm", text[:len(text)-2]+"AA") },
		"cut":             func() (string, error) { return b.Open("relay target crm", text[:8]) },
		"not sealed":      func() (string, error) { return b.Open("relay target crm", "the secret") },
		"empty":           func() (string, error) { return b.Open("relay target crm", "") },
	} {
		if got, err := open(); got != "" || !errors.Is(err, sealed.ErrOpen) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var none sealed.Box
	if _, err := none.Seal("a", "b"); !errors.Is(err, sealed.ErrNoKey) {
		t.Errorf("seal without a key: %v", err)
	}
	if _, err := sealed.New("").Open("a", text); !errors.Is(err, sealed.ErrNoKey) {
		t.Errorf("open without a key: %v", err)
	}
}
