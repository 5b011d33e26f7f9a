package httpapi

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// The scopes of API keys.
const (
	ScopeSend    = "messages:send"   // send messages
	ScopeRead    = "messages:read"   // read and list records, and explain why messages wait
	ScopeCancel  = "messages:cancel" // cancel messages
	ScopeAccount = "account:write"   // change message templates, flows and settings on Meta's paths
	ScopeEvents  = "events:read"     // read events
	ScopeConsole = "console:read"    // see the console, and change nothing there
	ScopeAdmin   = "admin"           // use the console: holds, in-doubt messages, dead letters; has ScopeConsole too
)

// Scopes returns every scope.
func Scopes() []string {
	return []string{ScopeSend, ScopeRead, ScopeCancel, ScopeAccount, ScopeEvents, ScopeConsole, ScopeAdmin}
}

// AllNumbers in the numbers of a key means all phone number ids.
const AllNumbers = "*"

// Key is an API key as the configuration has it: with the hash of the token.
type Key struct {
	Name    string    // for operators, and for the audit log
	Hash    string    // HashToken of the token: SHA-256, lower-case hex
	Scopes  []string  // the scopes that it has
	Numbers []string  // the phone number ids that it covers, or AllNumbers; empty: none
	Revoked bool      // it is refused with a code of its own
	Expires time.Time // it is refused from this time on; zero: it does not expire
	Client  string    // it sees only messages of this client; empty: all
	Account string    // messaging account of messages that name none; empty: that of the number
	Shared  []string  // of the numbers: those that messages of other clients are sent from too

	LastUse *atomic.Int64 // when a request with it was last allowed, in Unix seconds; nil: not kept
}

// NewToken returns the token of a new key, with 256 random bits. Its owner keeps it, and the configuration has
// only its hash, see HashToken.
func NewToken() string {
	var secret [32]byte
	rand.Read(secret[:]) // never returns an error
	return "sk_" + base64.RawURLEncoding.EncodeToString(secret[:])
}

// HashToken returns the SHA-256 of a token, in lower-case hex. A slower hash is not needed, because 256 random
// bits cannot be guessed.
func HashToken(token string) string {
	hash := hashToken(token)
	return string(hash[:])
}

func hashToken(token string) (hash [2 * sha256.Size]byte) {
	var text [128]byte // large enough for tokens of NewToken, to allocate nothing
	sum := sha256.Sum256(append(text[:0], token...))
	hex.Encode(hash[:], sum[:])
	return hash
}

// Covers reports whether the key may be used for a phone number id.
func (k Key) Covers(number string) bool {
	return k.CoversAll() || slices.Contains(k.Numbers, number)
}

// Sees reports whether the key may see a message of a client, or of none, of a number that the key covers. A message without a
// client is of the client of its number.
func (k Key) Sees(client, number string) bool {
	return k.Client == "" || client == k.Client || client == "" && !slices.Contains(k.Shared, number)
}

// CoversAll reports whether the key may be used for all phone number ids.
func (k Key) CoversAll() bool { return slices.Contains(k.Numbers, AllNumbers) }

// Expired reports whether the key has expired at a time.
func (k Key) Expired(at time.Time) bool { return !k.Expires.IsZero() && !at.Before(k.Expires) }

// Has reports whether the key has a scope. The scope admin includes console:read.
func (k Key) Has(scope string) bool {
	return slices.Contains(k.Scopes, scope) || scope == ScopeConsole && slices.Contains(k.Scopes, ScopeAdmin)
}

// Usable reports whether the key is valid now and has a scope.
func (k Key) Usable(scope string) bool {
	_, refused := k.with(scope)
	return refused == nil
}

// Keys returns all API keys, as they are now. nil has none.
type Keys func() []Key

// FixedKeys returns Keys that never change.
func FixedKeys(keys ...Key) Keys { return func() []Key { return keys } }

func (ks Keys) all() []Key {
	if ks == nil {
		return nil
	}
	return ks()
}

// bearerKey is the key of the name of an API key in a context.
type bearerKey struct{}

// As returns a context for requests that this process makes to its own APIs without HTTP, with the rights of an API
// key. Such a request needs no header: Authorize takes the configured key with this name and hash. A request that
// comes over HTTP cannot set it. Only internal/pages calls As, after it has checked a session.
func As(ctx context.Context, k Key) context.Context { return context.WithValue(ctx, bearerKey{}, k) }

// Authorize returns the API key of a request. It refuses a request without a valid key, and one whose key has none of
// the scopes.
func (ks Keys) Authorize(r *http.Request, scopes ...string) (Key, Refusal) {
	if k, ok := r.Context().Value(bearerKey{}).(Key); ok {
		return ks.same(k, scopes...)
	}
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return Key{}, Refuse("header_duplicate")
	}
	key, ok := ks.key(strings.Join(headers, ""))
	if !ok {
		return Key{}, Refuse("unauthenticated")
	}
	return key.with(scopes...)
}

// Named returns the API key with a name, for requests that do not come over HTTP. It refuses the same keys as Authorize.
func (ks Keys) Named(name, scope string) (Key, Refusal) {
	for _, k := range ks.all() {
		if k.Name == name {
			return k.with(scope)
		}
	}
	return Key{}, Refuse("unauthenticated")
}

// Valid reports whether a key that Authorize returned earlier is still valid, has a scope and covers the same numbers.
func (ks Keys) Valid(k Key, scope string) bool {
	now, refused := ks.same(k, scope)
	return refused == nil && slices.Equal(now.Numbers, k.Numbers)
}

// same returns the configured key with the name and the hash of k.
func (ks Keys) same(k Key, scopes ...string) (Key, Refusal) {
	for _, other := range ks.all() {
		if other.Name == k.Name && other.Hash == k.Hash {
			return other.with(scopes...)
		}
	}
	return Key{}, Refuse("unauthenticated")
}

// OfToken returns the API key with a token. It refuses the same keys as Authorize.
func (ks Keys) OfToken(token, scope string) (Key, Refusal) {
	key, ok := ks.key("Bearer " + token)
	if !ok {
		return Key{}, Refuse("unauthenticated")
	}
	return key.with(scope)
}

// with returns the key if it is valid now and has one of the scopes.
func (k Key) with(scopes ...string) (Key, Refusal) {
	now := time.Now()
	switch {
	case k.Revoked:
		return Key{}, Refuse("api_key_revoked")
	case k.Expired(now):
		return Key{}, Refuse("api_key_expired")
	case !slices.ContainsFunc(scopes, k.Has):
		return Key{}, Refuse("scope_missing")
	}
	if at := now.Unix(); k.LastUse != nil && k.LastUse.Load() != at { // without a write to shared memory for each request
		k.LastUse.Store(at)
	}
	return k, nil
}

// key finds the key of an Authorization header. It always compares all keys, so that its duration reveals
// nothing about them.
func (ks Keys) key(header string) (found Key, ok bool) {
	scheme, token, _ := strings.Cut(header, " ")
	hash := hashToken(token)
	var known [len(hash)]byte
	all := ks.all()
	for i := range all {
		if copy(known[:], all[i].Hash); len(all[i].Hash) == len(known) && subtle.ConstantTimeCompare(hash[:], known[:]) == 1 {
			found, ok = all[i], true
		}
	}
	return found, ok && strings.EqualFold(scheme, "Bearer")
}
