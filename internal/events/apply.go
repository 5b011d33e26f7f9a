package events

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	batchEvents   = 500              // in one call of the handler, unless one entry has more
	maxTries      = 5                // of a single entry; then its failing events become dead letters
	handleTimeout = 10 * time.Second // for one call of the handler
)

//go:embed lua/save.lua
var saveLua string

// retries is the state of a cursor after failures.
type retries struct {
	resume   time.Time // when to read again
	failures int       // consecutive failures of Redis
	alone    bool      // entries are applied one by one
	entry    string    // the last single entry that failed
	tries    int       // how often it failed
}

// start starts to apply the entries that were read. It reports whether there are any.
func (r *reader) start(ctx context.Context, ready []*cursor) bool {
	read := false
	for _, c := range ready {
		if len(c.entries) > 0 {
			read, c.busy = true, true
			r.busy++
			r.wg.Go(func() {
				r.applyAll(ctx, c)
				r.done <- c
			})
		}
	}
	return read
}

// linger waits until the entries that were read are applied, and lets further events accumulate for a moment
// unless some wait already. It waits for at most maxDelay, so a slow shard does not delay the others.
func (r *reader) linger(ctx context.Context, ready []*cursor) {
	more := slices.ContainsFunc(ready, func(c *cursor) bool { return c.full })
	delay := time.NewTimer(maxDelay)
	defer delay.Stop()
	for r.busy > 0 || !more {
		select {
		case c := <-r.done:
			r.finish(c)
		case <-delay.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// applyAll applies the entries of a cursor in order, until one fails.
func (r *reader) applyAll(ctx context.Context, c *cursor) {
	for len(c.entries) > 0 {
		if ctx.Err() != nil {
			return
		}
		n, err := r.applySome(ctx, c)
		if err != nil {
			r.log.Warn("cannot apply events, will retry", slog.String("shard", c.shard.String()), slog.Any("err", err))
			return
		}
		c.entries = c.entries[n:]
	}
	c.alone, c.failures = false, 0
}

// applySome applies the next entries together, and returns their number. A stop does not end its context, so
// that a started transaction completes.
func (r *reader) applySome(ctx context.Context, c *cursor) (int, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), handleTimeout, errors.New("applying events took too long"))
	defer cancel()
	n, events := c.next()
	last := c.entries[n-1]
	whole := n > 1 || last.whole()
	if !whole && last.newer > 0 { // it waits for a worker that can read it
		c.resume = time.Now().Add(pauses.After(c.failures + 1))
		c.failures++
		return 0, fmt.Errorf("entry %s has an event of version %d, and this program reads up to version %d: upgrade the workers", last.id, last.newer, message.EventVersion)
	}
	if c.alone {
		r.metrics.retried.Inc()
	}
	var stored bool
	var err error
	if len(events) > 0 {
		var also map[string]string
		if whole {
			also = c.position(last.id, c.watermarkAfter(n))
		}
		stored, err = r.handle(ctx, c.shard, events, also)
	}
	switch {
	case err == nil && !whole:
		err = r.deadLetter(ctx, c, last, "unreadable")
	case err == nil && !stored:
		err = r.store(ctx, c.position(last.id, c.watermarkAfter(n)))
	case err != nil && entryFault(err):
		return r.failed(ctx, c, n, err)
	}
	if err != nil {
		c.resume = time.Now().Add(pauses.After(c.failures + 1))
		c.failures++
		return 0, err
	}
	r.passed(c, n)
	return n, nil
}

// next returns the number of entries to apply together, and their events. An entry with unreadable parts is
// applied alone.
func (c *cursor) next() (n int, events []message.Event) {
	for _, e := range c.entries {
		if n > 0 && (c.alone || !e.whole() || len(events)+len(e.events) > batchEvents) {
			break
		}
		n, events = n+1, append(events, e.events...)
		if !e.whole() {
			break
		}
	}
	return n, events
}

// watermarkAfter returns the watermark when the next n entries are applied.
func (c *cursor) watermarkAfter(n int) time.Time {
	if n == len(c.entries) && !c.full {
		return c.now
	}
	ms, _ := splitID(c.entries[n-1].id)
	if mark := time.UnixMilli(int64(ms)); mark.Before(c.now) {
		return mark
	}
	return c.now // the clock was ahead when the entry was written
}

// passed records that the next n entries are applied and the position is stored.
func (r *reader) passed(c *cursor, n int) {
	mark := c.watermarkAfter(n)
	c.applied, c.mark, c.saved = c.entries[n-1].id, mark, mark
	r.lag.set(c.shard, c.at.Add(mark.Sub(c.now)))
}

// store stores strings that the handler has not stored.
func (r *reader) store(ctx context.Context, values map[string]string) error {
	err := r.db.MSet(ctx, values).Err()
	if !redis.IsOOMError(err) {
		return err
	}
	// Trim drops only entries before the stored position. So a full Redis must store the position, to become
	// less full: the script does that.
	var keys []string
	var args []any
	for k, v := range values {
		keys, args = append(keys, k), append(args, v)
	}
	return r.db.Run(ctx, r.Stream.save, keys, args...).Err()
}

// failed handles n entries that could not be applied because of their content. It returns how many of them are
// done with.
func (r *reader) failed(ctx context.Context, c *cursor, n int, err error) (int, error) {
	c.alone = true
	if n > 1 {
		r.log.Warn("cannot apply a batch of events, will apply them one by one", slog.String("shard", c.shard.String()), slog.Any("err", err))
		return 0, nil
	}
	e := c.entries[0]
	if c.entry != e.id {
		c.entry, c.tries = e.id, 0
	}
	c.tries++
	if c.tries < maxTries {
		c.resume = time.Now().Add(pauses.After(c.tries))
		return 0, err
	}
	if err := r.applyEach(ctx, c, e); err != nil {
		c.resume = time.Now().Add(pauses.After(c.failures + 1))
		c.failures++
		return 0, err
	}
	r.passed(c, 1)
	return 1, nil
}

// applyEach applies the events of an entry one by one. Those that fail become dead letters.
func (r *reader) applyEach(ctx context.Context, c *cursor, e entry) error {
	for i, ev := range e.events {
		if len(e.events) > 1 {
			_, err := r.handle(ctx, c.shard, []message.Event{ev}, nil)
			if err == nil {
				continue
			}
			if !entryFault(err) {
				return err
			}
		}
		e.bad = append(e.bad, e.lines[i])
	}
	if len(e.bad) == 0 {
		return r.store(ctx, c.position(e.id, c.watermarkAfter(1)))
	}
	return r.deadLetter(ctx, c, e, "failed "+strconv.Itoa(maxTries)+" times")
}

// deadLetter moves the bad lines of the next entry to the dead-letter stream, and stores the position after it.
func (r *reader) deadLetter(ctx context.Context, c *cursor, e entry, why string) error {
	values := []any{"id", e.id, "why", why}
	for k, v := range e.values {
		values = append(values, k, v)
	}
	if len(e.bad) > 0 {
		values = append(values, Field, strings.Join(e.bad, "\n"))
	}
	err := r.db.Tx(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: DeadKey(c.shard), MaxLen: maxDead, Approx: true, Values: values})
		p.MSet(ctx, c.position(e.id, c.watermarkAfter(1)))
		return nil
	})
	if err != nil {
		return err
	}
	r.metrics.dead.Inc()
	r.log.Error("events moved to the dead-letter stream", slog.String("shard", c.shard.String()), slog.String("entry", e.id), slog.String("reason", why))
	return nil
}

// entryFault reports whether the content of an entry, or of its record, caused an error: a script failed on it,
// or stored data cannot be decoded. All other errors are faults of Redis or of Sluice: the reader retries until
// they are gone.
func entryFault(err error) bool {
	if errors.Is(err, message.ErrUnreadable) {
		return true
	}
	if _, ok := errors.AsType[*json.SyntaxError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return true
	}
	var reply redis.Error
	if store.Unreachable(err) || !errors.As(err, &reply) { // a script fails too while a Cluster moves its slot
		return false
	}
	switch word, text, _ := strings.Cut(reply.Error(), " "); word {
	case "WRONGTYPE":
		return true
	case "ERR":
		return strings.Contains(text, "script")
	}
	return false
}
