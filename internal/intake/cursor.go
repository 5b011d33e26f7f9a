package intake

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

// A cursor is a position in a list, encrypted and authenticated with a key that is derived from the API key of the
// caller. So every producer can read it, and callers can neither forge it nor read it. They must not read it,
// because it may have the id of a message that the API key does not cover.

// encodeCursor returns the cursor for a position in the list of a query.
func encodeCursor(key httpapi.Key, query string, p message.ListPosition) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // cannot fail for numbers and a string
	}
	return base64.RawURLEncoding.EncodeToString(cursorCipher(key).Seal(nil, nil, text, []byte(query)))
}

// decodeCursor returns the position of a cursor. It is false if the cursor is for another query or another API
// key, or was changed.
func decodeCursor(key httpapi.Key, query, cursor string) (p message.ListPosition, ok bool) {
	encrypted, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return p, false
	}
	text, err := cursorCipher(key).Open(nil, nil, encrypted, []byte(query))
	return p, err == nil && json.Unmarshal(text, &p) == nil
}

func cursorCipher(key httpapi.Key) cipher.AEAD {
	secret := sha256.Sum256([]byte("sluice cursor\x00" + key.Hash))
	block, err := aes.NewCipher(secret[:])
	if err != nil {
		panic(err) // the key has 32 bytes
	}
	gcm, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		panic(err) // AES has blocks of 16 bytes
	}
	return gcm
}
