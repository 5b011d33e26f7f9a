package send

import (
	"slices"
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// rememberFor is how long a worker remembers an attempt: longer than any of them takes, and
	// than what a Redis loses that writes to its disk once a second.
	rememberFor = attemptMax
	// rememberMost bounds what is remembered of a shard, some 300 bytes for each attempt.
	rememberMost = 50_000
)

// memory is what this worker did lately, by shard. It grows only while the store answers: what
// was done before it went away stays until it is back. Its zero value is ready; it is safe for
// concurrent use.
type memory struct {
	mu     sync.Mutex
	shards map[message.Shard][]*message.Memory // the oldest first
}

// add remembers an attempt that has been recorded.
func (m *memory) add(s message.Shard, a message.Attempt, k int) *message.Memory {
	now := time.Now()
	e := &message.Memory{ID: a.ID, N: a.N, K: k, Token: a.Token, Accepted: a.Accepted, Since: now}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shards == nil {
		m.shards = map[message.Shard][]*message.Memory{}
	}
	m.shards[s] = append(forgetting(m.shards[s], now), e)
	return e
}

// ended remembers what came of an attempt.
func (m *memory) ended(e *message.Memory, move message.Move) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Move = &move
}

// forget drops what is too old; to be called while the store is the one that has it.
func (m *memory) forget(s message.Shard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shards[s] = forgetting(m.shards[s], time.Now()); len(m.shards[s]) == 0 {
		delete(m.shards, s)
	}
}

func forgetting(all []*message.Memory, now time.Time) []*message.Memory {
	n := max(0, len(all)-rememberMost)
	for n < len(all) && now.Sub(all[n].Since) > rememberFor {
		n++
	}
	clear(all[:n]) // so that they can be freed
	return all[n:]
}

// of returns what is remembered of a shard.
func (m *memory) of(s message.Shard) []message.Memory {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]message.Memory, len(m.shards[s]))
	for i, e := range m.shards[s] {
		all[i] = *e
	}
	return all
}

// known returns the shards of which anything is remembered.
func (m *memory) known() []message.Shard {
	m.mu.Lock()
	defer m.mu.Unlock()
	var some []message.Shard
	for s := range m.shards {
		some = append(some, s)
	}
	slices.Sort(some)
	return some
}
