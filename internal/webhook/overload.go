package webhook

import (
	"errors"
	"io"
	"sync/atomic"
)

// Load shedding: a client is unauthenticated until its whole body is read, and client addresses do not help,
// because behind an ingress all requests come from one address. So the limit is on the memory of all bodies
// together. Small bodies do not count and are always accepted. Most of Meta's bodies are small.
const (
	smallBody  = 16 << 10 // on 4,096 connections at most 64 MiB
	largeTotal = 16 << 20 // for all running requests, without the first smallBody bytes of each
)

var errOverloaded = errors.New("other bodies use the memory")

// budget counts the memory of the bodies of running requests. It is safe for concurrent use.
type budget struct{ bytes atomic.Int64 }

// countedBody is a body that counts against a budget.
type countedBody struct {
	io.Reader
	budget        *budget
	size, counted int64
}

// Read returns errOverloaded when the budget is used up.
func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.Reader.Read(p)
	b.size += int64(n)
	if more := b.size - smallBody - b.counted; more > 0 {
		b.counted += more
		if b.budget.bytes.Add(more) > largeTotal {
			return n, errOverloaded
		}
	}
	return n, err
}

// release returns the memory of the body to the budget.
func (b *countedBody) release() { b.budget.bytes.Add(-b.counted) }
