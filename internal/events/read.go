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
)

const (
	readEntries = 50                     // of a shard, in one read; fewer after a failure
	block       = 500 * time.Millisecond // how long one read waits; also how long a stop may take
	minPause    = 100 * time.Millisecond
	maxPause    = 5 * time.Second
	// gather is how long a reader that has caught up lets events come together: the round trips
	// for each single one would be most of what Redis does.
	gather = 100 * time.Millisecond
	// saveEvery is how often an idle shard's watermark is written.
	saveEvery = time.Second
	// rewind is how far back a reader goes after a restart of Redis, or a failover, which may have
	// lost the last that was applied.
	rewind = time.Minute
)

// Handler applies events of one shard, in their order. It stores also, keys and their values, as
// plain strings in the same step as what it stores last, and says so; where it stores nothing, it
// returns false, and they are stored for it. An event may come more than once, also after it was
// applied. Its context outlives a stop, so that what was begun is finished.
type Handler = func(ctx context.Context, shard message.Shard, events []message.Event, also map[string]string) (stored bool, err error)

// Read hands the Meta events to handle until ctx ends; it then returns nil, within a second or so.
// It begins after the last entry that is applied, at first with the oldest. The shards are spread
// over the living readers of all processes. Calls for different shards run at once, those for one
// shard do not.
//
// The position, see AppliedKey, and the watermark of a shard are stored in the same step as what was
// applied; while nothing comes the watermark is written each second.
//
// After an error of handle the same entries come again, with growing pauses, until it succeeds; its errors
// are logged. Where the entries are to blame, because a script failed on them or something stored cannot
// be read, they come one by one, and what fails on its own five times is moved to the dead-letter stream.
//
// The reader's name must be its own. Read keeps one connection of the pool; in a Cluster one for
// each shard.
func (s *Stream) Read(ctx context.Context, name string, handle Handler) error {
	sh := &share{
		db: s.db, meet: s.meet, consumer: name, log: s.log, changed: make(chan struct{}),
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

// reader reads some shards by one command.
type reader struct {
	*Stream
	share   *share
	handle  Handler
	cursors []*cursor
	clock   string       // a script that tells the time, known only to Redis processes that this reader has met
	sha     string       // its name
	met     bool         // a Redis process knows the script
	count   int          // entries of a shard in the next read
	busy    int          // cursors that are being applied
	done    chan *cursor // that were
	wg      sync.WaitGroup
}

// cursor is how far one shard's stream is applied, as this reader knows it.
type cursor struct {
	shard   message.Shard
	key     string
	applied string    // the id of the last entry applied; "": not known
	back    string    // go on here at the latest, after a restart of Redis; "": no matter
	mark    time.Time // the watermark, by Redis's clock
	saved   time.Time // the watermark as last stored
	busy    bool      // what was read is being applied: all else belongs to that
	retry             // after a failure

	entries []entry   // as read
	full    bool      // there may be more of them
	now     time.Time // Redis's time before they were read
	at      time.Time // the same by our clock
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
				sleep(ctx, pause(failures))
			}
			failures++
			r.count = max(1, r.count/2) // it may be too much for the time that an answer may take
			continue
		}
		failures, r.count = 0, min(2*r.count, readEntries)
		if r.start(ctx, ready) {
			r.gather(ctx, ready)
		}
	}
}

// pause is how long to wait after so many failures before.
func pause(failures int) time.Duration { return min(minPause<<min(failures, 10), maxPause) }

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// ready returns the cursors that are to be read now. Of a shard that another process reads nothing
// stays known here: it may go on there.
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

// read reads on at the cursors, in one round trip, and waits a moment when there is nothing. With
// it goes what is to be saved of those that were idle.
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
		wait = gather
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

// save adds to a pipeline what is to be saved of idle cursors. The caller runs the pipeline, then
// what save returns.
func (r *reader) save(ctx context.Context, p redis.Pipeliner, ready []*cursor) (saved func()) {
	var late []*cursor
	var values []any
	for _, c := range ready {
		if c.mark.Sub(c.saved).Abs() >= saveEvery { // it goes back when somebody sets Redis's clock back
			late = append(late, c)
			for k, v := range c.position(c.applied, c.mark) {
				values = append(values, k, v)
			}
		}
	}
	if len(late) == 0 {
		return func() {}
	}
	cmd := p.MSet(ctx, values...) // a full Redis refuses it: then doubts wait
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

// position is what is stored when everything up to an entry is applied.
func (c *cursor) position(id string, mark time.Time) map[string]string {
	return map[string]string{
		AppliedKey(c.shard):   id,
		WatermarkKey(c.shard): strconv.FormatInt(mark.UnixMilli(), 10),
	}
}

// locate meets the Redis process, and reads the positions that are not known.
func (r *reader) locate(ctx context.Context, ready []*cursor) error {
	if !r.met {
		if err := r.db.Eval(ctx, r.clock, []string{ready[0].key}).Err(); err != nil {
			return err
		}
		r.met = true
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

// restarted goes back: this Redis process is another one, after a restart or a failover, and may
// have lost what was applied last.
func (r *reader) restarted(ctx context.Context) error {
	r.log.Warn("Redis restarted: the events of the last minute are applied again")
	for r.busy > 0 { // what ends now must not undo it
		r.finish(<-r.done)
	}
	r.met = false
	for _, c := range r.cursors {
		if c.applied != "" {
			ms, _ := splitID(c.applied)
			c.back, c.applied = fmt.Sprintf("%d-0", ms-min(ms, uint64(rewind.Milliseconds()))), ""
		}
	}
	return nil
}

// timeOf reads the answer to TIME.
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
