package directory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"sluice/internal/config"
)

// secretsOf has the names of the secrets of each kind.
var secretsOf = map[Kind][]string{
	KindNumber: {SecretAccessToken, SecretReplyHook},
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

// open decrypts the secrets of a document, if this process uses them. A secret that cannot be decrypted has an error.
func (d *Directory) open(kind Kind, id string, of document) map[string]opened {
	all := map[string]opened{}
	if !slices.Contains(d.uses, kind) {
		return all
	}
	for name, secret := range of.Secrets {
		value, err := d.store.o.Box.Decrypt(purpose(kind, id, name), secret.Text)
		if err != nil {
			err = fmt.Errorf("%s of the %s %s: %w", name, kind, id, err)
			d.log.Error("cannot decrypt a stored secret, it is not used", "entry", string(kind)+" "+id, "err", err)
		}
		all[name] = opened{config.Secret(value), err}
	}
	return all
}

// opened is a decrypted secret, or why it cannot be decrypted.
type opened struct {
	secret config.Secret
	err    error
}
