package httpapi

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The scopes an API key may have.
const (
	ScopeSend   = "messages:send"   // order messages
	ScopeRead   = "messages:read"   // see what became of them, and why they wait
	ScopeCancel = "messages:cancel" // take them back
	ScopeAdmin  = "admin"           // the console: holds, doubts, dead letters
)

// Scopes returns every scope.
func Scopes() []string { return []string{ScopeSend, ScopeRead, ScopeCancel, ScopeAdmin} }

// AllNumbers in a key's numbers stands for every number there is.
const AllNumbers = "*"

// Key is an API key as it is kept: without the token itself.
type Key struct {
	Name    string    // for people, and for the trail of what was ordered by it
	Hash    string    // HashToken of the token: SHA-256, lower-case hex
	Scopes  []string  // of Scopes
	Numbers []string  // phone number ids, or AllNumbers; none: the key reaches nothing
	Revoked bool      // known, and refused
	Expires time.Time // from when on it is refused; zero: never
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
	hash := hashToken(token)
	return string(hash[:])
}

func hashToken(token string) (hash [2 * sha256.Size]byte) {
	var text [128]byte // room for a token of ours, so that nothing is allocated
	sum := sha256.Sum256(append(text[:0], token...))
	hex.Encode(hash[:], sum[:])
	return hash
}

// Covers tells whether the key reaches a number.
func (k Key) Covers(number string) bool {
	return k.CoversAll() || slices.Contains(k.Numbers, number)
}

// CoversAll tells whether the key reaches every number there is.
func (k Key) CoversAll() bool { return slices.Contains(k.Numbers, AllNumbers) }

// Keys are all keys that are known.
type Keys []Key

// Authorize returns the key of a request, which must have the scope.
func (ks Keys) Authorize(r *http.Request, scope string) (Key, Refusal) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return Key{}, Refuse("header_duplicate")
	}
	key, ok := ks.key(strings.Join(headers, ""))
	switch {
	case !ok:
		return Key{}, Refuse("unauthenticated")
	case key.Revoked:
		return Key{}, Refuse("api_key_revoked")
	case !key.Expires.IsZero() && !time.Now().Before(key.Expires):
		return Key{}, Refuse("api_key_expired")
	case !slices.Contains(key.Scopes, scope):
		return Key{}, Refuse("scope_missing")
	}
	return key, nil
}

// key finds the key of an Authorization header. It looks at all keys whatever it finds, so
// that the time it takes tells nothing.
func (ks Keys) key(header string) (found Key, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	hash := hashToken(token)
	var known [len(hash)]byte
	for i := range ks {
		if copy(known[:], ks[i].Hash); len(ks[i].Hash) == len(known) && subtle.ConstantTimeCompare(hash[:], known[:]) == 1 {
			found, ok = ks[i], true
		}
	}
	return found, ok && strings.EqualFold(scheme, "Bearer")
}
