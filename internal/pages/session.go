package pages

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/httpapi"
	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	sessionCookie = "sluice_session"
	sessionLife   = 12 * time.Hour // since the last page that was opened
)

// session is an operator who is signed in.
type session struct {
	id    string // of the cookie
	key   httpapi.Key
	actor string // the name of the operator, for the audit log
}

// sessions are the sessions of all producers of an installation, in Redis. A session ends when its API key is revoked,
// expires, changes, or is removed from the configuration.
type sessions struct {
	db   *store.DB
	keys httpapi.Keys
}

// stored is a session in Redis. It has neither the id nor the API key. Proof shows that the program that stored it knew
// both, so that a session cannot be made by writing to Redis, and the hash of the API key cannot be found by reading.
type stored struct {
	Key   string `json:"key"` // the name of the API key
	Proof string `json:"proof"`
	Actor string `json:"actor"`
}

// sessionKey returns the Redis key of a session: it is named by the hash of its id.
func sessionKey(id string) string {
	sum := sha256.Sum256([]byte(id))
	return store.Key(message.Shard(0), "console:session:"+hex.EncodeToString(sum[:]))
}

// proof returns an HMAC of the hash of an API key, keyed by the id of a session.
func proof(id string, k httpapi.Key) string {
	mac := hmac.New(sha256.New, []byte(id))
	mac.Write([]byte(k.Name + "\n" + k.Hash))
	return hex.EncodeToString(mac.Sum(nil))
}

// add stores a new session and returns its id.
func (s sessions) add(ctx context.Context, k httpapi.Key, actor string) (string, error) {
	var secret [32]byte
	rand.Read(secret[:]) // never returns an error
	id := base64.RawURLEncoding.EncodeToString(secret[:])
	text, err := json.Marshal(stored{k.Name, proof(id, k), actor})
	if err == nil {
		err = s.db.Set(ctx, sessionKey(id), text, sessionLife).Err()
	}
	if err != nil {
		return "", fmt.Errorf("store session: %w", err)
	}
	return id, nil
}

// errSignedOut means that there is no such session, or that its API key is no longer valid.
var errSignedOut = errors.New("the session has ended")

// get returns a session, or errSignedOut. With extend the session lives for another sessionLife.
func (s sessions) get(ctx context.Context, id string, extend bool) (session, error) {
	var text []byte
	var err error
	if extend {
		text, err = s.db.GetEx(ctx, sessionKey(id), sessionLife).Bytes()
	} else {
		text, err = s.db.Get(ctx, sessionKey(id)).Bytes()
	}
	if errors.Is(err, redis.Nil) {
		return session{}, errSignedOut
	}
	var in stored
	if err == nil {
		err = json.Unmarshal(text, &in)
	}
	if err != nil {
		return session{}, fmt.Errorf("read session: %w", err)
	}
	keys := s.keys()
	i := slices.IndexFunc(keys, func(k httpapi.Key) bool {
		return k.Name == in.Key && hmac.Equal([]byte(proof(id, k)), []byte(in.Proof))
	})
	if i < 0 || !keys[i].Usable(httpapi.ScopeConsole) {
		return session{}, errSignedOut
	}
	return session{id, keys[i], in.Actor}, nil
}

// end deletes a session.
func (s sessions) end(ctx context.Context, id string) error {
	if err := s.db.Del(ctx, sessionKey(id)).Err(); err != nil {
		return fmt.Errorf("delete session: %w", err)
	}
	return nil
}

// setCookie sets a cookie of the pages, which scripts and other sites cannot use; seconds < 0 deletes it. Browsers send
// cookies to all ports of a host, so it is limited to the paths of the pages.
func setCookie(w http.ResponseWriter, r *http.Request, name, value string, seconds int) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: root, MaxAge: seconds,
		HttpOnly: true, Secure: httpapi.Origin(r).Scheme == "https", SameSite: http.SameSiteStrictMode,
	})
}
