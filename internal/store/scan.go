package store

import (
	"context"
	"fmt"
	"sync"

	"github.com/redis/go-redis/v9"
)

// EachKey calls f with the keys that match a pattern, in groups, of all masters. A kind leaves out keys of other types;
// "" accepts all. A key that exists during the whole call is passed at least once. The calls do not overlap; the first
// error ends EachKey.
func (db *DB) EachKey(ctx context.Context, pattern, kind string, f func(keys []string) error) error {
	const some = 1000
	var one sync.Mutex
	return db.eachMaster(ctx, func(ctx context.Context, c redis.UniversalClient, _ string) error {
		for cursor, first := uint64(0), true; first || cursor != 0; first = false {
			var keys []string
			var err error
			if kind == "" {
				keys, cursor, err = c.Scan(ctx, cursor, pattern, some).Result()
			} else {
				keys, cursor, err = c.ScanType(ctx, cursor, pattern, some, kind).Result()
			}
			if err != nil {
				return fmt.Errorf("scan keys: %w", err)
			}
			if len(keys) == 0 {
				continue
			}
			one.Lock()
			err = f(keys)
			one.Unlock()
			if err != nil {
				return err
			}
		}
		return nil
	})
}
