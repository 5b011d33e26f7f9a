package intake

import "sync"

// maxRemembered is the number of objects that a memory has of each generation.
const maxRemembered = 20_000

// memory remembers for objects of Meta, for example media, whose they are. It forgets the oldest. It is only a hint:
// Meta checks it. The zero value is ready, and safe for concurrent use.
type memory struct {
	mu         sync.Mutex
	young, old map[string]string
}

func (m *memory) add(id, owner string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.young == nil || len(m.young) >= maxRemembered {
		m.young, m.old = map[string]string{}, m.young
	}
	m.young[id] = owner
}

func (m *memory) of(id string) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	if owner, ok := m.young[id]; ok {
		return owner
	}
	return m.old[id]
}
