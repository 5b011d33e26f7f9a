package store

import (
	"context"
	"log/slog"
	"time"
)

// SetClock lets db believe in a monotonic clock and a wall clock of the test's.
func SetClock(db *DB, mono func() time.Duration, wall func() time.Time) {
	db.clocks.mono, db.clocks.wall = mono, wall
}

// Look lets db observe its masters now.
func Look(ctx context.Context, db *DB, log *slog.Logger) { db.look(ctx, log) }

// Aged lets a minute pass since the settings were compared.
func Aged(db *DB) {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	db.watch.checked = time.Time{}
}

// Offset is how far a clock is ahead of this machine's, and Stepped by how much that was set ahead between two times.
var Offset, Stepped = offset, stepped

// Ahead lets db find the clock of its master so far ahead.
func Ahead(db *DB, d time.Duration) {
	db.watch.mu.Lock()
	defer db.watch.mu.Unlock()
	for addr, v := range db.watch.masters {
		v.offset = d
		db.watch.masters[addr] = v
	}
}

// NewBatch returns a batch that waits so long for other callers before each run.
func (db *DB) NewBatch(linger time.Duration) *Batch { return db.newBatch(linger) }
