package cloudapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// SignatureHeader is the header with the signature of a webhook.
const SignatureHeader = "X-Hub-Signature-256"

const signaturePrefix = "sha256="

// Sign returns the value of SignatureHeader for a body: "sha256=" and the HMAC-SHA256 of the raw bytes with the app
// secret, in lower-case hex.
func Sign(secret string, body []byte) string {
	return signaturePrefix + hex.EncodeToString(sum(secret, body))
}

// Signature reports whether header has the form of a signature.
func Signature(header string) bool {
	_, ok := digest(header)
	return ok
}

// digest returns the digest in a header.
func digest(header string) ([]byte, bool) {
	if len(header) != len(signaturePrefix)+2*sha256.Size || !strings.HasPrefix(header, signaturePrefix) {
		return nil, false
	}
	d, err := hex.DecodeString(header[len(signaturePrefix):])
	return d, err == nil
}

// Verify reports whether header is the signature of body with one of the secrets, and returns the index of the secret.
// Several secrets are valid during a rotation. body must be the raw bytes, because encoding it again changes escapes.
// Empty secrets never match. Verify always tries all secrets, so that its duration reveals nothing.
func Verify(header string, body []byte, secrets ...string) (int, bool) {
	given, ok := digest(header)
	if !ok {
		return 0, false
	}
	match := -1
	for i, secret := range secrets {
		if hmac.Equal(given, sum(secret, body)) && secret != "" && match < 0 {
			match = i
		}
	}
	return max(match, 0), match >= 0
}

func sum(secret string, body []byte) []byte {
	h := hmac.New(sha256.New, []byte(secret))
	h.Write(body)
	return h.Sum(nil)
}
