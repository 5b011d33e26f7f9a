package intake

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
)

// The scopes an API key may have.
const (
	ScopeSend = "messages:send"
	ScopeRead = "messages:read"
)

// AllNumbers in a key's numbers stands for every number there is.
const AllNumbers = "*"

// Key is an API key as it is kept: without the token itself.
type Key struct {
	Hash    string   // HashToken of the token: SHA-256, lower-case hex
	Scopes  []string // ScopeSend, ScopeRead
	Numbers []string // phone number ids, or AllNumbers; none: the key reaches nothing
	Revoked bool     // known, and refused
}

// NewToken makes the token of a new key, of 256 random bits. It is shown once and kept by
// its owner; HashToken of it is what we keep.
func NewToken() string {
	var secret [32]byte
	rand.Read(secret[:]) // never fails: it ends the program instead
	return "sk_" + base64.RawURLEncoding.EncodeToString(secret[:])
}

// HashToken is the SHA-256 of a token, in lower-case hex. A token of NewToken needs no slower hash:
// nobody can guess 256 bits.
func HashToken(token string) string {
	sum := sha256.Sum256([]byte(token))
	return hex.EncodeToString(sum[:])
}

func (k Key) covers(number string) bool {
	return slices.Contains(k.Numbers, AllNumbers) || slices.Contains(k.Numbers, number)
}

// authorize returns the key of a request, which must have the scope.
func (in *Intake) authorize(r *http.Request, scope string) (Key, refusal) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return Key{}, refuse("header_duplicate")
	}
	key, ok := in.key(strings.Join(headers, ""))
	switch {
	case !ok:
		return Key{}, refuse("unauthenticated")
	case key.Revoked:
		return Key{}, refuse("key_revoked")
	case !slices.Contains(key.Scopes, scope):
		return Key{}, refuse("scope_missing")
	}
	return key, nil
}

// key finds the key of an Authorization header. It looks at all keys whatever it finds, so
// that the time it takes tells nothing.
func (in *Intake) key(header string) (found Key, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	hash := []byte(HashToken(token))
	for _, k := range in.o.Keys {
		if subtle.ConstantTimeCompare(hash, []byte(k.Hash)) == 1 {
			found, ok = k, true
		}
	}
	return found, ok && strings.EqualFold(scheme, "Bearer")
}
