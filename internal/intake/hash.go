package intake

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"

	"sluice/internal/message"
)

// asked is what a caller asked for, all but the key under which he asked it.
type asked struct {
	From      string        `json:"from"`
	Class     message.Class `json:"class"` // as given: a default may change between a request and its repeat
	Ref       string        `json:"ref"`
	Tags      []string      `json:"tags"`
	SendAt    time.Time     `json:"send_at"`    // as given
	ExpiresAt time.Time     `json:"expires_at"` // as given: a default counts from the first request
	Message   any           `json:"message"`    // decoded, so that its members are sorted
}

// hash tells a repeat from another request under the same key. The order of members, white
// space and the way characters are escaped do not count. 128 bits are plenty against
// accidents, and nobody gains by a collision with his own key.
func (a asked) hash() string {
	canonical, _ := json.Marshal(a) // what came from JSON can go there again
	sum := sha256.Sum256(canonical)
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
