package store

import (
	"cmp"
	"context"
	"fmt"
)

// Memory is the memory of a master, in bytes.
type Memory struct {
	Used    int64
	Max     int64 // maxmemory; 0: it has no limit
	Machine int64 // of its machine; 0: unknown
}

// Share returns the share of maxmemory in use; 0: there is no limit.
func (m Memory) Share() float64 {
	if m.Max == 0 {
		return 0
	}
	return float64(m.Used) / float64(m.Max)
}

// Limit returns how much the master may use: maxmemory, or without it what its machine has; 0: unknown.
func (m Memory) Limit() int64 { return cmp.Or(m.Max, m.Machine) }

// Memory reads the memory of each master, by address. A master that does not answer is left out.
func (db *DB) Memory(ctx context.Context) map[string]Memory {
	all := map[string]Memory{}
	masters, _ := db.readVitals(ctx)
	for addr, v := range masters {
		all[addr] = v.memory
	}
	return all
}

// Master returns the address of the master that has a key, as in the result of Memory.
func (db *DB) Master(ctx context.Context, key string) (string, error) {
	cluster := db.cluster()
	if cluster == nil {
		return db.addr(), nil
	}
	master, err := cluster.MasterForKey(ctx, key)
	if err != nil {
		return "", err
	}
	return master.Options().Addr, nil
}

// Size returns a number of bytes as people read it, rounded down: "1.2 GiB".
func Size(bytes int64) string {
	switch {
	case bytes >= 1<<30:
		return fmt.Sprintf("%d.%d GiB", bytes>>30, bytes&(1<<30-1)*10>>30)
	case bytes >= 1<<20:
		return fmt.Sprintf("%d MiB", bytes>>20)
	}
	return fmt.Sprintf("%d KiB", bytes>>10)
}
