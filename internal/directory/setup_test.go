package directory_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"sync"
)

func text(v any) string {
	b, _ := json.Marshal(v)
	return string(b)
}

// logs is what processes logged.
type logs struct {
	failing chan struct{} // closed when one cannot read Redis

	mu   sync.Mutex
	text bytes.Buffer
	once sync.Once
}

func (l *logs) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if strings.Contains(string(line), "the last known ones stay in use") {
		l.once.Do(func() { close(l.failing) })
	}
	return l.text.Write(line)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
