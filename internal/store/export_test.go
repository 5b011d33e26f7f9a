package store

import "time"

// SetClock lets db believe in a monotonic clock and a wall clock of the test's.
func SetClock(db *DB, mono func() time.Duration, wall func() time.Time) {
	db.clocks.mono, db.clocks.wall = mono, wall
}
