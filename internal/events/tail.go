package events

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

const (
	tailEntries  = 50                    // of a stream, in one read
	tailBytes    = 16 << 20              // memory for recent events
	changedEvery = 20 * time.Millisecond // the shortest time between two changes
	tailIdle     = 2 * time.Minute       // without consumers for this time, Tail stops reading
)

// Line is one event of a stream.
type Line struct {
	Key   string
	Shard message.Shard
	Place Place  // after this line
	Text  string // the event as it is stored: JSON without a line break
	Event message.Event
}

// Keys returns the keys of the streams of shards that may have events of the given types, or of all types if none is
// given. Gap events are in both streams of a shard.
func Keys(shards []message.Shard, types []string) (keys []string) {
	fromMeta := message.EventTypesOfMeta()
	ours := len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return !slices.Contains(fromMeta, t) })
	metas := len(types) == 0 || slices.ContainsFunc(types, func(t string) bool { return t == message.EventGap || slices.Contains(fromMeta, t) })
	for _, shard := range shards {
		if metas {
			keys = append(keys, MetaKey(shard))
		}
		if ours {
			keys = append(keys, MessageKey(shard))
		}
	}
	return keys
}

// Tail reads the event streams for all consumers of a process that have no consumer group. It reads new entries once,
// and keeps the latest in memory, about 16 MiB. It is safe for concurrent use.
type Tail struct {
	stream  *Stream
	all     []*window
	windows map[string]*window // by key

	dirty chan struct{} // has a value when changed must be closed
	limit int           // of size

	mu      sync.Mutex
	size    int       // of the entries in memory, approximate bytes
	order   []*window // the streams of the entries in memory, in the order in which they were read
	asked   time.Time // the last call of Changed
	awake   bool      // consumers wait: wake is closed
	wake    chan struct{}
	changed chan struct{}
}

// window is the recent entries of a stream.
type window struct {
	shard   message.Shard
	key     string
	known   bool  // the following members are set
	base    Place // all entries after it, up to last, are in memory
	last    Place
	entries []tailEntry
}

type tailEntry struct {
	last  Place // after the last line of the entry
	lines []Line
	size  int
}

// NewTail returns the Tail of a process. It reads nothing before the first Changed.
func NewTail(s *Stream) *Tail {
	t := &Tail{
		stream: s, windows: map[string]*window{}, limit: tailBytes,
		dirty: make(chan struct{}, 1), wake: make(chan struct{}), changed: make(chan struct{}),
	}
	for _, shard := range s.shards.All() {
		for _, key := range Keys([]message.Shard{shard}, nil) {
			w := &window{shard: shard, key: key}
			t.all, t.windows[key] = append(t.all, w), w
		}
	}
	return t
}

// Shards returns the number of shards of the installation.
func (t *Tail) Shards() message.Shards { return t.stream.shards }

// Changed returns a channel that is closed when streams may have new entries, at most every 20 ms. It may be closed
// without a reason. To miss nothing, call Changed before Read, and wait when Read returns nothing.
func (t *Tail) Changed() <-chan struct{} {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.asked = time.Now()
	if !t.awake {
		t.awake = true
		close(t.wake)
	}
	return t.changed
}

// Run reads new entries until ctx ends, and then returns nil within about a second. It uses one connection, in a
// Cluster one for each shard. It reads only while there are consumers: from a call of Changed on, until two minutes
// have passed without one.
func (t *Tail) Run(ctx context.Context) error {
	groups := [][]*window{t.all}
	if isCluster(t.stream.db) {
		groups = slices.Collect(slices.Chunk(t.all, 2)) // both streams of a shard
	}
	var wg sync.WaitGroup
	wg.Go(func() { t.announce(ctx) })
	for _, group := range groups {
		wg.Go(func() { t.run(ctx, group) })
	}
	wg.Wait()
	return nil
}

// announce closes the channels of Changed.
func (t *Tail) announce(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.dirty:
		}
		t.mu.Lock()
		close(t.changed)
		t.changed = make(chan struct{})
		t.mu.Unlock()
		sleep(ctx, changedEvery)
	}
}

func (t *Tail) signal() {
	select {
	case t.dirty <- struct{}{}:
	default:
	}
}

// run reads the streams of a group while there are consumers.
func (t *Tail) run(ctx context.Context, group []*window) {
	failures := 0
	for t.await(ctx) {
		worked, err := t.follow(ctx, group)
		t.forget(group)
		t.signal() // consumers read from Redis now, and those that wait call Changed again
		if err == nil || ctx.Err() != nil {
			continue
		}
		if failures++; worked {
			failures = 1
		}
		t.stream.log.Warn("cannot read events, will retry", slog.Any("err", err))
		sleep(ctx, pauses.After(failures))
	}
}

// await waits until there are consumers. It returns false when ctx ends.
func (t *Tail) await(ctx context.Context) bool {
	t.mu.Lock()
	wake := t.wake
	t.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
		return ctx.Err() == nil
	}
}

// idle reports whether there have been no consumers for tailIdle.
func (t *Tail) idle() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.awake && time.Since(t.asked) > tailIdle {
		t.awake, t.wake = false, make(chan struct{})
	}
	return !t.awake
}

// follow reads new entries of a group until ctx ends, Redis fails or there are no consumers. worked means that it
// has read.
func (t *Tail) follow(ctx context.Context, group []*window) (worked bool, err error) {
	if err := t.locate(ctx, group); err != nil {
		return false, err
	}
	t.signal() // entries may have been written before the position was known
	streams := make([]string, 2*len(group))
	for ctx.Err() == nil && !t.idle() {
		for i, w := range group {
			streams[i], streams[len(group)+i] = w.key, w.last.Entry
		}
		found, err := t.stream.db.XRead(ctx, &redis.XReadArgs{Streams: streams, Count: tailEntries, Block: block}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return worked, err
		}
		worked = true
		if len(found) == 0 {
			continue
		}
		full := t.keep(found)
		t.signal()
		if !full {
			sleep(ctx, changedEvery) // so that entries share round trips
		}
	}
	return worked, nil
}

// locate begins the windows of a group at the ends of their streams.
func (t *Tail) locate(ctx context.Context, group []*window) error {
	all, err := t.summaries(ctx, group)
	if err != nil {
		return err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, w := range group {
		w.base = all[i].last()
		w.last, w.known = w.base, true
	}
	return nil
}

// keep adds entries to their windows. full means that more entries are available.
func (t *Tail) keep(found []redis.XStream) (full bool) {
	for _, f := range found {
		full = full || len(f.Messages) == tailEntries
		w := t.windows[f.Stream]
		last := w.last // only this goroutine changes it
		entries := make([]tailEntry, len(f.Messages))
		for i, x := range f.Messages {
			last = Place{Entry: x.ID, N: lineCount(x), Count: last.Count + 1}
			e := tailEntry{last: last, lines: w.lines(nil, x, last.Count, 0, last.N)}
			for _, l := range e.lines {
				e.size += 500 + 3*len(l.Text) // the text, and the event that was parsed from it
			}
			entries[i] = e
		}
		t.mu.Lock()
		w.last = last
		for _, e := range entries {
			w.entries, t.order = append(w.entries, e), append(t.order, w)
			t.size += e.size
		}
		for t.size > t.limit && len(t.order) > 1 {
			t.dropOldest()
		}
		t.mu.Unlock()
	}
	return full
}

// dropOldest removes the oldest entry from memory. The caller has the lock.
func (t *Tail) dropOldest() {
	w := t.order[0]
	t.order[0], t.order = nil, t.order[1:]
	w.base, t.size = w.entries[0].last, t.size-w.entries[0].size
	w.entries[0], w.entries = tailEntry{}, w.entries[1:]
}

// forget removes the entries of a group from memory.
func (t *Tail) forget(group []*window) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, w := range group {
		for _, e := range w.entries {
			t.size -= e.size
		}
		w.known, w.base, w.last, w.entries = false, Place{}, Place{}, nil
	}
	t.order = slices.DeleteFunc(t.order, func(w *window) bool { return !w.known })
}

// Read returns up to most lines of a stream after a place, from memory if they are recent, else from Redis. It does
// not wait for new ones, and may return fewer than most although there are more; without an error, no lines mean that
// there are none. It leaves out lines that are not events. The error is a *TooOld if entries after the place were
// dropped. The lines are shared: do not change what they refer to.
func (t *Tail) Read(ctx context.Context, key string, after Place, most int) ([]Line, error) {
	w := t.windows[key]
	if w == nil {
		return nil, fmt.Errorf("read events: %q is not an event stream", key)
	}
	if lines, ok := t.recent(w, after, most); ok {
		return lines, nil
	}
	lines, err := t.load(ctx, w, after, most)
	if err != nil {
		return nil, fmt.Errorf("read events: %w", err)
	}
	return lines, nil
}

// recent returns lines from memory. ok is false if they are not all in memory.
func (t *Tail) recent(w *window, after Place, most int) (lines []Line, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := cmp.Or(after.Entry, beginning)
	if !w.known || compareIDs(at, w.last.Entry) > 0 {
		return nil, false
	}
	if c := compareIDs(at, w.base.Entry); c < 0 || c == 0 && after.N < w.base.N {
		return nil, false
	}
	i := sort.Search(len(w.entries), func(i int) bool { return compareIDs(w.entries[i].last.Entry, at) >= 0 })
	for ; i < len(w.entries) && len(lines) < most; i++ {
		for _, l := range w.entries[i].lines {
			if (l.Place.Entry != at || l.Place.N > after.N) && len(lines) < most {
				lines = append(lines, l)
			}
		}
	}
	return lines, true
}

// load returns lines from Redis.
func (t *Tail) load(ctx context.Context, w *window, after Place, most int) (lines []Line, err error) {
	count := int64(min(max(most/8, 8), tailEntries)) // of entries: busy streams have several lines in one
	for {
		found, next, err := t.entries(ctx, w, after, count+1)
		if err != nil {
			return nil, err
		}
		for _, x := range found {
			skip := 0
			switch {
			case x.ID == next.Entry:
				skip = next.N
			case next.Count > 0 || next.Entry == beginning:
				next.Count++
			}
			next.Entry, next.N = x.ID, lineCount(x)
			if lines = w.lines(lines, x, next.Count, skip, most-len(lines)); len(lines) == most {
				return lines, nil
			}
		}
		if len(lines) > 0 || int64(len(found)) <= count {
			return lines, nil
		}
		after = next // no line of these entries is an event
	}
}

// entries reads the entry of a place and those after it, up to count. from is the place from which they were read.
func (t *Tail) entries(ctx context.Context, w *window, after Place, count int64) (found []redis.XMessage, from Place, err error) {
	db := t.stream.db
	if after.Count > 0 || after.Entry == beginning { // otherwise the summary of the stream leads to the count
		found, err = db.XRangeN(ctx, w.key, after.Entry, "+", count).Result()
		if err != nil || len(found) > 0 && found[0].ID == after.Entry {
			return found, after, err // as long as the entry exists, no later one was dropped
		}
	}
	var info *redis.XInfoStreamCmd
	var rest *redis.XMessageSliceCmd
	db.TxPipelined(ctx, func(p redis.Pipeliner) error { // each command has its own error
		info, rest = p.XInfoStream(ctx, w.key), p.XRangeN(ctx, w.key, cmp.Or(after.Entry, beginning), "+", count)
		return nil
	})
	s, err := summaryOf(w.key, info)
	if err != nil {
		return nil, after, err
	}
	if found, err = rest.Result(); err != nil {
		return nil, after, err
	}
	switch {
	case after.Entry == "":
		return found, s.oldest(), nil
	case compareIDs(s.LastGeneratedID, after.Entry) < 0:
		// Redis has lost its last writes, at a restart or a failover. New entries may have older ids than the place.
		ms, _ := splitID(after.Entry)
		from = Place{Entry: fmt.Sprintf("%d-0", ms-min(ms, uint64(rewind.Milliseconds())))}
		found, err = db.XRangeN(ctx, w.key, from.Entry, "+", count).Result()
		return found, from, err
	case len(found) > 0 && found[0].ID == after.Entry:
		if after.Count == 0 && int64(len(found)) < count { // these are all entries to the end
			after.Count = s.EntriesAdded - int64(len(found)) + 1
		}
		return found, after, nil
	case after.Count >= s.dropped(), s.EntriesAdded == 0:
		return found, after, nil
	}
	return nil, after, &TooOld{Key: w.key, First: s.FirstEntry.ID}
}

// lines appends up to most lines of an entry, without the first skip ones. count is the Count of their places.
func (w *window) lines(all []Line, x redis.XMessage, count int64, skip, most int) []Line {
	text, _ := x.Values[Field].(string)
	if text == "" {
		return all
	}
	n, end := 0, len(all)+most
	for line := range strings.SplitSeq(text, "\n") {
		if n++; n <= skip {
			continue
		}
		if len(all) == end {
			break
		}
		if e, err := message.DecodeEvent([]byte(line)); err == nil {
			all = append(all, Line{Key: w.key, Shard: w.shard, Place: Place{x.ID, n, count}, Text: line, Event: e})
		}
	}
	return all
}
