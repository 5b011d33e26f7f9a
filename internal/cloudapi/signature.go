package cloudapi

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"strings"
)

// SignatureHeader is the header in which Meta signs a webhook.
const SignatureHeader = "X-Hub-Signature-256"

const signaturePrefix = "sha256="

// Sign returns the value of SignatureHeader for a body: "sha256=" and the HMAC-SHA256 of
// the raw bytes under the app secret, in lower-case hex.
func Sign(secret string, body []byte) string {
	return signaturePrefix + hex.EncodeToString(sum(secret, body))
}

// Signature reports whether header has the form of a signature: what has not is refused before
// any body is read.
func Signature(header string) bool {
	_, ok := digest(header)
	return ok
}

// digest reads the digest in a header.
func digest(header string) ([]byte, bool) {
	if len(header) != len(signaturePrefix)+2*sha256.Size || !strings.HasPrefix(header, signaturePrefix) {
		return nil, false
	}
	d, err := hex.DecodeString(header[len(signaturePrefix):])
	return d, err == nil
}

// Verify reports whether header signs body under one of the secrets, and under which: more
// than one is valid while an app's secret is rotated. The body must be the raw bytes as they
// came: Meta escapes characters in ways that no re-encoding repeats. Empty secrets never
// match. Every secret is tried, whichever matches, so that the time taken tells nothing.
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
