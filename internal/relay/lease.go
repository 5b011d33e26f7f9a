package relay

import (
	"context"
	_ "embed"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

var (
	//go:embed lua/take.lua
	takeLua string
	//go:embed lua/leave.lua
	leaveLua string
	//go:embed lua/members.lua
	membersLua string
)

// lease is the right of this worker to relay a shard, until a time. It is safe for concurrent use.
type lease struct{ until atomic.Pointer[time.Time] }

func newLease(until time.Time) *lease {
	var l lease
	l.until.Store(&until)
	return &l
}

func (l *lease) extend(until time.Time) { l.until.Store(&until) }

// lasts reports whether the lease lasts for longer than d.
func (l *lease) lasts(now time.Time, d time.Duration) bool { return l.until.Load().Sub(now) > d }

// membersKey is the Redis key of the workers that relay: a sorted set, by when each counts as dead.
func membersKey() string { return store.Key(message.Shard(0), "relay:workers") }

// leases takes and renews leases in Redis. A worker renews its leases with each beat, and a request starts only while
// the lease outlasts its timeout. So when a worker dies, the next one takes the shard over at the earliest when the last
// request of the dead one has ended.
type leases struct {
	db                     *store.DB
	worker                 string
	beat, length           time.Duration
	takes, leaves, renewal store.Script
}

// newLeases returns leases for requests that take up to timeout.
func newLeases(db *store.DB, worker string, timeout time.Duration) *leases {
	beat := timeout / 10
	return &leases{
		db: db, worker: worker, beat: beat, length: timeout + 4*beat,
		takes: db.Script(takeLua), leaves: db.Script(leaveLua), renewal: db.Script(membersLua),
	}
}

// members writes the heartbeat of this worker, and returns the living workers.
func (l *leases) members(ctx context.Context) ([]string, error) {
	return l.db.Run(ctx, l.renewal, []string{membersKey()}, l.worker, (4 * l.beat).Milliseconds()).StringSlice()
}

// quit removes the heartbeat.
func (l *leases) quit(ctx context.Context) {
	l.db.Run(ctx, l.renewal, []string{membersKey()}, l.worker, 0)
}

// take renews the leases of shards, and takes those that are wanted and free. It returns which this worker has.
func (l *leases) take(ctx context.Context, shards []message.Shard, want map[message.Shard]bool) (map[message.Shard]bool, error) {
	cmds := make([]*redis.Cmd, len(shards))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			cmds[i] = l.takes.Add(ctx, p, []string{leaseKey(s)}, l.worker, l.length.Milliseconds(), boolean(want[s]))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("take leases: %w", err)
	}
	has := map[message.Shard]bool{}
	for i, s := range shards {
		n, err := cmds[i].Int()
		has[s] = err == nil && n == 1
	}
	return has, nil
}

// leave ends a lease.
func (l *leases) leave(ctx context.Context, s message.Shard) error {
	return l.db.Run(ctx, l.leaves, []string{leaseKey(s)}, l.worker).Err()
}
