package graphsim

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// file is media that somebody uploaded.
type file struct {
	id, number, kind, hash string
	data                   []byte
	at                     time.Time
}

// shelf keeps media.
type shelf struct {
	mu     sync.Mutex
	files  map[string]*file
	order  []string // ids, oldest first
	size   int
	serial int
}

func newShelf() *shelf { return &shelf{files: map[string]*file{}} }

// add keeps a file and gives it its id.
func (m *shelf) add(f *file) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.serial++
	f.id = numberOf(fmt.Sprint("media", m.serial, f.at.UnixNano()))
	m.files[f.id] = f
	m.order = append(m.order, f.id)
	for m.size += len(f.data); m.size > mediaKept; {
		m.drop(m.order[0])
	}
	return f.id
}

func (m *shelf) get(id string) *file {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[id]; f != nil && time.Since(f.at) < mediaLives {
		return f
	}
	return nil
}

func (m *shelf) has(id string) bool { return m.get(id) != nil }

func (m *shelf) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(id)
}

func (m *shelf) drop(id string) {
	if f := m.files[id]; f != nil {
		m.size -= len(f.data)
		delete(m.files, id)
		m.order = slices.DeleteFunc(m.order, func(other string) bool { return other == id })
	}
}
