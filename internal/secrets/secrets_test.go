package secrets_test

import (
	"errors"
	"strings"
	"testing"

	"sluice/internal/secrets"
)

func TestEncryptAndDecrypt(t *testing.T) {
	t.Parallel()
	b := secrets.New("0123456789abcdef", "")
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
		"another key":     func() (string, error) { return secrets.New("another key", "").Decrypt("relay target crm", text) },
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
	if _, err := secrets.New("", "").Decrypt("a", text); !errors.Is(err, secrets.ErrNoKey) {
		t.Errorf("decrypt without a key: %v", err)
	}
}

// TestChangeOfKey: while the key changes, both keys decrypt, and only the first one encrypts.
func TestChangeOfKey(t *testing.T) {
	t.Parallel()
	old, now, both := secrets.New("the old key 1234", ""), secrets.New("the new key 1234", ""), secrets.New("the new key 1234", "the old key 1234")
	before, _ := old.Encrypt("a", "the secret")
	if got, err := both.Decrypt("a", before); got != "the secret" || err != nil {
		t.Errorf("with the second key: %q, %v", got, err)
	}
	after, _ := both.Encrypt("a", "the secret")
	if got, err := now.Decrypt("a", after); got != "the secret" || err != nil {
		t.Errorf("with the first key alone: %q, %v", got, err)
	}
	if _, err := old.Decrypt("a", after); !errors.Is(err, secrets.ErrDecrypt) {
		t.Errorf("the second key encrypts: %v", err)
	}
}
