package webhook

import (
	"errors"
	"io"
	"sync/atomic"
)

// Anybody can send bodies, and nobody is known by his address: behind an ingress all of them,
// Meta's too, come from one. So what strangers may take of the memory is bounded for all of them
// together. Small bodies, which most of Meta's are, count for nothing: they are taken whatever
// others send.
const (
	smallBody  = 16 << 10 // 4,096 connections with one each are 64 MiB
	largeTotal = 16 << 20 // of all bodies at once, beyond their first smallBody
)

var errCrowded = errors.New("others take the memory")

// crowd counts what the bodies in hand take. It is safe for concurrent use.
type crowd struct{ bytes atomic.Int64 }

// stranger is one of them while it is in hand.
type stranger struct {
	io.Reader
	crowd         *crowd
	size, counted int64
}

// Read fails with errCrowded when there is no room for what came.
func (b *stranger) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.size += int64(n)
	if more := b.size - smallBody - b.counted; more > 0 {
		b.counted += more
		if b.crowd.bytes.Add(more) > largeTotal {
			return n, errCrowded
		}
	}
	return n, err
}

// forget gives back what was counted.
func (b *stranger) forget() { b.crowd.bytes.Add(-b.counted) }
