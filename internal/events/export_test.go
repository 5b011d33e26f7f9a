package events

import (
	"context"
	"log/slog"
)

// EntryEvents is how many events go into one entry at most.
const EntryEvents = entryEvents

// Reads is how many shards this process reads.
func Reads(s *Stream) int { return len(s.reads()) }

// Waiting is how many callers' parts wait for the next round trip.
func Waiting(s *Stream) int { return s.appends.Waiting() }

// Members lets a test say which readers there are.
type Members struct{ share *share }

// NewMembers returns the readers that a reader of that name believes to be there.
func NewMembers(name string, all ...string) Members {
	return Members{&share{consumer: name, members: all, changed: make(chan struct{}), log: slog.New(slog.DiscardHandler)}}
}

// Set changes them.
func (m Members) Set(all ...string) {
	m.share.mu.Lock()
	defer m.share.mu.Unlock()
	m.share.members = all
	close(m.share.changed)
	m.share.changed = make(chan struct{})
}

// ReadAmong is Read where the test says who else reads.
func (s *Stream) ReadAmong(ctx context.Context, m Members, handle Handler) {
	s.newReader(m.share.consumer, m.share, s.shards.All(), handle).run(ctx)
}

// Beat writes one heartbeat.
func Beat(ctx context.Context, l *Liveness) error { return l.report(ctx, false) }

// Blames tells whether an entry is to blame for an error.
func Blames(err error) bool { return blames(err) }
