package client

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
)

// SignatureHeader is the header with the signature of a relayed request.
const SignatureHeader = "X-Hub-Signature-256"

// ErrSignature means that a relayed request has no valid signature: it is not from Sluice, or the secret is not that of
// the relay target. Answer 403 and do not use the body.
var ErrSignature = errors.New("the request has no valid signature. Check that the secret is that of the relay target")

// VerifyWebhook checks the signature of a request that the relay of Sluice sent to your URL. secret is that of the relay
// target, and header and body are those of the request. The body must be as it was received.
func VerifyWebhook(secret string, header http.Header, body []byte) error {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write(body)
	text, ok := strings.CutPrefix(header.Get(SignatureHeader), "sha256=")
	sent, err := hex.DecodeString(text)
	if !ok || err != nil || secret == "" || !hmac.Equal(sent, mac.Sum(nil)) {
		return ErrSignature
	}
	return nil
}

// ParseWebhook returns the events of a relayed request, of a relay target with the format sluice. Verify the signature
// first. The format meta has the form of Meta's own webhooks.
func ParseWebhook(body []byte) ([]Event, error) {
	var request struct {
		Events []Event `json:"events"`
	}
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("read the relayed events: %w", err)
	}
	if request.Events == nil {
		return nil, errors.New("the request has no events. Check that the relay target has the format sluice")
	}
	return request.Events, nil
}
