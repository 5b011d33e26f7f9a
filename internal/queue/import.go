package queue

import (
	"context"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"

	"sluice/internal/store"
)

// This file is for package migrate. It reads what an older version left in asynq's keys.

// returnMost is how many tasks return to their queue in one transaction.
const returnMost = 200

// LiveServers names asynq's servers that sent a heartbeat not long ago, as "<host>:<pid>".
func LiveServers(ctx context.Context, db *store.DB) ([]string, error) {
	const servers = "asynq:servers" // by when they count as gone, Unix seconds
	now, err := db.Now(ctx, servers)
	if err != nil {
		return nil, fmt.Errorf("read the store's clock: %w", err)
	}
	keys, err := db.ZRangeByScore(ctx, servers, &redis.ZRangeBy{Min: strconv.FormatInt(now.Unix(), 10), Max: "+inf"}).Result()
	if err != nil {
		return nil, fmt.Errorf("list asynq's servers: %w", err)
	}
	for i, key := range keys { // asynq:servers:{<host>:<pid>:<uuid>}
		name := strings.Trim(strings.TrimPrefix(key, servers+":"), "{}")
		if last := strings.LastIndexByte(name, ':'); last > 0 {
			name = name[:last]
		}
		keys[i] = name
	}
	return keys, nil
}

// CountActive counts the tasks that asynq has as active, of all queues together.
func CountActive(ctx context.Context, db *store.DB) (n int64, err error) {
	names, err := db.SMembers(ctx, QueuesKey).Result()
	for i := 0; i < len(names) && err == nil; i++ {
		var of int64
		of, err = db.LLen(ctx, asynqKeys(names[i]).Active).Result()
		n += of
	}
	if err != nil {
		return n, fmt.Errorf("count active tasks: %w", err)
	}
	return n, nil
}

// ReturnActive moves the tasks that asynq has as active back to the heads of their queues, those that
// were fetched first in front, and returns how many. It is for a time when no worker runs, and may be
// repeated.
func ReturnActive(ctx context.Context, db *store.DB) (n int, err error) {
	names, err := db.SMembers(ctx, QueuesKey).Result()
	if err != nil {
		return 0, fmt.Errorf("list asynq's queues: %w", err)
	}
	for _, name := range names {
		k := asynqKeys(name)
		for {
			ids, err := db.LRange(ctx, k.Active, 0, returnMost-1).Result()
			if err == nil && len(ids) > 0 {
				err = returnTasks(ctx, db, k, ids)
			}
			if err != nil {
				return n, fmt.Errorf("return the active tasks of %s: %w", name, err)
			}
			if n += len(ids); len(ids) < returnMost {
				break
			}
		}
		if err := db.Del(ctx, k.Lease).Err(); err != nil {
			return n, fmt.Errorf("return the active tasks of %s: %w", name, err)
		}
	}
	return n, nil
}

// returnTasks returns the tasks at the left of a queue's active list, which were fetched last.
func returnTasks(ctx context.Context, db *store.DB, k Keys, ids []string) error {
	now, err := db.Now(ctx, k.Active)
	if err != nil {
		return err
	}
	there := make([]*redis.IntCmd, len(ids))
	err = db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			there[i] = p.Exists(ctx, k.Task+id)
		}
	})
	if err != nil {
		return err
	}
	return db.Tx(ctx, func(p redis.Pipeliner) error {
		for i, id := range ids {
			if there[i].Val() == 1 {
				p.RPush(ctx, k.Pending, id)
				p.HSet(ctx, k.Task+id, "state", "pending", "pending_since", now.UnixNano())
			}
		}
		p.LTrim(ctx, k.Active, int64(len(ids)), -1)
		return nil
	})
}
