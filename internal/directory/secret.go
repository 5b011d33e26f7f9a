package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"time"
)

// secretsOf has the names of the secrets of each kind.
var secretsOf = map[Kind][]string{
	KindNumber: {SecretAccessToken},
	KindApp:    {SecretApp, SecretPreviousApp, SecretVerifyToken},
}

// purpose is what a secret is encrypted for: in another entry it cannot be decrypted.
func purpose(kind Kind, id, name string) string {
	return "directory " + string(kind) + " " + id + " " + name
}

// seal encrypts a secret.
func (s *Store) seal(kind Kind, id, name, secret string, now time.Time) (sealed, error) {
	text, err := s.o.Box.Encrypt(purpose(kind, id, name), secret)
	return sealed{text, SecretInfo{fingerprint(secret), now.UTC().Truncate(time.Second)}}, err
}

// fingerprint identifies a secret and does not reveal it.
func fingerprint(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:4])
}
