package store

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// clockFresh is how old a reading of Redis's clock may be before the next transaction reads it again.
const clockFresh = 500 * time.Millisecond

// clocks estimates what the clocks of the servers say, from what they said last and the monotonic
// clock of this process: whoever sets the wall clock of a machine changes nothing. In a Cluster each
// slot has an estimate of its own. The zero value is ready.
type clocks struct {
	mu   sync.Mutex
	read map[string]reading
}

type reading struct {
	server time.Time // what the server said
	at     time.Time // when it said so, with a monotonic reading
}

// stale tells whether a slot's clock is to be read again.
func (c *clocks) stale(slot string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.read[slot]
	return !ok || time.Since(r.at) > clockFresh
}

// note takes in an answer to TIME: it was given between sent and now.
func (c *clocks) note(slot string, sent time.Time, server time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.read == nil {
		c.read = map[string]reading{}
	}
	c.read[slot] = reading{server, sent.Add(time.Since(sent) / 2)}
}

func (c *clocks) now(slot string) (time.Time, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.read[slot]
	return r.server.Add(time.Since(r.at)), ok
}

// slotOf names the server of a key for what is kept by server: "" where there is one.
func (db *DB) slotOf(key string) string {
	if db.cluster() == nil {
		return ""
	}
	return tagOf(key)
}

// Clock is what the clock of the master of key says now, by an estimate that transactions keep
// right to the time of half a round trip. It asks Redis only at first, and is this machine's clock
// when that does not answer.
func (db *DB) Clock(ctx context.Context, key string) time.Time {
	slot := db.slotOf(key)
	if now, ok := db.clocks.now(slot); ok {
		return now
	}
	sent := time.Now()
	server, err := db.Now(ctx, key)
	if err != nil {
		return time.Now()
	}
	db.clocks.note(slot, sent, server)
	return server
}

// addTime lets a pipeline to a slot's server read its clock, when that is due; the result must be
// given to noteTime. It is nil when nothing is due.
func (db *DB) addTime(ctx context.Context, p redis.Pipeliner, slot string) *redis.TimeCmd {
	if !db.clocks.stale(slot) {
		return nil
	}
	return p.Time(ctx)
}

func (db *DB) noteTime(slot string, sent time.Time, cmd *redis.TimeCmd) {
	if cmd != nil && cmd.Err() == nil {
		db.clocks.note(slot, sent, cmd.Val())
	}
}
