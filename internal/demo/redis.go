package demo

import (
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
)

// embedded is a Redis in this process. It keeps nothing on disk.
type embedded struct {
	server *miniredis.Miniredis
	stop   chan struct{}
	ended  chan struct{}
}

func startRedis() (*embedded, error) {
	s := miniredis.NewMiniRedis()
	if err := s.Start(); err != nil {
		return nil, fmt.Errorf("start the embedded Redis: %w", err)
	}
	e := &embedded{s, make(chan struct{}), make(chan struct{})}
	go e.age()
	return e, nil
}

func (e *embedded) url() string { return "redis://" + e.server.Addr() }

// age lets keys expire: miniredis's own clock for that stands still.
func (e *embedded) age() {
	defer close(e.ended)
	const every = 100 * time.Millisecond
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
			e.server.FastForward(every)
		}
	}
}

func (e *embedded) close() {
	close(e.stop)
	<-e.ended
	e.server.Close()
}
