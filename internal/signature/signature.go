// Package signature signs the payload of a message when it is accepted, and verifies the signature before
// the payload is sent. Write access to Redis alone, without a payload key, is not enough to send other content.
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

// Signer has the payload keys. It signs with the first key, and accepts signatures of every key. Without
// keys it signs and verifies nothing. It is safe for concurrent use.
type Signer struct{ keys []*key }

// key pools MACs that are initialised with the key. The initialisation costs as much as a small payload.
type key struct{ macs sync.Pool }

// signatureLen is the length of a signature in base64.
var signatureLen = base64.RawURLEncoding.EncodedLen(sha256.Size)

// New returns a Signer with the keys. It skips empty keys.
func New(keys ...string) Signer {
	var s Signer
	for _, k := range keys {
		if k != "" {
			s.keys = append(s.keys, &key{sync.Pool{New: func() any { return hmac.New(sha256.New, []byte(k)) }}})
		}
	}
	return s
}

// Sign returns the payload of message id, a JSON object, with its signature before it.
func (s Signer) Sign(id string, object []byte) []byte {
	if len(s.keys) == 0 {
		return object
	}
	signed := make([]byte, 0, signatureLen+len(object))
	return append(s.keys[0].mac(signed, id, object), object...)
}

// Verify returns the payload without the signature. It returns message.ErrTampered when the signature is not
// of this payload, this message and one of the keys. Without keys it accepts every payload, signed or not.
func (s Signer) Verify(id string, signed []byte) ([]byte, error) {
	object := signed[max(0, bytes.IndexByte(signed, '{')):] // a signature has no '{'
	if len(s.keys) == 0 {
		return object, nil
	}
	var wanted [64]byte
	for _, k := range s.keys {
		if hmac.Equal(signed[:len(signed)-len(object)], k.mac(wanted[:0], id, object)) {
			return object, nil
		}
	}
	return nil, fmt.Errorf("%w: the signature does not match the payload keys", message.ErrTampered)
}

// mac appends the signature of a payload.
func (k *key) mac(b []byte, id string, object []byte) []byte {
	h := k.macs.Get().(hash.Hash)
	defer k.macs.Put(h)
	h.Reset()
	var buffer [96]byte                           // for the id, then for the sum
	h.Write(append(append(buffer[:0], id...), 0)) // binds the payload to its message
	h.Write(object)
	return base64.RawURLEncoding.AppendEncode(b, h.Sum(buffer[:0]))
}
