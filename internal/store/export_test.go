package store

import (
	"context"
	"log/slog"
	"time"
)

// SetClock replaces the monotonic clock and the wall clock of db.
func SetClock(db *DB, mono func() time.Duration, wall func() time.Time) {
	db.clocks.mono, db.clocks.wall = mono, wall
}

// Look makes db observe its masters now.
func Look(ctx context.Context, db *DB, log *slog.Logger) { db.observeOnce(ctx, log) }

// Aged makes the comparison of the settings look a minute old.
func Aged(db *DB) {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	db.watch.checked = time.Time{}
}

// Offset returns how far a clock is ahead of this machine's, and Stepped by how much this machine's was set forward between two times.
var Offset, Stepped = offset, stepped

// Ahead makes db find the clock of its master that far ahead.
func Ahead(db *DB, d time.Duration) {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	for addr, v := range db.watch.masters {
		v.offset = d
		db.watch.masters[addr] = v
	}
}

// NewBatch returns a batch that waits that long for other callers before each run.
func (db *DB) NewBatch(linger time.Duration) *Batch { return db.newBatch(linger) }
