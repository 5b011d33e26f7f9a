package send

import (
	"sync"
	"time"
)

// minute counts events of the last sixty seconds. The zero value is ready; it is safe for concurrent use.
type minute struct {
	mu      sync.Mutex
	seconds [60]struct {
		at int64 // Unix seconds
		n  int
	}
}

func (m *minute) add() {
	m.mu.Lock()
	defer m.mu.Unlock()
	now := time.Now().Unix()
	s := &m.seconds[now%60]
	if s.at != now {
		s.at, s.n = now, 0
	}
	s.n++
}

func (m *minute) count() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	now, n := time.Now().Unix(), 0
	for _, s := range m.seconds {
		if now-s.at < 60 {
			n += s.n
		}
	}
	return n
}
