package send

import (
	"sync"
	"time"

	"sluice/internal/message"
)

const (
	// rememberFor is how long a worker remembers an attempt: longer than an attempt takes, and longer than the time whose
	// writes a Redis loses that writes to its disk once a second.
	rememberFor = attemptMax
	// rememberMost limits what is remembered of a shard, about 300 bytes for each attempt.
	rememberMost = 50_000
)

// memory has the latest attempts of this worker, by shard. It drops old ones only while Redis answers: attempts before
// an outage stay until it ends. The zero value is ready; it is safe for concurrent use.
type memory struct {
	mu        sync.Mutex
	shards    map[message.Shard][]*message.RememberedAttempt // the oldest first
	droppedAt map[message.Shard]time.Time                    // when the latest attempt began that was dropped
}

// add remembers an attempt that has been recorded.
func (m *memory) add(s message.Shard, a message.Attempt, k int) *message.RememberedAttempt {
	now := time.Now()
	e := &message.RememberedAttempt{ID: a.ID, N: a.N, K: k, Token: a.Token, Accepted: a.Accepted, Since: now}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.shards == nil {
		m.shards, m.droppedAt = map[message.Shard][]*message.RememberedAttempt{}, map[message.Shard]time.Time{}
	}
	m.shards[s] = append(m.trim(s, now), e)
	return e
}

// ended adds the outcome to an attempt.
func (m *memory) ended(e *message.RememberedAttempt, move message.Move) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e.Move = &move
}

// prune drops attempts that are too old. Call it only while the server that has them answers.
func (m *memory) prune(s message.Shard) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if len(m.shards[s]) == 0 {
		return
	}
	if m.shards[s] = m.trim(s, time.Now()); len(m.shards[s]) == 0 {
		delete(m.shards, s)
	}
}

func (m *memory) trim(s message.Shard, now time.Time) []*message.RememberedAttempt {
	all := m.shards[s]
	n := max(0, len(all)-rememberMost)
	for n < len(all) && now.Sub(all[n].Since) > rememberFor {
		n++
	}
	if n > 0 {
		m.droppedAt[s] = all[n-1].Since
	}
	clear(all[:n]) // to free the memory
	return all[n:]
}

// of returns the remembered attempts of a shard.
func (m *memory) of(s message.Shard) []message.RememberedAttempt {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]message.RememberedAttempt, len(m.shards[s]))
	for i, e := range m.shards[s] {
		all[i] = *e
	}
	return all
}

// dropped returns when the latest attempt of a shard began that was dropped; zero: none was.
func (m *memory) dropped(s message.Shard) time.Time {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.droppedAt[s]
}
