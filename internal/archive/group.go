package archive

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	// Limits of one read: entries of a stream, and about how many bytes of all streams. A slow database must be able to write a batch
	// within a step. The next read follows at once.
	readMost  = 32
	readBytes = 1 << 20
	// deadAfter is how long a worker may leave an entry without an acknowledgement before another worker reclaims it. It is longer
	// than a step.
	deadAfter = 2 * callTimeout
	// forgetAfter is how long a worker that left nothing behind may be silent before it is removed from the group.
	forgetAfter = time.Hour
)

// entry is an entry of an event stream.
type entry struct {
	redis.XMessage
	stream string // its key
	shard  message.Shard
	number int16 // of the stream: 2 x shard, plus 1 for what Meta reported
}

// group is the consumer group of the archive in all event streams.
type group struct {
	db      *store.DB
	shards  message.Shards
	worker  string
	streams []entry // templates of their entries
	made    bool    // the group exists
	count   int     // entries of a stream in the next read
	dead    time.Duration
}

func newGroup(db *store.DB, shards message.Shards, worker string) *group {
	g := &group{db: db, shards: shards, worker: worker, count: 1, dead: deadAfter}
	for _, s := range shards.All() {
		g.streams = append(g.streams,
			entry{stream: events.MessageKey(s), shard: s, number: int16(2 * s)},
			entry{stream: events.MetaKey(s), shard: s, number: int16(2*s + 1)})
	}
	return g
}

// make creates the group in every stream where it does not exist. A new group begins with the oldest event that is kept.
func (g *group) make(ctx context.Context) error {
	if g.made {
		return nil
	}
	err := g.pipe(ctx, func(p redis.Pipeliner, s entry) redis.Cmder {
		return p.XGroupCreateMkStream(ctx, s.stream, Group, "0")
	}, func(_ entry, cmd redis.Cmder) error {
		if err := cmd.Err(); !redis.HasErrorPrefix(err, "BUSYGROUP") {
			return err
		}
		return nil
	})
	g.made = err == nil
	return err
}

// read returns the next entries that no worker has read. After an error it returns those of the other streams, if there are any:
// the next read meets the error again.
func (g *group) read(ctx context.Context) (found []entry, err error) {
	if err := g.make(ctx); err != nil {
		return nil, err
	}
	err = g.pipe(ctx, func(p redis.Pipeliner, s entry) redis.Cmder {
		return p.XReadGroup(ctx, &redis.XReadGroupArgs{Group: Group, Consumer: g.worker, Streams: []string{s.stream, ">"}, Count: int64(g.count), Block: -1})
	}, func(s entry, cmd redis.Cmder) error {
		all, err := cmd.(*redis.XStreamSliceCmd).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, one := range all {
			found = s.add(found, one.Messages)
		}
		return nil
	})
	g.resize(found)
	if len(found) > 0 {
		err = nil
	}
	return found, err
}

// claim returns entries that a worker has read and not acknowledged, because it died, and how many of them Redis has dropped
// since. It removes workers that have left nothing behind.
func (g *group) claim(ctx context.Context) (found []entry, lost int, err error) {
	if err := g.make(ctx); err != nil {
		return nil, 0, err
	}
	err = g.pipe(ctx, func(p redis.Pipeliner, s entry) redis.Cmder {
		return p.XAutoClaimWithDeleted(ctx, &redis.XAutoClaimArgs{Stream: s.stream, Group: Group, Consumer: g.worker, MinIdle: g.dead, Start: "0-0", Count: readMost})
	}, func(s entry, cmd redis.Cmder) error {
		all, _, deleted, err := cmd.(*redis.XAutoClaimWithDeletedCmd).Result()
		if err != nil {
			return err
		}
		found = s.add(found, all)
		lost += len(deleted)
		return nil
	})
	if err != nil || len(found) > 0 {
		return found, lost, err
	}
	return nil, lost, g.forget(ctx)
}

// forget removes workers from the group that have left nothing behind.
func (g *group) forget(ctx context.Context) error {
	return g.pipe(ctx, func(p redis.Pipeliner, s entry) redis.Cmder {
		return p.XInfoConsumers(ctx, s.stream, Group)
	}, func(s entry, cmd redis.Cmder) error {
		all, err := cmd.(*redis.XInfoConsumersCmd).Result()
		for _, c := range all {
			if err == nil && c.Pending == 0 && c.Idle > forgetAfter && c.Name != g.worker {
				err = g.db.XGroupDelConsumer(ctx, s.stream, Group, c.Name).Err()
			}
		}
		return err
	})
}

// acknowledge marks entries as done.
func (g *group) acknowledge(ctx context.Context, entries []entry) error {
	ids := map[string][]string{}
	for _, e := range entries {
		ids[e.stream] = append(ids[e.stream], e.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	return g.pipe(ctx, func(p redis.Pipeliner, s entry) redis.Cmder {
		if len(ids[s.stream]) == 0 {
			return nil
		}
		return p.XAck(ctx, s.stream, Group, ids[s.stream]...)
	}, func(_ entry, cmd redis.Cmder) error { return cmd.Err() })
}

// leave removes this worker, which has left nothing behind, from the group.
func (g *group) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g.pipe(ctx, func(p redis.Pipeliner, s entry) redis.Cmder { // or another worker forgets it
		return p.XGroupDelConsumer(ctx, s.stream, Group, g.worker)
	}, func(entry, redis.Cmder) error { return nil })
}

// pipe sends a command for each stream in one round trip, and calls result with each. A command may be nil.
func (g *group) pipe(ctx context.Context, send func(redis.Pipeliner, entry) redis.Cmder, result func(entry, redis.Cmder) error) error {
	p := g.db.Pipeline()
	cmds := make([]redis.Cmder, len(g.streams))
	for i, s := range g.streams {
		cmds[i] = send(p, s)
	}
	p.Exec(ctx) // each command has its own error
	var failed error
	for i, s := range g.streams {
		if cmds[i] == nil {
			continue
		}
		if err := result(s, cmds[i]); err != nil {
			if redis.HasErrorPrefix(err, "NOGROUP") { // Redis was restored, or an operator removed the group
				g.made = false
			}
			failed = fmt.Errorf("consumer group %s of %s: %w", Group, s.stream, err)
		}
	}
	return failed
}

// add appends entries of the stream.
func (e entry) add(all []entry, found []redis.XMessage) []entry {
	for _, x := range found {
		e.XMessage = x
		all = append(all, e)
	}
	return all
}

// resize adapts the number of entries of the next read to their size, so that a batch fits into memory.
func (g *group) resize(found []entry) {
	size := 0
	for _, e := range found {
		text, _ := e.Values[events.Field].(string)
		size += len(text)
	}
	if g.count = min(2*g.count, readMost); size > readBytes {
		g.count = max(1, g.count/4)
	}
}
