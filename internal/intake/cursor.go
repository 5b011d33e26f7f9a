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

// A cursor is a list's position, encrypted and signed with a key that is made of the caller's API key. So every
// producer can read it, nobody can make one, and it does not show the ids of messages that the API key does not
// reach, which the lists in Redis have too.

// sealCursor writes the position of a list that a query made.
func sealCursor(key httpapi.Key, query string, p message.ListPosition) string {
	text, err := json.Marshal(p)
	if err != nil {
		panic(err) // it has numbers and a string
	}
	return base64.RawURLEncoding.EncodeToString(cursorCipher(key).Seal(nil, nil, text, []byte(query)))
}

// openCursor reads a cursor. It is false for one that was made for another query or another API key, or that
// was changed.
func openCursor(key httpapi.Key, query, cursor string) (p message.ListPosition, ok bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(cursor)
	if err != nil {
		return p, false
	}
	text, err := cursorCipher(key).Open(nil, nil, sealed, []byte(query))
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
