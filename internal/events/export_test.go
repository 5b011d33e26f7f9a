package events

import (
	"context"
	"log/slog"

	"sluice/internal/message"
)

// EntryEvents is the maximum number of events in an entry.
const EntryEvents = entryEvents

// Reads returns the number of shards that this process reads.
func Reads(s *Stream) int { return len(s.reads()) }

// Trims reports whether Trim of this process trims, and how many readers it knows.
func Trims(s *Stream) (trims bool, readers int) {
	sh := s.share.Load()
	if sh == nil {
		return true, 0
	}
	sh.mu.Lock()
	readers = len(sh.members)
	sh.mu.Unlock()
	return sh.mine(0), readers
}

// Watches reports whether a reader of this process has the watermark of a shard.
func Watches(s *Stream, shard message.Shard) bool {
	s.lag.mu.Lock()
	defer s.lag.mu.Unlock()
	_, is := s.lag.marks[shard]
	return is
}

// Waiting returns the number of parts that wait for the next round trip.
func Waiting(s *Stream) int { return s.appends.Waiting() }

// Members lets a test set the living readers.
type Members struct{ share *share }

// NewMembers returns the living readers as the reader called name sees them.
func NewMembers(name string, all ...string) Members {
	return Members{&share{name: name, members: all, changed: make(chan struct{}), log: slog.New(slog.DiscardHandler)}}
}

// Set changes them.
func (m Members) Set(all ...string) {
	m.share.mu.Lock()
	defer m.share.mu.Unlock()
	m.share.members = all
	close(m.share.changed)
	m.share.changed = make(chan struct{})
}

// ReadAmong does the same as Read, with living readers that the test sets.
func (s *Stream) ReadAmong(ctx context.Context, m Members, handle Handler) {
	s.newReader(m.share.name, m.share, s.shards.All(), handle).run(ctx)
}

// Heartbeat writes one heartbeat.
func Heartbeat(ctx context.Context, l *Liveness) error { return l.report(ctx, false) }

// EntryFault reports whether the content of an entry caused an error.
func EntryFault(err error) bool { return entryFault(err) }

// LimitMemory sets how much memory a Tail may use for recent events, in approximate bytes.
func LimitMemory(t *Tail, bytes int) { t.limit = bytes }

// InMemory returns the approximate bytes and the number of entries that a Tail has in memory.
func InMemory(t *Tail) (size, entries int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.size, len(t.order)
}
