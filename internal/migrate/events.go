package migrate

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	// eventsMost is how many events share one entry.
	eventsMost = 25
	// oldStreamLife is how long the old stream is kept, for consumer groups that have not read all of it.
	oldStreamLife = 7 * 24 * time.Hour
)

// events copies the events that the group for Meta's statuses has not handled to the new streams. The same
// transaction marks them as handled.
func (m *migration) events(ctx context.Context) error {
	for _, s := range m.o.Shards.All() {
		others, err := m.groups(ctx, s)
		if err == nil {
			err = m.pending(ctx, s)
		}
		if err == nil {
			err = m.unread(ctx, s, others)
		}
		if err != nil {
			return fmt.Errorf("copy events: %w", err)
		}
	}
	return nil
}

// unhandled counts the entries of the old stream that the group has not handled.
func (m *migration) unhandled(ctx context.Context, s message.Shard) (n int, err error) {
	groups, err := m.db.XInfoGroups(ctx, store.Key(s, oldStream)).Result()
	if isGone(err) {
		return 0, nil
	}
	at := "0"
	for _, g := range groups {
		if g.Name == oldGroup {
			n, at = int(g.Pending), g.LastDeliveredID
		}
	}
	for err == nil {
		var next []redis.XMessage
		if next, err = m.db.XRangeN(ctx, store.Key(s, oldStream), "("+at, "+", 500).Result(); len(next) == 0 {
			break
		}
		n, at = n+len(next), next[len(next)-1].ID
	}
	return n, err
}

// groups creates the group if it is missing, and returns whether the stream has other groups.
func (m *migration) groups(ctx context.Context, s message.Shard) (others bool, err error) {
	err = m.db.XGroupCreate(ctx, store.Key(s, oldStream), oldGroup, "0").Err()
	switch {
	case err == nil, strings.HasPrefix(err.Error(), "BUSYGROUP"):
	case strings.Contains(err.Error(), "MKSTREAM"): // there is no stream
		return false, nil
	default:
		return false, err
	}
	groups, err := m.db.XInfoGroups(ctx, store.Key(s, oldStream)).Result()
	return len(groups) > 1, err
}

// pending copies the entries that a consumer got and did not acknowledge.
func (m *migration) pending(ctx context.Context, s message.Shard) error {
	for {
		ids, err := m.db.XPendingExt(ctx, &redis.XPendingExtArgs{
			Stream: store.Key(s, oldStream), Group: oldGroup, Start: "-", End: "+", Count: eventsMost,
		}).Result()
		if isGone(err) || err == nil && len(ids) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		var entries []redis.XMessage
		handled := []any{"xack", store.Key(s, oldStream), oldGroup}
		for _, p := range ids {
			found, err := m.db.XRange(ctx, store.Key(s, oldStream), p.ID, p.ID).Result()
			if err != nil {
				return err
			}
			entries, handled = append(entries, found...), append(handled, p.ID)
		}
		if err := m.copy(ctx, s, entries, handled); err != nil {
			return err
		}
	}
}

// unread copies the entries that no consumer of the group got. It deletes handled entries, unless the stream has
// other groups.
func (m *migration) unread(ctx context.Context, s message.Shard, others bool) error {
	groups, err := m.db.XInfoGroups(ctx, store.Key(s, oldStream)).Result()
	if isGone(err) {
		return nil
	}
	if err != nil {
		return err
	}
	at := "0"
	for _, g := range groups {
		if g.Name == oldGroup {
			at = g.LastDeliveredID
		}
	}
	for {
		entries, err := m.db.XRangeN(ctx, store.Key(s, oldStream), "("+at, "+", eventsMost).Result()
		if err == nil && len(entries) == 0 {
			return m.retire(ctx, s, at, others)
		}
		if err != nil {
			return err
		}
		at = entries[len(entries)-1].ID
		if err := m.copy(ctx, s, entries, []any{"xgroup", "setid", store.Key(s, oldStream), oldGroup, at}); err != nil {
			return err
		}
	}
}

// retire makes the old stream expire after some days. It deletes the handled entries if no other group reads them.
func (m *migration) retire(ctx context.Context, s message.Shard, handled string, others bool) error {
	return m.db.Tx(ctx, func(p redis.Pipeliner) error {
		if !others {
			p.XTrimMinID(ctx, store.Key(s, oldStream), handled)
		}
		p.Expire(ctx, store.Key(s, oldStream), oldStreamLife)
		return nil
	})
}

// isGone reports whether an error means that there is no stream.
func isGone(err error) bool {
	return err != nil && (strings.HasPrefix(err.Error(), "NOGROUP") || strings.Contains(err.Error(), "no such key"))
}

// copy appends the events of entries to the new streams, together with the command that marks them as handled.
func (m *migration) copy(ctx context.Context, s message.Shard, entries []redis.XMessage, handled []any) error {
	n := 0
	err := m.tx.Do(ctx, 0, store.Change{Slot: store.Key(s, oldStream), Durable: true, Decide: func(_ []string, w *store.Writes) error {
		n = 0
		for _, x := range entries {
			kind, line, err := event(x)
			switch {
			case err != nil:
				w.Do("xadd", events.DeadKey(s), "*", "why", "not an event: "+err.Error(), "id", x.ID, oldField, line)
			case kind == message.EventGap: // of a consumer group of the old stream
			case kind == message.EventMessage:
				n++
				w.Append(events.MessageKey(s), events.Field, line)
			default:
				n++
				w.Append(events.MetaKey(s), events.Field, line)
			}
		}
		w.Do(handled...)
		return nil
	}})
	if err == nil {
		m.n.Events += n
		m.report("copied %d events", m.n.Events)
	}
	return err
}

// event reads an entry of the old stream: the type of its event, and the event as one line.
func event(x redis.XMessage) (kind string, line []byte, err error) {
	text, ok := x.Values[oldField].(string)
	if !ok {
		return "", nil, errors.New("no field " + oldField)
	}
	var e struct {
		Type string `json:"type"`
	}
	if err := json.Unmarshal([]byte(text), &e); err != nil {
		return "", []byte(text), err
	}
	var plain bytes.Buffer // Meta's object may have line breaks
	if err := json.Compact(&plain, []byte(text)); err != nil {
		return "", []byte(text), err
	}
	return e.Type, plain.Bytes(), nil
}
