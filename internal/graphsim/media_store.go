package graphsim

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// file is uploaded media.
type file struct {
	id, number, kind, hash string
	data                   []byte
	at                     time.Time
}

// mediaStore keeps uploaded media.
type mediaStore struct {
	most   int64 // bytes of an upload, with the rest of the form
	mu     sync.Mutex
	files  map[string]*file
	order  []string // ids, oldest first
	size   int
	serial int
}

func newMediaStore() *mediaStore { return &mediaStore{most: maxMedia, files: map[string]*file{}} }

// add keeps a file and gives it its id.
func (m *mediaStore) add(f *file) string {
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

func (m *mediaStore) get(id string) *file {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f := m.files[id]; f != nil && time.Since(f.at) < mediaLives {
		return f
	}
	return nil
}

func (m *mediaStore) has(id string) bool { return m.get(id) != nil }

func (m *mediaStore) remove(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.drop(id)
}

func (m *mediaStore) drop(id string) {
	if f := m.files[id]; f != nil {
		m.size -= len(f.data)
		delete(m.files, id)
		m.order = slices.DeleteFunc(m.order, func(other string) bool { return other == id })
	}
}
