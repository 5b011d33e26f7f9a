package secrets_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/secrets"
)

func TestEncryptAndDecrypt(t *testing.T) {
	t.Parallel()
	b := secrets.New("0123456789abcdef")
	text, err := b.Encrypt("relay target crm", "the secret")
	if err != nil || strings.Contains(text, "secret") {
		t.Fatalf("%q, %v", text, err)
	}
	if again, _ := b.Encrypt("relay target crm", "the secret"); again == text {
		t.Error("the same secret is encrypted to the same text twice")
	}
	if got, err := b.Decrypt("relay target crm", text); got != "the secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	for name, open := range map[string]func() (string, error){
		"another key":     func() (string, error) { return secrets.New("another key").Decrypt("relay target crm", text) },
		"another purpose": func() (string, error) { return b.Decrypt("relay target shop", text) },
		"changed":         func() (string, error) { return b.Decrypt("relay target crm", text[:len(text)-2]+"AA") },
		"cut":             func() (string, error) { return b.Decrypt("relay target crm", text[:8]) },
		"not encrypted":   func() (string, error) { return b.Decrypt("relay target crm", "the secret") },
		"empty":           func() (string, error) { return b.Decrypt("relay target crm", "") },
	} {
		if got, err := open(); got != "" || !errors.Is(err, secrets.ErrDecrypt) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	var none secrets.Box
	if _, err := none.Encrypt("a", "b"); !errors.Is(err, secrets.ErrNoKey) {
		t.Errorf("encrypt without a key: %v", err)
	}
	if _, err := secrets.New("").Decrypt("a", text); !errors.Is(err, secrets.ErrNoKey) {
		t.Errorf("decrypt without a key: %v", err)
	}
}
