// Package secrets protects what is stored in Redis, so that a copy of Redis does not reveal it: it encrypts secrets, and makes keyed
// hashes for indexes.
package secrets

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
)

// prefix begins an encrypted text. Another algorithm gets another one.
const prefix = "v1."

var (
	// ErrNoKey means that there is no key.
	ErrNoKey = errors.New("there is no key for secrets. Set secrets_key_file or SLUICE_SECRETS_KEY, with the same key for producers and workers")
	// ErrDecrypt means that the text was encrypted with another key or for another purpose, or was changed since.
	ErrDecrypt = errors.New("the secret was encrypted with another key. Use the same secrets key for producers and workers, or set the secret again")
)

// Box encrypts secrets with a key, by AES-256-GCM, and decrypts them with this key or a second one. The zero value has no key. It
// is safe for concurrent use.
type Box struct{ first, second cipher.AEAD }

// New returns a box with keys of any length. second, which may be empty, is there while the key changes. An empty key makes a box
// that encrypts nothing.
func New(key, second string) Box { return Box{newAEAD(key), newAEAD(second)} }

func newAEAD(key string) cipher.AEAD {
	if key == "" {
		return nil
	}
	derived, err := hkdf.Key(sha256.New, []byte(key), nil, "sluice secrets", 32)
	if err != nil {
		panic(err) // cannot happen: the length is allowed
	}
	block, err := aes.NewCipher(derived)
	if err != nil {
		panic(err) // cannot happen: the key has 32 bytes
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // cannot happen: the block has 16 bytes
	}
	return aead
}

// Hasher returns a function that makes a keyed hash of 8 bytes, HMAC-SHA256, for an index: without the key it cannot be found out
// by trying which text a hash is of. It is nil if the key is empty. The function is safe for concurrent use.
func Hasher(key, purpose string) func(text string) string {
	if key == "" {
		return nil
	}
	derived, err := hkdf.Key(sha256.New, []byte(key), nil, "sluice "+purpose, sha256.Size)
	if err != nil {
		panic(err) // cannot happen: the length is allowed
	}
	return func(text string) string {
		mac := hmac.New(sha256.New, derived)
		mac.Write([]byte(text))
		return string(mac.Sum(nil)[:8])
	}
}

// HasKey reports whether the box has a key to encrypt with.
func (b Box) HasKey() bool { return b.first != nil }

// Encrypt returns a text from which only Decrypt with the first key and the same purpose makes the secret again. Its error is
// ErrNoKey.
func (b Box) Encrypt(purpose, secret string) (string, error) {
	if b.first == nil {
		return "", ErrNoKey
	}
	return prefix + base64.RawURLEncoding.EncodeToString(b.first.Seal(nil, nil, []byte(secret), []byte(purpose))), nil
}

// Current reports whether a text is encrypted with the first key, for a purpose.
func (b Box) Current(purpose, text string) bool {
	_, err := Box{first: b.first}.Decrypt(purpose, text)
	return err == nil
}

// Decrypt returns the secret of an encrypted text. Its error is ErrNoKey or ErrDecrypt.
func (b Box) Decrypt(purpose, text string) (string, error) {
	if b.first == nil && b.second == nil {
		return "", ErrNoKey
	}
	encoded, known := strings.CutPrefix(text, prefix)
	raw, err := base64.RawURLEncoding.DecodeString(encoded)
	if err != nil || !known {
		return "", fmt.Errorf("%w (it is not an encrypted secret)", ErrDecrypt)
	}
	for _, aead := range []cipher.AEAD{b.first, b.second} {
		if aead == nil {
			continue
		}
		if secret, err := aead.Open(nil, nil, raw, []byte(purpose)); err == nil {
			return string(secret), nil
		}
	}
	return "", ErrDecrypt
}
