// Package signature signs the payload of a message when it is accepted, and checks the signature before
// it is sent: a person who can write to Redis, and has no payload key, cannot send a text of their own.
package signature

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"hash"
	"sync"

	"sluice/internal/message"
)

// Signer has the payload keys: the first one signs, each of them may check. Without keys nothing is
// signed or checked. It is safe for concurrent use.
type Signer struct{ keys []*key }

// key keeps MACs that have taken in the key, which costs as much as a small payload.
type key struct{ macs sync.Pool }

// signatureLen is the length of a signature in base64.
var signatureLen = base64.RawURLEncoding.EncodedLen(sha256.Size)

// New returns a Signer with those of the keys that are not empty.
func New(keys ...string) Signer {
	var s Signer
	for _, k := range keys {
		if k != "" {
			s.keys = append(s.keys, &key{sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(k)) }}})
		}
	}
	return s
}

// Sign returns the payload of message id, a JSON object, with its signature in front.
func (s Signer) Sign(id string, object []byte) []byte {
	if len(s.keys) == 0 {
		return object
	}
	signed := make([]byte, 0, signatureLen+len(object))
	return append(s.keys[0].mac(signed, id, object), object...)
}

// Verify returns the payload without the signature, or message.ErrTampered when the signature is not
// of this payload, this message and one of the keys. Without keys every signature passes, and none
// too.
func (s Signer) Verify(id string, signed []byte) ([]byte, error) {
	object := signed[max(0, bytes.IndexByte(signed, '{')):] // which no signature has in it
	if len(s.keys) == 0 {
		return object, nil
	}
	var wanted [64]byte
	for _, k := range s.keys {
		if hmac.Equal(signed[:len(signed)-len(object)], k.mac(wanted[:0], id, object)) {
			return object, nil
		}
	}
	return nil, fmt.Errorf("%w: its signature does not match the payload key", message.ErrTampered)
}

// mac appends the signature of a payload.
func (k *key) mac(b []byte, id string, object []byte) []byte {
	h := k.macs.Get().(hash.Hash)
	defer k.macs.Put(h)
	h.Reset()
	var buffer [96]byte                           // of an id, and of a sum
	h.Write(append(append(buffer[:0], id...), 0)) // so that the payload of one message is none for another
	h.Write(object)
	return base64.RawURLEncoding.AppendEncode(b, h.Sum(buffer[:0]))
}
