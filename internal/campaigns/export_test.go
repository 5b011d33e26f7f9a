package campaigns

import "time"

// SetClock sets what the clock of Redis shows.
func (s *Store) SetClock(now func() time.Time) { s.now = now }
