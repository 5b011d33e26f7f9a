package send

import (
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
	shards map[message.Shard][]*message.RememberedAttempt // the oldest first
	gone   map[message.Shard]time.Time                    // when the latest attempt began that was forgotten
}

// add remembers an attempt that has been recorded.
func (m *memory) add(s message.Shard, a message.Attempt, k int) *message.RememberedAttempt {
	now := time.Now()
	e := &message.RememberedAttempt{ID: a.ID, N: a.N, K: k, Token: a.Token, Accepted: a.Accepted, Since: now}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shards == nil {
		m.shards, m.gone = map[message.Shard][]*message.RememberedAttempt{}, map[message.Shard]time.Time{}
	}
	m.shards[s] = append(m.forgetting(s, now), e)
	return e
}

// ended remembers what came of an attempt.
func (m *memory) ended(e *message.RememberedAttempt, move message.Move) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Move = &move
}

// forget drops what is too old; to be called while the store is the one that has it.
func (m *memory) forget(s message.Shard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.shards[s]) == 0 {
		return
	}
	if m.shards[s] = m.forgetting(s, time.Now()); len(m.shards[s]) == 0 {
		delete(m.shards, s)
	}
}

func (m *memory) forgetting(s message.Shard, now time.Time) []*message.RememberedAttempt {
	all := m.shards[s]
	n := max(0, len(all)-rememberMost)
	for n < len(all) && now.Sub(all[n].Since) > rememberFor {
		n++
	}
	if n > 0 {
		m.gone[s] = all[n-1].Since
	}
	clear(all[:n]) // so that they can be freed
	return all[n:]
}

// of returns what is remembered of a shard.
func (m *memory) of(s message.Shard) []message.RememberedAttempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]message.RememberedAttempt, len(m.shards[s]))
	for i, e := range m.shards[s] {
		all[i] = *e
	}
	return all
}

// dropped returns when the latest attempt of a shard began that was forgotten; zero: none was.
func (m *memory) dropped(s message.Shard) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.gone[s]
}
