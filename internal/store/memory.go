package store

import "context"

// MemoryUse returns the share of its maxmemory that each master uses, by address; 0: it has no limit. A master
// that does not answer is left out.
func (db *DB) MemoryUse(ctx context.Context) map[string]float64 {
	shares := map[string]float64{}
	for addr, v := range db.readVitals(ctx) {
		shares[addr] = v.memory
	}
	return shares
}
