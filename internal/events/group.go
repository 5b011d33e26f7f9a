package events

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	// Limits of one read of a group: entries of a stream, and about how many bytes of all streams. A slow consumer must be able to
	// handle a batch in seconds. The next read follows at once.
	groupMost  = 32
	groupBytes = 1 << 20
	// forgetAfter is how long a consumer that left nothing behind may be silent before it is removed from the group.
	forgetAfter = time.Hour
)

// GroupEntry is an entry of an event stream that a consumer of a Group has read.
type GroupEntry struct {
	redis.XMessage
	Stream string // its key
	Shard  message.Shard
	Meta   bool // the stream has what Meta reported
}

// GroupOptions configure a Group. Name, Consumer, Shards and DeadAfter are required.
type GroupOptions struct {
	Name      string         // of the consumer group
	Consumer  string         // the name of this consumer, which no other has
	Shards    message.Shards // of the installation
	MetaOnly  bool           // Read only what Meta reported
	DeadAfter time.Duration  // how long a consumer may leave an entry without an acknowledgement before another one reclaims it
	// Since is how old the oldest entry is that a new group begins with, by the ids of the entries; 0: the oldest that is kept.
	Since time.Duration
}

// Group is a consumer group of Sluice in the event streams. It is not safe for concurrent use.
type Group struct {
	db      *store.DB
	o       GroupOptions
	streams []GroupEntry // templates of their entries
	made    bool         // the group exists
	count   int          // entries of a stream in the next read
}

// NewGroup returns a consumer group. It does not access Redis.
func NewGroup(db *store.DB, o GroupOptions) *Group {
	g := &Group{db: db, o: o, count: 1}
	for _, s := range o.Shards.All() {
		if !o.MetaOnly {
			g.streams = append(g.streams, GroupEntry{Stream: MessageKey(s), Shard: s})
		}
		g.streams = append(g.streams, GroupEntry{Stream: MetaKey(s), Shard: s, Meta: true})
	}
	return g
}

// make creates the group in every stream where it does not exist.
func (g *Group) make(ctx context.Context) error {
	if g.made {
		return nil
	}
	from := "0"
	if g.o.Since > 0 {
		from = strconv.FormatInt(time.Now().Add(g.db.ClockOffset()-g.o.Since).UnixMilli(), 10)
	}
	err := g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder {
		return p.XGroupCreateMkStream(ctx, s.Stream, g.o.Name, from)
	}, func(_ GroupEntry, cmd redis.Cmder) error {
		if err := cmd.Err(); !redis.HasErrorPrefix(err, "BUSYGROUP") {
			return err
		}
		return nil
	})
	g.made = err == nil
	return err
}

// Read returns the next entries that no consumer has read. After an error it returns those of the other streams, if there are any:
// the next read meets the error again.
func (g *Group) Read(ctx context.Context) (found []GroupEntry, err error) {
	if err := g.make(ctx); err != nil {
		return nil, err
	}
	err = g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder {
		return p.XReadGroup(ctx, &redis.XReadGroupArgs{Group: g.o.Name, Consumer: g.o.Consumer, Streams: []string{s.Stream, ">"}, Count: int64(g.count), Block: -1})
	}, func(s GroupEntry, cmd redis.Cmder) error {
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

// Claim returns entries that a consumer has read and not acknowledged, because it died, and how many of them Redis has dropped
// since. It removes consumers that have left nothing behind.
func (g *Group) Claim(ctx context.Context) (found []GroupEntry, lost int, err error) {
	if err := g.make(ctx); err != nil {
		return nil, 0, err
	}
	err = g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder {
		return p.XAutoClaimWithDeleted(ctx, &redis.XAutoClaimArgs{Stream: s.Stream, Group: g.o.Name, Consumer: g.o.Consumer, MinIdle: g.o.DeadAfter, Start: "0-0", Count: groupMost})
	}, func(s GroupEntry, cmd redis.Cmder) error {
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

// forget removes consumers from the group that have left nothing behind.
func (g *Group) forget(ctx context.Context) error {
	return g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder {
		return p.XInfoConsumers(ctx, s.Stream, g.o.Name)
	}, func(s GroupEntry, cmd redis.Cmder) error {
		all, err := cmd.(*redis.XInfoConsumersCmd).Result()
		for _, c := range all {
			if err == nil && c.Pending == 0 && c.Idle > forgetAfter && c.Name != g.o.Consumer {
				err = g.db.XGroupDelConsumer(ctx, s.Stream, g.o.Name, c.Name).Err()
			}
		}
		return err
	})
}

// Acknowledge marks entries as done.
func (g *Group) Acknowledge(ctx context.Context, entries []GroupEntry) error {
	ids := map[string][]string{}
	for _, e := range entries {
		ids[e.Stream] = append(ids[e.Stream], e.ID)
	}
	if len(ids) == 0 {
		return nil
	}
	return g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder {
		if len(ids[s.Stream]) == 0 {
			return nil
		}
		return p.XAck(ctx, s.Stream, g.o.Name, ids[s.Stream]...)
	}, func(_ GroupEntry, cmd redis.Cmder) error { return cmd.Err() })
}

// Leave removes this consumer from the group. It must have acknowledged all entries that it read. It blocks for up to 1 s.
func (g *Group) Leave() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder { // or another consumer forgets it
		return p.XGroupDelConsumer(ctx, s.Stream, g.o.Name, g.o.Consumer)
	}, func(GroupEntry, redis.Cmder) error { return nil })
}

// pipe sends a command for each stream in one round trip, and calls result with each. A command may be nil.
func (g *Group) pipe(ctx context.Context, send func(redis.Pipeliner, GroupEntry) redis.Cmder, result func(GroupEntry, redis.Cmder) error) error {
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
			failed = fmt.Errorf("consumer group %s of %s: %w", g.o.Name, s.Stream, err)
		}
	}
	return failed
}

// add appends entries of the stream.
func (e GroupEntry) add(all []GroupEntry, found []redis.XMessage) []GroupEntry {
	for _, x := range found {
		e.XMessage = x
		all = append(all, e)
	}
	return all
}

// resize adapts the number of entries of the next read to their size, so that a batch fits into memory.
func (g *Group) resize(found []GroupEntry) {
	size := 0
	for _, e := range found {
		text, _ := e.Values[Field].(string)
		size += len(text)
	}
	if g.count = min(2*g.count, groupMost); size > groupBytes {
		g.count = max(1, g.count/4)
	}
}

// Destroy removes the group from all streams. A later Read creates it again, and begins with the entries that Since says.
func (g *Group) Destroy(ctx context.Context) error {
	g.made = false
	return g.pipe(ctx, func(p redis.Pipeliner, s GroupEntry) redis.Cmder {
		return p.XGroupDestroy(ctx, s.Stream, g.o.Name)
	}, func(_ GroupEntry, cmd redis.Cmder) error {
		if err := cmd.Err(); !redis.HasErrorPrefix(err, "The XGROUP subcommand requires the key to exist") {
			return err
		}
		return nil
	})
}
