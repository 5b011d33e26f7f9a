package events

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Limits of one round trip of an appender.
const (
	tripBytes   = 4 << 20
	tripTimeout = 30 * time.Second
)

// Append writes events to the streams of their numbers, or of their accounts where they have
// no number. Those of one stream go into as few entries as possible; callers that come together
// share round trips and entries. It returns nil only when Redis confirmed every one of them; after
// an error any of them may have been written. An event that cannot be written in the form of an event
// goes to the quarantine and holds up no other.
func (s *Stream) Append(ctx context.Context, events []message.Event) error {
	if len(events) == 0 {
		return nil
	}
	c := &call{done: make(chan struct{})}
	for _, e := range events {
		if err := c.add(s.shards.Of(cmp.Or(e.Number, e.WABA)), e); err != nil {
			s.log.Error("cannot encode event, it is moved to the quarantine", slog.String("type", e.Type), slog.Any("err", err))
			if err := s.Quarantine(ctx, e.Meta, "event cannot be encoded"); err != nil {
				return err
			}
		}
	}
	if len(c.parts) == 0 {
		return nil
	}
	if err := s.appends.do(ctx, c); err != nil {
		return fmt.Errorf("append events: %w", err)
	}
	return nil
}

// call is one caller of an appender.
type call struct {
	parts []*part
	done  chan struct{}

	// guarded by the appender
	waits int // parts that are not written yet
	err   error
	left  bool // the caller has gone
}

// part is what a call brings for one entry.
type part struct {
	call  *call
	shard message.Shard
	ours  bool // events of ours, not Meta's
	key   string
	n     int // events
	text  []byte
}

// add puts an event into the call's last part for its stream, or into another one.
func (c *call) add(shard message.Shard, e message.Event) (err error) {
	ours := e.Type == message.EventMessage
	i := len(c.parts) - 1
	for i >= 0 && (c.parts[i].shard != shard || c.parts[i].ours != ours) {
		i--
	}
	var line []byte // where the part is full
	if i >= 0 && c.parts[i].n < entryEvents {
		p := c.parts[i]
		before := len(p.text)
		text, err := encode(append(p.text, '\n'), e)
		if err != nil {
			return err
		}
		if len(text) <= entryBytes {
			p.text = text
			p.n++
			return nil
		}
		line = bytes.Clone(text[before+1:])
	} else if line, err = encode(make([]byte, 0, len(e.Meta)+512), e); err != nil {
		return err
	}
	key := MetaKey(shard)
	if ours {
		key = MessageKey(shard)
	}
	c.parts = append(c.parts, &part{call: c, shard: shard, ours: ours, key: key, n: 1, text: line})
	return nil
}

// appender writes entries. While one round trip is under way the next gathers. It needs no closing.
type appender struct {
	db    *store.DB
	apart bool // each shard has round trips of its own: in a Cluster masters do not wait for each other

	mu    sync.Mutex
	lanes map[message.Shard]*lane
}

// lane is the callers who share round trips.
type lane struct {
	waiting []*part
	running bool
}

func (a *appender) do(ctx context.Context, c *call) error {
	a.mu.Lock()
	c.waits = len(c.parts)
	for _, p := range c.parts {
		var name message.Shard
		if a.apart {
			name = p.shard
		}
		l := a.lanes[name]
		if l == nil {
			l = &lane{}
			a.lanes[name] = l
		}
		l.waiting = append(l.waiting, p)
		if !l.running {
			l.running = true
			go a.run(l)
		}
	}
	a.mu.Unlock()
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		a.mu.Lock()
		defer a.mu.Unlock()
		c.left = true
		return context.Cause(ctx)
	}
}

// run serves a lane until no caller waits.
func (a *appender) run(l *lane) {
	var texts []byte
	for {
		parts := a.next(l)
		if len(parts) == 0 {
			return
		}
		texts = a.write(parts, texts[:0])
	}
}

// next returns what is to be written now.
func (a *appender) next(l *lane) []*part {
	a.mu.Lock()
	defer a.mu.Unlock()
	// While Redis is away callers come and go.
	l.waiting = slices.DeleteFunc(l.waiting, func(p *part) bool { return p.call.left })
	n, size := 0, 0
	for ; n < len(l.waiting) && (n == 0 || size+len(l.waiting[n].text) <= tripBytes); n++ {
		size += len(l.waiting[n].text)
	}
	parts := l.waiting[:n:n]
	l.waiting = l.waiting[n:]
	if n == 0 {
		l.waiting, l.running = nil, false
	}
	return parts
}

// write writes parts in one round trip. It returns texts, which it used, for the next time.
func (a *appender) write(parts []*part, texts []byte) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), tripTimeout)
	defer cancel()
	entries := together(parts)
	values := make([][]byte, len(entries))
	for i, parts := range entries {
		values[i] = parts[0].text
		if len(parts) > 1 {
			start := len(texts)
			for _, p := range parts {
				texts = append(append(texts, p.text...), '\n')
			}
			values[i] = texts[start : len(texts)-1]
		}
	}
	var cmds []*redis.StringCmd
	all := a.db.Durably(ctx, func(p redis.Pipeliner) {
		cmds = cmds[:0]
		for i, parts := range entries {
			cmds = append(cmds, p.XAdd(ctx, &redis.XAddArgs{Stream: parts[0].key, Values: []any{Field, values[i]}}))
		}
	})
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, parts := range entries {
		err := cmds[i].Err()
		if err == nil && errors.Is(all, store.ErrUnconfirmed) {
			err = all
		}
		for _, p := range parts {
			p.call.written(err)
		}
	}
	return texts
}

// written says that a part of the call is written, or why not.
func (c *call) written(err error) {
	if c.err == nil {
		c.err = err
	}
	if c.waits--; c.waits == 0 {
		close(c.done)
	}
}

// together sorts parts into entries: those of one stream into as few as possible, in order.
func together(parts []*part) (entries [][]*part) {
	type room struct{ at, events, bytes int }
	last := map[string]*room{} // by stream
	for _, p := range parts {
		r := last[p.key]
		if r == nil || r.events+p.n > entryEvents || r.bytes+1+len(p.text) > entryBytes {
			r = &room{at: len(entries)}
			last[p.key], entries = r, append(entries, nil)
		}
		entries[r.at] = append(entries[r.at], p)
		r.events, r.bytes = r.events+p.n, r.bytes+1+len(p.text)
	}
	return entries
}
