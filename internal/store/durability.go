package store

import (
	"context"
	"fmt"
	"strings"
)

// CheckDurable returns an error that names the setting when this Redis may lose a write it
// has answered, or may evict one. It asks by CONFIG GET; where that is forbidden it cannot
// tell, and says so.
func (db *DB) CheckDurable(ctx context.Context) error {
	want := []struct{ name, value, why string }{
		{"appendonly", "yes", "a restart would lose accepted messages"},
		{"appendfsync", "always", "a crash would lose the last second of accepted messages and of recorded sends"},
		{"maxmemory-policy", "noeviction", "a full Redis would drop waiting messages without a word"},
	}
	var wrong []string
	for _, w := range want {
		have, err := db.ConfigGet(ctx, w.name).Result()
		if err != nil {
			return fmt.Errorf("ask Redis for its setting %s: %w (durability cannot be checked here; set redis.durability: relaxed to start without the promise)", w.name, err)
		}
		if have[w.name] != w.value {
			wrong = append(wrong, fmt.Sprintf("%s is %q, must be %q: %s", w.name, have[w.name], w.value, w.why))
		}
	}
	if wrong != nil {
		return fmt.Errorf("this Redis does not keep what durability fsync promises: %s (set them in redis.conf or by CONFIG SET, or set redis.durability: relaxed)", strings.Join(wrong, "; "))
	}
	return nil
}
