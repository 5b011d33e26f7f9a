package events

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Limits of one round trip.
const (
	tripBytes   = 4 << 20
	tripTimeout = 30 * time.Second
)

// Append writes events to the streams of their numbers, or of their accounts if they have no number. It packs
// the events of a stream into as few entries as possible. Concurrent callers share round trips and entries. It
// returns nil only when Redis has confirmed all events. After an error any of them may have been written. An
// event that cannot be encoded goes to the quarantine, and the others are written.
func (s *Stream) Append(ctx context.Context, events []message.Event) error {
	if len(events) == 0 {
		return nil
	}
	var parts []*part
	for _, e := range events {
		var err error
		if parts, err = add(parts, s.shards.Of(cmp.Or(e.Number, e.WABA)), e); err != nil {
			s.log.Error("cannot encode event, it is moved to the quarantine", slog.String("event_type", e.Type), slog.Any("err", err))
			if err := s.Quarantine(ctx, e.Meta, "event cannot be encoded"); err != nil {
				return err
			}
		}
	}
	if err := s.appends.Do(ctx, 0, parts...); err != nil {
		return fmt.Errorf("append events: %w", err)
	}
	return nil
}

// part is the events of one caller for one entry.
type part struct {
	shard message.Shard
	ours  bool // about what Sluice did; false: from Meta
	key   string
	n     int // number of events
	text  []byte
}

// add adds an event to the last part for its stream, or to a new part.
func add(parts []*part, shard message.Shard, e message.Event) ([]*part, error) {
	ours := e.Ours()
	i := len(parts) - 1
	for i >= 0 && (parts[i].shard != shard || parts[i].ours != ours) {
		i--
	}
	var line []byte // of an event that does not fit into the last part
	var err error
	if i >= 0 && parts[i].n < entryEvents {
		p := parts[i]
		before := len(p.text)
		text, err := encode(append(p.text, '\n'), e)
		if err != nil {
			return parts, err
		}
		if len(text) <= entryBytes {
			p.text = text
			p.n++
			return parts, nil
		}
		line = bytes.Clone(text[before+1:])
	} else if line, err = encode(make([]byte, 0, len(e.Meta)+512), e); err != nil {
		return parts, err
	}
	key := MetaKey(shard)
	if ours {
		key = MessageKey(shard)
	}
	return append(parts, &part{shard: shard, ours: ours, key: key, n: 1, text: line}), nil
}

// newAppends returns the group commit that writes entries. In a Cluster each shard has its own round trips, so
// that one slow master does not delay the others.
func newAppends(db *store.DB) *store.GroupCommit[*part] {
	laneOf := func(*part) string { return "" }
	if isCluster(db) {
		laneOf = func(p *part) string { return p.shard.String() }
	}
	return store.NewGroupCommit(laneOf, math.MaxInt, func(l *store.Lane[*part]) {
		var texts []byte
		for {
			shares := l.Next(fitting)
			if len(shares) == 0 {
				return
			}
			texts = write(db, shares, texts[:0])
		}
	})
}

// fitting returns how many parts fit into one round trip.
func fitting(waiting []*store.Share[*part]) (n int, full bool) {
	size := 0
	for _, s := range waiting {
		if size += len(s.Part.text); n > 0 && size > tripBytes {
			return n, true
		}
		n++
	}
	return n, false
}

// write writes parts in one round trip. It returns the buffer texts for reuse.
func write(db *store.DB, shares []*store.Share[*part], texts []byte) []byte {
	ctx, cancel := context.WithTimeout(context.Background(), tripTimeout)
	defer cancel()
	entries := together(shares)
	values := make([][]byte, len(entries))
	for i, shares := range entries {
		values[i] = shares[0].Part.text
		if len(shares) > 1 {
			start := len(texts)
			for _, s := range shares {
				texts = append(append(texts, s.Part.text...), '\n')
			}
			values[i] = texts[start : len(texts)-1]
		}
	}
	var cmds []*redis.StringCmd
	all := db.Durably(ctx, func(p redis.Pipeliner) {
		cmds = cmds[:0]
		for i, shares := range entries {
			cmds = append(cmds, p.XAdd(ctx, &redis.XAddArgs{Stream: shares[0].Part.key, Values: []any{Field, values[i]}}))
		}
	})
	for i, shares := range entries {
		err := cmds[i].Err()
		if err == nil && errors.Is(all, store.ErrUnconfirmed) {
			err = all
		}
		for _, s := range shares {
			s.End(err)
		}
	}
	return texts
}

// together groups parts into entries: as few as possible for each stream, in order.
func together(shares []*store.Share[*part]) (entries [][]*store.Share[*part]) {
	type entry struct{ at, events, bytes int }
	last := map[string]*entry{} // by stream
	for _, s := range shares {
		p := s.Part
		r := last[p.key]
		if r == nil || r.events+p.n > entryEvents || r.bytes+1+len(p.text) > entryBytes {
			r = &entry{at: len(entries)}
			last[p.key], entries = r, append(entries, nil)
		}
		entries[r.at] = append(entries[r.at], s)
		r.events, r.bytes = r.events+p.n, r.bytes+1+len(p.text)
	}
	return entries
}
