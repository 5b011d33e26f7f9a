package ops

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// repeatEvery is how often the same failure is logged.
	repeatEvery = time.Second
	// repeatMost is how many failures repeats remembers.
	repeatMost = 1000
	// full begins the errors of a Redis that refuses writes because its memory is full. Everything that a program
	// does fails then.
	full = "OOM "
)

// repeats is a slog.Handler that writes a failure once a second. A failure is a warning or an error with an attribute
// err; it is the same failure when its message and the innermost error are the same. That Redis is full is one failure, whatever
// the message. The next line of the failure says in the attribute repeated how many lines were left out.
type repeats struct {
	slog.Handler
	seen *seen
}

type seen struct {
	mu   sync.Mutex
	last map[string]*failure
}

type failure struct {
	at      time.Time // of the last line
	leftOut int
}

func onceASecond(h slog.Handler) slog.Handler {
	return repeats{h, &seen{last: map[string]*failure{}}}
}

// Handle implements slog.Handler.
func (h repeats) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelWarn {
		return h.Handler.Handle(ctx, r)
	}
	cause := ""
	r.Attrs(func(a slog.Attr) bool {
		if a.Key == "err" {
			cause = innermost(a.Value)
		}
		return cause == ""
	})
	if cause == "" {
		return h.Handler.Handle(ctx, r)
	}
	failure := r.Message + "\x00" + cause
	if strings.HasPrefix(cause, full) {
		failure = full
	}
	write, leftOut := h.seen.note(failure, r.Time)
	if !write {
		return nil
	}
	if leftOut > 0 {
		r = r.Clone()
		r.AddAttrs(slog.Int("repeated", leftOut))
	}
	return h.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (h repeats) WithAttrs(attrs []slog.Attr) slog.Handler {
	return repeats{h.Handler.WithAttrs(attrs), h.seen}
}

// WithGroup implements slog.Handler.
func (h repeats) WithGroup(name string) slog.Handler {
	return repeats{h.Handler.WithGroup(name), h.seen}
}

// note reports whether the line of a failure must be written, and how many lines before it were left out.
func (s *seen) note(key string, now time.Time) (write bool, leftOut int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.last[key]
	if f == nil {
		if len(s.last) >= repeatMost {
			clear(s.last)
		}
		s.last[key] = &failure{at: now}
		return true, 0
	}
	if now.Sub(f.at) < repeatEvery {
		f.leftOut++
		return false, 0
	}
	leftOut = f.leftOut
	f.at, f.leftOut = now, 0
	return true, leftOut
}

// innermost returns the text of the error that an error wraps, without digits: ports and ids differ from line to line.
func innermost(v slog.Value) string {
	text := v.String()
	if err, ok := v.Any().(error); ok {
		for inner := err; inner != nil; inner = errors.Unwrap(inner) {
			text = inner.Error()
		}
	}
	return strings.Map(func(r rune) rune {
		if '0' <= r && r <= '9' {
			return -1
		}
		return r
	}, text)
}
