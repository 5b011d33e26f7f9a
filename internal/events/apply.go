package events

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

const (
	handEvents    = 500              // handed over at once, unless one entry has more
	maxTries      = 5                // of an entry on its own; then what fails in it is dead
	handleTimeout = 10 * time.Second // for one call of the handler
)

//go:embed lua/save.lua
var saveLua string

// retry is what a cursor remembers of failures.
type retry struct {
	resume   time.Time // when to read on
	failures int       // of Redis, in a row
	alone    bool      // entries are applied one by one
	entry    string    // the one that failed on its own
	tries    int       // how often
}

// start lets what was read be applied. It tells whether anything was read.
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

// gather waits until what was read is applied, and gives further events time to come together,
// unless there are some already. Shards that take long are not waited for.
func (r *reader) gather(ctx context.Context, ready []*cursor) {
	more := slices.ContainsFunc(ready, func(c *cursor) bool { return c.full })
	company := time.NewTimer(gather)
	defer company.Stop()
	for r.busy > 0 || !more {
		select {
		case c := <-r.done:
			r.finish(c)
		case <-company.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// applyAll applies what was read of a cursor, in order, as far as that works.
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

// applySome applies the next entries together, and returns how many. Under its own time: what was
// begun is finished.
func (r *reader) applySome(ctx context.Context, c *cursor) (int, error) {
	ctx, cancel := context.WithTimeoutCause(context.WithoutCancel(ctx), handleTimeout, errors.New("applying events took too long"))
	defer cancel()
	n, events := c.next()
	last := c.entries[n-1]
	whole := n > 1 || last.whole()
	if c.alone {
		r.metrics.retried.Inc()
	}
	var stored bool
	var err error
	if len(events) > 0 {
		var also map[string]string
		if whole {
			also = c.position(last.id, c.reached(n))
		}
		stored, err = r.handle(ctx, c.shard, events, also)
	}
	switch {
	case err == nil && !whole:
		err = r.bury(ctx, c, last, "unreadable")
	case err == nil && !stored:
		err = r.store(ctx, c.position(last.id, c.reached(n)))
	case err != nil && blames(err):
		return r.failed(ctx, c, n, err)
	}
	if err != nil {
		c.resume = time.Now().Add(pause(c.failures))
		c.failures++
		return 0, err
	}
	r.passed(c, n)
	return n, nil
}

// next returns how many of the entries are to be applied together, and their events. One that
// cannot be read as a whole goes alone.
func (c *cursor) next() (n int, events []message.Event) {
	for _, e := range c.entries {
		if n > 0 && (c.alone || !e.whole() || len(events)+len(e.events) > handEvents) {
			break
		}
		n, events = n+1, append(events, e.events...)
		if !e.whole() {
			break
		}
	}
	return n, events
}

// reached is the watermark once the next n entries are applied.
func (c *cursor) reached(n int) time.Time {
	if n == len(c.entries) && !c.full {
		return c.now
	}
	ms, _ := splitID(c.entries[n-1].id)
	if mark := time.UnixMilli(int64(ms)); mark.Before(c.now) {
		return mark
	}
	return c.now // the clock was wrong when it was written
}

// passed notes that the next n entries are applied, and that this is stored.
func (r *reader) passed(c *cursor, n int) {
	mark := c.reached(n)
	c.applied, c.mark, c.saved = c.entries[n-1].id, mark, mark
	r.lag.set(c.shard, c.at.Add(mark.Sub(c.now)))
}

// store stores strings that the handler did not.
func (r *reader) store(ctx context.Context, values map[string]string) error {
	err := r.db.MSet(ctx, values).Err()
	if !redis.IsOOMError(err) {
		return err
	}
	// What is not stored as applied cannot be trimmed: a full Redis takes it all the same.
	var keys []string
	var args []any
	for k, v := range values {
		keys, args = append(keys, k), append(args, v)
	}
	return r.db.Run(ctx, r.Stream.save, keys, args...).Err()
}

// failed says what is next after n entries could not be applied, by a fault of their own.
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
		c.resume = time.Now().Add(pause(c.tries - 1))
		return 0, err
	}
	if err := r.sift(ctx, c, e); err != nil {
		c.resume = time.Now().Add(pause(c.failures))
		c.failures++
		return 0, err
	}
	r.passed(c, 1)
	return 1, nil
}

// sift applies the events of an entry one by one, and buries those that fail.
func (r *reader) sift(ctx context.Context, c *cursor, e entry) error {
	for i, ev := range e.events {
		if len(e.events) > 1 {
			_, err := r.handle(ctx, c.shard, []message.Event{ev}, nil)
			if err == nil {
				continue
			}
			if !blames(err) {
				return err
			}
		}
		e.bad = append(e.bad, e.lines[i])
	}
	if len(e.bad) == 0 {
		return r.store(ctx, c.position(e.id, c.reached(1)))
	}
	return r.bury(ctx, c, e, "failed "+strconv.Itoa(maxTries)+" times")
}

// bury moves what is bad in the next entry to the dead-letter stream; the rest of it is applied.
func (r *reader) bury(ctx context.Context, c *cursor, e entry, why string) error {
	values := []any{"id", e.id, "why", why}
	for k, v := range e.values {
		values = append(values, k, v)
	}
	if len(e.bad) > 0 {
		values = append(values, Field, strings.Join(e.bad, "\n"))
	}
	err := r.db.Tx(ctx, func(p redis.Pipeliner) error {
		p.XAdd(ctx, &redis.XAddArgs{Stream: DeadKey(c.shard), MaxLen: maxDead, Approx: true, Values: values})
		p.MSet(ctx, c.position(e.id, c.reached(1)))
		return nil
	})
	if err != nil {
		return err
	}
	r.metrics.dead.Inc()
	r.log.Error("events moved to the dead-letter stream", slog.String("shard", c.shard.String()), slog.String("entry", e.id), slog.String("reason", why))
	return nil
}

// blames tells whether an entry, or what it is about, is to blame for a failure: a script failed on it, or
// something stored cannot be read. Everything else is Redis's fault or ours, and is tried again until it
// works.
func blames(err error) bool {
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
	if !errors.As(err, &reply) {
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
