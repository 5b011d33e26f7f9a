package feed

import (
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

// KeepAlive sets after which time a stream without events gets a comment.
func KeepAlive(f *Feed, d time.Duration) { f.keepAlive = d }

// EncodeCursor returns the text of a cursor.
func EncodeCursor(at time.Time, places map[string]events.Place, shards message.Shards) string {
	return cursor{at, places}.encode(shards)
}

// DecodeCursor reads the text of a cursor.
func DecodeCursor(text string, shards message.Shards) (time.Time, map[string]events.Place, error) {
	c, err := decodeCursor(text, shards)
	return c.at, c.places, err
}
