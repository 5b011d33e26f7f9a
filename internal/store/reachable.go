package store

import (
	"context"
	"errors"
	"io"
	"net"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/redis/go-redis/v9"
)

// notYet has the prefixes of errors with which Redis says that it cannot serve at this moment: it loads its file,
// elects a master, or has too few replicas.
var notYet = []string{"LOADING", "MASTERDOWN", "CLUSTERDOWN", "NOREPLICAS", "READONLY", "OOM", "max number of clients reached"}

// Unreachable reports whether err says that Redis does not serve at this moment, so that the same call may succeed
// later. A wrong URL, password or setting is not such an error.
func Unreachable(err error) bool {
	if _, refused := errors.AsType[redis.Error](err); refused {
		return moving(err) || slices.ContainsFunc(notYet, func(p string) bool { return redis.HasErrorPrefix(err, p) })
	}
	if _, network := errors.AsType[net.Error](err); network {
		return true
	}
	return errors.Is(err, io.EOF) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout) ||
		err != nil && (strings.Contains(err.Error(), "redis: all sentinels") || strings.Contains(err.Error(), "redis: cluster has no nodes"))
}

// moving reports whether a command failed because a Cluster moves its slot to another master, or has moved it. The last
// text is of a script that has run up to a key that is not there any more.
func moving(err error) bool {
	return slices.ContainsFunc([]string{"MOVED ", "ASK ", "TRYAGAIN ", "Script attempted to access a non local key"}, func(p string) bool { return redis.HasErrorPrefix(err, p) })
}

// Refused reports whether err is a refusal that no repetition of the same call changes soon: Redis answered, and
// is neither starting, nor failing over, nor moving the slot. A full Redis refuses.
func Refused(err error) bool {
	if _, answer := errors.AsType[redis.Error](err); !answer {
		return false
	}
	return !moving(err) && !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) && !redis.IsClusterDownError(err) && !redis.IsMasterDownError(err)
}

// Empty reports whether no master has a key, in any database.
func (db *DB) Empty(ctx context.Context) (bool, error) {
	var used atomic.Bool
	err := db.eachMaster(ctx, func(ctx context.Context, c redis.UniversalClient, _ string) error {
		text, err := c.Info(ctx, "keyspace").Result() // a line for each database with keys
		if strings.Contains(text, "\ndb") {
			used.Store(true)
		}
		return err
	})
	return !used.Load(), err
}
