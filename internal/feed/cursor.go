package feed

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strconv"
	"strings"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

// cursor is a position in the feed: a place in each stream that the filter needs.
type cursor struct {
	at     time.Time               // about everything before this time was delivered; streams without a place begin here
	places map[string]events.Place // by key of the stream
}

// The text of a cursor is the base64 of: a version, the time in Unix milliseconds, and for each stream its number in
// the list of all streams, with a flag for a place without an entry, and the place. A checksum at the end finds
// cursors that were cut or changed. Callers must not read it. It has no secret: it contains positions only, and each
// request is checked with its own API key.
const cursorVersion = 1

var errCursor = errors.New("not a cursor")

// encode returns the text of a cursor.
func (c cursor) encode(shards message.Shards) string {
	at := c.at.UnixMilli()
	b := make([]byte, 0, 16*len(c.places)+16)
	b = append(b, cursorVersion)
	b = binary.AppendVarint(b, at)
	for i, key := range events.Keys(shards.All(), nil) {
		p, has := c.places[key]
		switch {
		case !has:
		case p.Entry == "":
			b = binary.AppendUvarint(b, uint64(2*i+1))
		default:
			ms, seq, _ := strings.Cut(p.Entry, "-")
			m, _ := strconv.ParseInt(ms, 10, 64)
			n, _ := strconv.ParseUint(seq, 10, 64)
			b = binary.AppendUvarint(b, uint64(2*i))
			b = binary.AppendVarint(b, at-m)
			b = binary.AppendUvarint(b, n)
			b = binary.AppendUvarint(b, uint64(p.N))
			b = binary.AppendUvarint(b, uint64(p.Count))
		}
	}
	return base64.RawURLEncoding.EncodeToString(binary.BigEndian.AppendUint32(b, crc32.ChecksumIEEE(b)))
}

// decodeCursor reads the text of a cursor.
func decodeCursor(text string, shards message.Shards) (cursor, error) {
	b, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil || len(b) < 6 || b[0] != cursorVersion {
		return cursor{}, errCursor
	}
	body, sum := b[:len(b)-4], binary.BigEndian.Uint32(b[len(b)-4:])
	if crc32.ChecksumIEEE(body) != sum {
		return cursor{}, errCursor
	}
	r := numbers{rest: body[1:]}
	at := r.signed()
	c := cursor{at: time.UnixMilli(at), places: map[string]events.Place{}}
	keys := events.Keys(shards.All(), nil)
	for len(r.rest) > 0 && !r.bad {
		i := r.unsigned()
		if i/2 >= uint64(len(keys)) {
			return cursor{}, errCursor
		}
		var p events.Place
		if i%2 == 0 {
			p.Entry = fmt.Sprintf("%d-%d", at-r.signed(), r.unsigned())
			p.N, p.Count = int(r.unsigned()), int64(r.unsigned())
		}
		c.places[keys[i/2]] = p
	}
	if r.bad || at <= 0 {
		return cursor{}, errCursor
	}
	return c, nil
}

// numbers reads numbers one after the other.
type numbers struct {
	rest []byte
	bad  bool // a number could not be read
}

func (r *numbers) signed() int64 {
	v, n := binary.Varint(r.rest)
	r.skip(n)
	return v
}

func (r *numbers) unsigned() uint64 {
	v, n := binary.Uvarint(r.rest)
	r.skip(n)
	return v
}

func (r *numbers) skip(n int) {
	if n <= 0 {
		r.rest, r.bad = nil, true
		return
	}
	r.rest = r.rest[n:]
}
