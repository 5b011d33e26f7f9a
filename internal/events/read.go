package events

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/retry"
)

const (
	readEntries = 50                     // of a shard, in one read; fewer after a failure
	block       = 500 * time.Millisecond // how long one read waits for events, and so how long a stop may take
	minPause    = 100 * time.Millisecond
	maxPause    = 5 * time.Second
	// maxDelay is how long a reader without a backlog lets events accumulate. With one round trip per event,
	// Redis would do little else.
	maxDelay = 100 * time.Millisecond
	// saveEvery is how often the watermark of an idle shard is stored.
	saveEvery = time.Second
	// rewind is how far a reader goes back after a restart of Redis or a failover, which may have lost the
	// last writes.
	rewind = time.Minute
)

// Handler applies events of one shard, in order. It stores the strings in also (keys and values) in the same
// transaction as its last write, and then returns true. If it writes nothing it returns false, and the caller
// stores them. An event may come again, also after it was applied. A stop does not end ctx, so that a started
// transaction completes.
type Handler = func(ctx context.Context, shard message.Shard, events []message.Event, also map[string]string) (stored bool, err error)

// Read calls handle with the events from Meta until ctx ends, and then returns nil within about a second. It
// begins after the last applied entry, or with the oldest one. The living readers of all processes share the
// shards. Calls for different shards run concurrently, calls for one shard one after the other.
//
// The position (AppliedKey) and the watermark of a shard are stored in the same transaction as the applied
// events. Without events the watermark is stored each second.
//
// After an error of handle, Read logs it and calls handle again with the same entries, after growing pauses,
// until it succeeds. If the content of the entries caused the error (see entryFault), Read applies them one by
// one, and moves the events that fail five times to the dead-letter stream.
//
// Each reader needs a different name. Read uses one connection of the pool, in a Cluster one for each shard.
func (s *Stream) Read(ctx context.Context, name string, handle Handler) error {
	sh := &share{
		db: s.db, readers: s.readers, name: name, log: s.log, changed: make(chan struct{}),
	}
	sh.renew(ctx)
	s.share.Store(sh)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { sh.run(ctx) })
	groups := [][]message.Shard{s.shards.All()}
	if isCluster(s.db) {
		groups = slices.Collect(slices.Chunk(s.shards.All(), 1))
	}
	for _, shards := range groups {
		wg.Go(func() { s.newReader(name, sh, shards, handle).run(ctx) })
	}
	return nil
}

// reader reads some shards with one command.
type reader struct {
	*Stream
	share   *share
	handle  Handler
	cursors []*cursor
	clock   string       // a script of this reader that returns the time: a Redis process that lacks it has restarted
	sha     string       // the SHA-1 of the script
	loaded  bool         // the Redis process has the script
	count   int          // how many entries of a shard to read next
	busy    int          // how many cursors are being applied
	done    chan *cursor // cursors that were applied
	wg      sync.WaitGroup
}

// cursor is the position of a reader in the stream of one shard.
type cursor struct {
	shard   message.Shard
	key     string
	applied string    // the id of the last applied entry; "": not read from Redis yet
	back    string    // after a restart of Redis: the latest id to continue from; "": no limit
	mark    time.Time // the watermark, by Redis's clock
	saved   time.Time // the stored watermark
	busy    bool      // the entries are being applied: only that goroutine may use the cursor
	retries

	entries []entry   // that were read
	full    bool      // more entries may wait
	now     time.Time // Redis's time before the read
	at      time.Time // the time of this machine before the read
}

func (s *Stream) newReader(name string, sh *share, shards []message.Shard, handle Handler) *reader {
	clock := fmt.Sprintf("-- %s %s\nreturn redis.call('TIME')", strconv.Quote(name), shards[0])
	sum := sha1.Sum([]byte(clock))
	r := &reader{
		Stream: s, share: sh, handle: handle, clock: clock, sha: hex.EncodeToString(sum[:]),
		count: readEntries, done: make(chan *cursor, len(shards)),
	}
	for _, shard := range shards {
		r.cursors = append(r.cursors, &cursor{shard: shard, key: MetaKey(shard)})
	}
	return r
}

func (r *reader) run(ctx context.Context) {
	defer func() {
		r.wg.Wait()
		for _, c := range r.cursors {
			r.lag.forget(c.shard)
		}
	}()
	failures := 0
	for ctx.Err() == nil {
		for len(r.done) > 0 {
			r.finish(<-r.done)
		}
		ready := r.ready(time.Now())
		if len(ready) == 0 {
			r.await(ctx)
			continue
		}
		if err := r.read(ctx, ready); err != nil {
			if ctx.Err() == nil {
				r.log.Warn("cannot read events, will retry", slog.Any("err", err))
				sleep(ctx, pauses.After(failures+1))
			}
			failures++
			r.count = max(1, r.count/2) // a smaller answer may arrive in time
			continue
		}
		failures, r.count = 0, min(2*r.count, readEntries)
		if r.start(ctx, ready) {
			r.linger(ctx, ready)
		}
	}
}

// pauses are the pauses after consecutive failures of Redis.
var pauses = retry.Pauses{First: minPause, Max: maxPause}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// ready returns the cursors to read now. It resets the cursors of shards that other readers read, because their
// positions change.
func (r *reader) ready(now time.Time) (ready []*cursor) {
	for _, c := range r.cursors {
		switch {
		case c.busy:
		case !r.share.mine(c.shard):
			*c = cursor{shard: c.shard, key: c.key}
			r.lag.forget(c.shard)
		case !now.Before(c.resume):
			c.entries = nil
			ready = append(ready, c)
		}
	}
	return ready
}

// await waits until a cursor may be ready.
func (r *reader) await(ctx context.Context) {
	changed := r.share.changes()
	select {
	case <-ctx.Done():
	case c := <-r.done:
		r.finish(c)
	case <-changed:
	case <-time.After(minPause):
	}
}

func (r *reader) finish(c *cursor) {
	c.busy = false
	r.busy--
}

// read reads further entries at the cursors in one round trip, and waits for a moment if there are none. The
// same round trip stores the watermarks of idle shards.
func (r *reader) read(ctx context.Context, ready []*cursor) error {
	if err := r.locate(ctx, ready); err != nil {
		return err
	}
	streams := make([]string, 2*len(ready))
	for i, c := range ready {
		streams[i], streams[len(ready)+i] = c.key, c.applied
	}
	wait := block
	if r.busy > 0 {
		wait = maxDelay
	}
	at := time.Now()
	p := r.db.Pipeline()
	saved := r.save(ctx, p, ready)
	clock := p.EvalSha(ctx, r.sha, []string{ready[0].key})
	found := p.XRead(ctx, &redis.XReadArgs{Streams: streams, Count: int64(r.count), Block: wait})
	p.Exec(ctx)
	saved()
	if redis.HasErrorPrefix(clock.Err(), "NOSCRIPT") {
		return r.restarted(ctx)
	}
	now, err := timeOf(clock)
	if err != nil {
		return err
	}
	if err := found.Err(); err != nil && !errors.Is(err, redis.Nil) {
		return err
	}
	for _, c := range ready {
		c.now, c.at, c.full = now, at, false
		for _, s := range found.Val() {
			if s.Stream != c.key {
				continue
			}
			c.full = len(s.Messages) == r.count
			for _, x := range s.Messages {
				c.entries = append(c.entries, parse(x))
			}
		}
		if len(c.entries) == 0 {
			c.mark = now
		}
	}
	return nil
}

// save adds the watermarks of idle cursors to a pipeline. The caller runs the pipeline, and then saved.
func (r *reader) save(ctx context.Context, p redis.Pipeliner, ready []*cursor) (saved func()) {
	var late []*cursor
	var values []any
	for _, c := range ready {
		if c.mark.Sub(c.saved).Abs() >= saveEvery { // it decreases when Redis's clock is set back
			late = append(late, c)
			for k, v := range c.position(c.applied, c.mark) {
				values = append(values, k, v)
			}
		}
	}
	if len(late) == 0 {
		return func() {}
	}
	cmd := p.MSet(ctx, values...) // a full Redis refuses it: then in-doubt messages wait
	return func() {
		if cmd.Err() != nil {
			return
		}
		for _, c := range late {
			c.saved = c.mark
			r.lag.set(c.shard, c.at)
		}
	}
}

// position returns the strings to store when everything up to an entry is applied.
func (c *cursor) position(id string, mark time.Time) map[string]string {
	return map[string]string{
		AppliedKey(c.shard):   id,
		WatermarkKey(c.shard): strconv.FormatInt(mark.UnixMilli(), 10),
	}
}

// locate loads the script of the reader into the Redis process, and reads the positions that are not known.
func (r *reader) locate(ctx context.Context, ready []*cursor) error {
	if !r.loaded {
		if err := r.db.Eval(ctx, r.clock, []string{ready[0].key}).Err(); err != nil {
			return err
		}
		r.loaded = true
	}
	var unknown []*cursor
	var keys []string
	for _, c := range ready {
		if c.applied == "" {
			unknown, keys = append(unknown, c), append(keys, AppliedKey(c.shard))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	stored, err := r.db.MGet(ctx, keys...).Result()
	if err != nil {
		return err
	}
	for i, c := range unknown {
		c.applied = "0-0"
		if id, _ := stored[i].(string); id != "" {
			c.applied = id
		}
		if c.back != "" && compareIDs(c.back, c.applied) < 0 {
			c.applied = c.back
		}
		c.back = ""
		r.lag.set(c.shard, time.Now())
	}
	return nil
}

// restarted moves all cursors back by rewind: after a restart or a failover, Redis may have lost the last writes.
func (r *reader) restarted(ctx context.Context) error {
	r.log.Warn("Redis restarted, the events of the last minute are applied again")
	for r.busy > 0 { // cursors must not change below
		r.finish(<-r.done)
	}
	r.loaded = false
	for _, c := range r.cursors {
		if c.applied != "" {
			ms, _ := splitID(c.applied)
			c.back, c.applied = fmt.Sprintf("%d-0", ms-min(ms, uint64(rewind.Milliseconds()))), ""
		}
	}
	return nil
}

// timeOf parses the reply to TIME.
func timeOf(cmd *redis.Cmd) (time.Time, error) {
	t, err := cmd.StringSlice()
	if err != nil {
		return time.Time{}, err
	}
	if len(t) != 2 {
		return time.Time{}, fmt.Errorf("read Redis's clock: %q", t)
	}
	s, err1 := strconv.ParseInt(t[0], 10, 64)
	us, err2 := strconv.ParseInt(t[1], 10, 64)
	return time.Unix(s, us*1000), errors.Join(err1, err2)
}
