package store

import "time"

// SetClock lets db believe in a monotonic clock and a wall clock of the test's.
func SetClock(db *DB, mono func() time.Duration, wall func() time.Time) {
	db.clocks.mono, db.clocks.wall = mono, wall
}

// NewBatch returns a batch that waits so long for other callers before each run.
func (db *DB) NewBatch(linger time.Duration) *Batch { return db.newBatch(linger) }
