package ledger

import (
	"context"
	"fmt"
	"strings"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// Accepting is a message to accept, with the function that adds its first task.
type Accepting struct {
	Message message.Message
	// Enqueue adds the task to the transaction that creates the record: not before a time; zero: at once.
	Enqueue func(w *store.Writes, at time.Time) error
}

// refsMost is how many messages the index of a reference has at most. One acceptance in 32 cuts the index to
// that size: most references have one message, and the cut costs Redis a command.
const refsMost = 100

// Accept creates the records of messages, each together with its task, durably. It returns the result for each
// message, in their order. message.ErrKeyReused means that the id belongs to a message with other content. After
// any other error the message may or may not be accepted: the caller retries with the same key.
func (l *Ledger) Accept(ctx context.Context, all []Accepting) []message.AcceptResult {
	decided := make([]message.Acceptance, len(all)) // not to be read after an error: Decide may still run after ctx has ended
	changes := make([]store.Change, len(all))
	for i, a := range all {
		changes[i] = l.accepting(ctx, a, &decided[i])
	}
	out := make([]message.AcceptResult, len(all))
	for i, err := range l.accepts.DoAll(ctx, 0, changes) {
		switch {
		case err == nil:
			out[i].Acceptance = decided[i]
		case err == message.ErrKeyReused, err == message.ErrNoLeader, err == message.ErrFollowers:
			out[i].Err = err
		default:
			out[i].Err = fmt.Errorf("accept %s: %w", all[i].Message.ID, err)
		}
	}
	return out
}

func (l *Ledger) accepting(ctx context.Context, a Accepting, out *message.Acceptance) store.Change {
	m := a.Message
	s := l.o.Shards.Of(m.From)
	c := store.Change{Slot: RecordPrefix(s) + m.ID, Durable: true}
	if m.Hash != "" { // otherwise its id is random, and no record can have it
		c.Keys = []string{c.Slot}
	}
	if m.After.ID != "" {
		c.Keys = append(c.Keys, RecordPrefix(s)+m.After.ID)
	}
	if number, ok := message.Number(m.ID); !ok || number != m.From {
		c.Decide = func([]string, *store.Writes) error {
			return fmt.Errorf("%q is no id of a message of number %s", m.ID, m.From)
		}
		return c
	}
	// The caller may reuse the payload when the call has ended, which may be before Decide runs.
	made := record.New(m, recipient(m), l.db.Clock(ctx, c.Slot))
	if made.RecipientHash = l.hashOf(m.Content.Recipient()); made.RecipientHash != "" && made.Recipient != "" {
		made.Recipient = l.hashOf(m.From + "\x00" + m.Content.Recipient()) // it has a key
	}
	c.Decide = func(values []string, w *store.Writes) error {
		var before record.Record
		if m.Hash != "" {
			var err error
			if before, err = record.Decode(m.ID, values[0]); err != nil {
				return err
			}
		}
		if before.Exists() {
			if before.Hash != m.Hash {
				return message.ErrKeyReused
			}
			*out = message.Acceptance{
				ID: m.ID, State: before.State, Class: m.Class, ExpiresAt: before.ExpiresAt, Duplicate: true,
			}
			return nil
		}
		after, changes := made, []record.Change{{Change: message.Change{To: message.Queued}}}
		if m.After.ID != "" {
			var err error
			if after, changes, err = l.acceptAfter(w, s, made, values[len(values)-1]); err != nil {
				return err
			}
		}
		after.Replace(before)
		l.write(w, s, record.Record{}, after, changes, after.AcceptedAt)
		index(w, s, &after)
		*out = message.Acceptance{ID: m.ID, State: after.State, Class: m.Class, ExpiresAt: m.ExpiresAt.UTC()}
		if after.State.Final() { // it waits for a message that has ended
			return nil
		}
		return a.Enqueue(w, after.NextAt)
	}
	return c
}

// index adds a new record to the indexes of recipients and of references.
func index(w *store.Writes, s message.Shard, r *record.Record) {
	if r.RecipientHash != "" {
		w.RPush(recipientKey(s, r.RecipientHash), r.ID)
	}
	if r.Ref != "" {
		key := refKey(s, r.From, r.Ref)
		w.ZAdd(key, r.AcceptedAt.UnixMilli(), r.ID)
		if strings.HasSuffix(r.ID, "a") {
			w.Do("zremrangebyrank", key, 0, -refsMost-1)
		}
	}
}

// recipient identifies a message's number and recipient without revealing them; empty for groups, which have no
// pair limit.
func recipient(m message.Message) string {
	if m.Content.Group {
		return ""
	}
	return message.Pair(m.From, m.Content.Recipient())
}
