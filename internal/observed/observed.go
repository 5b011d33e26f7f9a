// Package observed stores in Redis what workers observe of each number, for the console of the producers: the requests
// to Meta with their latency, and what Meta says of the number.
package observed

import (
	"sluice/internal/message"
	"sluice/internal/store"
)

// Store reads and writes what workers observed. It is safe for concurrent use.
type Store struct {
	db     *store.DB
	shards message.Shards
}

// New returns the Store of an installation.
func New(db *store.DB, shards message.Shards) *Store { return &Store{db, shards} }
