// Package seal keeps messages from being forged in the store: who accepts one seals its
// content, who sends it looks at the seal. A person who can write to the store, and has no
// key, cannot send a text of his own.
package seal

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"

	"sluice/internal/message"
)

// Seal has the keys, the one that seals first; each is good for looking. Without keys nothing
// is sealed or looked at. It is safe for concurrent use.
type Seal struct{ keys []string }

// New returns a seal with those of the keys that are not empty.
func New(keys ...string) Seal {
	var s Seal
	for _, k := range keys {
		if k != "" {
			s.keys = append(s.keys, k)
		}
	}
	return s
}

// Close returns the content of message id, a JSON object, with its seal in front.
func (s Seal) Close(id string, object []byte) []byte {
	if len(s.keys) == 0 {
		return object
	}
	return append(sum(s.keys[0], id, object), object...)
}

// Open returns the content without the seal, or message.ErrTampered when the seal is not of
// this content, this message and one of the keys. Without keys every seal is good, and none
// too.
func (s Seal) Open(id string, sealed []byte) ([]byte, error) {
	object := sealed[max(0, bytes.IndexByte(sealed, '{')):] // which no seal has in it
	if len(s.keys) == 0 {
		return object, nil
	}
	for _, key := range s.keys {
		if hmac.Equal(sealed[:len(sealed)-len(object)], sum(key, id, object)) {
			return object, nil
		}
	}
	return nil, fmt.Errorf("%w: its seal does not fit the payload key", message.ErrTampered)
}

func sum(key, id string, object []byte) []byte {
	h := hmac.New(sha256.New, []byte(key))
	h.Write([]byte(id + "\x00")) // so that the content of one message is none for another
	h.Write(object)
	return base64.RawURLEncoding.AppendEncode(nil, h.Sum(nil))
}
