package relay

import (
	"testing"

	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// TestReencrypt: after it the new key alone decrypts the secrets of targets, and a target without a secret stays as it is.
func TestReencrypt(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	const oldKey, newKey = "the old key 1234", "the new key 1234"
	targets := func(key, second string) *Targets { return NewTargets(db, 1, secrets.New(key, second)) }
	for name, secret := range map[string]string{"signed": "the secret", "plain": ""} {
		if _, err := targets(oldKey, "").Set(t.Context(), message.RelayTarget{Name: name, URL: "https://example.com"}, secret); err != nil {
			t.Fatal(err)
		}
	}
	if n, err := targets(newKey, oldKey).Reencrypt(t.Context()); n != 1 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
	all, err := targets(newKey, "").all(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got, err := targets(newKey, "").Secret(all["signed"]); got != "the secret" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := targets("another key 1234", "").Reencrypt(t.Context()); err == nil {
		t.Error("secrets that cannot be decrypted are no error")
	}
}
