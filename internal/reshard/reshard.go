// Package reshard moves a slot of a Redis Cluster from one master to another, as `redis-cli --cluster reshard` does.
package reshard

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/redis/go-redis/v9"
)

// together is how many keys one MIGRATE moves, as redis-cli does.
const together = 10

// answerWithin is how long a MIGRATE may take, on a busy machine too.
const answerWithin = time.Minute

// Begin lets the master from begin to move a slot to the master to. From then on, commands for keys that from does not
// have are answered with ASK, and commands for several keys of which it has only some with TRYAGAIN.
func Begin(ctx context.Context, slot int64, from, to *redis.Client) error {
	at, err := to.ClusterMyID(ctx).Result()
	if err == nil {
		err = to.Do(ctx, "cluster", "setslot", slot, "importing", from.ClusterMyID(ctx).Val()).Err()
	}
	if err == nil {
		err = from.Do(ctx, "cluster", "setslot", slot, "migrating", at).Err()
	}
	if err != nil {
		return fmt.Errorf("begin to move slot %d: %w", slot, err)
	}
	return nil
}

// Move moves a slot with its keys from one master to another while clients use it, and blocks until the slot is there. It
// pauses between any ten keys, so that few keys take long too. It returns how many keys it moved.
func Move(ctx context.Context, slot int64, from, to *redis.Client, pause time.Duration) (keys int, err error) {
	if err := Begin(ctx, slot, from, to); err != nil {
		return 0, err
	}
	host, port, err := net.SplitHostPort(to.Options().Addr)
	if err != nil {
		return 0, err
	}
	// A MIGRATE without an answer leaves its keys on both masters, and those of from count until they are gone there: so
	// REPLACE.
	command := []any{"migrate", host, port, "", 0, answerWithin.Milliseconds(), "replace"}
	if o := to.Options(); o.Password != "" {
		command = append(command, "auth2", o.Username, o.Password)
	}
	command = append(command, "keys")
	for {
		some, err := from.ClusterGetKeysInSlot(ctx, int(slot), together).Result()
		if err != nil {
			return keys, fmt.Errorf("list the keys of slot %d: %w", slot, err)
		}
		if len(some) == 0 {
			break
		}
		move := command[:len(command):len(command)]
		for _, key := range some {
			move = append(move, key)
		}
		if err := from.WithTimeout(2*answerWithin).Do(ctx, move...).Err(); err != nil {
			return keys, fmt.Errorf("move keys of slot %d: %w", slot, err)
		}
		keys += len(some)
		select {
		case <-ctx.Done():
			return keys, context.Cause(ctx)
		case <-time.After(pause):
		}
	}
	at := to.ClusterMyID(ctx).Val()
	for _, master := range []*redis.Client{to, from} {
		if err := master.Do(ctx, "cluster", "setslot", slot, "node", at).Err(); err != nil {
			return keys, fmt.Errorf("end the move of slot %d: %w", slot, err)
		}
	}
	return keys, nil
}
