package ledger

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sluice/internal/audit"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// write adds the writes of a changed record: the record, its list entries, and its events. Before is the record
// as it was read; for a new message, a record that does not exist.
func (l *Ledger) write(w *store.Writes, s message.Shard, before, after record.Record, changes []record.Change, at time.Time) {
	w.Set(RecordPrefix(s)+after.ID, after.Encode())
	was, is := before.ListEntry(), after.ListEntry()
	if was.List != message.NoList && (was.List != is.List || was.Member != is.Member) {
		w.ZRem(listKey(s, was.List), was.Member)
	}
	if is != was && is.List != message.NoList {
		w.ZAdd(listKey(s, is.List), is.Score, is.Member)
	}
	l.writeNames(w, s, before, after)
	if before.State == message.Queued && (after.State != message.Queued || after.Task != before.Task) && l.o.Ended != nil {
		l.o.Ended(w, s, before.Open())
	}
	if ends(&after) && (after.State != before.State || was != is) && !after.Tombstone() {
		end := l.endsAt(&after)
		if !ends(&before) || hourOf(l.endsAt(&before)) != hourOf(end) { // otherwise the list of that hour has it already
			w.RPush(endedKey(s, end), after.ID)
		}
	}
	countUsage(w, s, &before, &after, at)
	countCampaign(w, s, &before, &after, at)
	countSpent(w, s, &before, &after, at)
	for _, c := range changes {
		w.Append(events.MessageKey(s), events.Field, after.AppendEvent(make([]byte, 0, 512), at, c.Change))
		if c.Final != nil {
			w.Append(events.MessageKey(s), events.Field, after.AppendFinal(make([]byte, 0, 512), at, c.Final))
		}
	}
}

// ends reports whether a record is found by the hour in which it ends: it is final, or in no other list or index. While a message is
// being moved, its record has the only copy of the content, and does not end.
func ends(r *record.Record) bool {
	return !r.Moving() && (r.State.Final() || r.State.List() == message.NoList && len(r.IndexedWAMIDs()) == 0)
}

// writeNames updates the index of Meta's ids, which leads from them to messages that wait for a status. A status
// adds an id only if no message has it: statuses that contradict each other must not lead those of one message to
// another. Meta's answer to our own request is certain. For the same reason a message removes only entries that lead
// to it.
func (l *Ledger) writeNames(w *store.Writes, s message.Shard, before, after record.Record) {
	was, is := before.IndexedWAMIDs(), after.IndexedWAMIDs()
	if len(was) == len(is) {
		return // ids are added, or all of them are removed
	}
	key := wamidsKey(s, after.AcceptedAt)
	if len(is) == 0 {
		for _, wamid := range was {
			w.HDelIf(key, nameOf(wamid), after.ID)
		}
	}
	for _, wamid := range is {
		if slices.Contains(was, wamid) {
			continue
		}
		if after.State.List() == message.ListAwaiting { // no status yet
			w.HSet(key, nameOf(wamid), after.ID)
		} else {
			w.Do("hsetnx", key, nameOf(wamid), after.ID)
		}
	}
}

// wamidsKey is the index of Meta's ids of the messages that were accepted on a day: a hash from the hashed ids to
// our ids.
func wamidsKey(s message.Shard, accepted time.Time) string {
	return store.Key(s, "wamids:"+accepted.UTC().Format(time.DateOnly))
}

// nameOf returns the hash of one of Meta's ids for an index.
func nameOf(wamid string) string {
	sum := sha256.Sum256([]byte(wamid))
	return hex.EncodeToString(sum[:8])
}

// input is a requested change of a message, with the audit entry of the operator that requested it.
type input struct {
	record.Input
	audit string // an entry of the audit log, as JSON; empty: none
}

// inputOf returns the input of a move.
func inputOf(kind record.Kind, m message.Move) (input, error) {
	in := input{Input: record.Input{Kind: kind, Move: m}}
	if m.Audit == nil {
		return in, nil
	}
	in.Note = strings.TrimPrefix(m.Reason+" by "+m.Audit.Actor+": "+m.Audit.Reason, " ")
	if m.Audit.Verb == message.VerbReplay || m.Audit.Verb == message.VerbResend {
		return in, nil // one of thousands: the audit log has one entry for all of them
	}
	about, err := json.Marshal(m.Audit)
	if err != nil {
		return in, fmt.Errorf("audit log: %w", err)
	}
	in.audit = string(about)
	return in, nil
}

// result is the result of an input.
type result struct {
	record.Decision
	found bool          // the record exists
	state message.State // its state now
}

// change returns the change that decides on an input for the first of some messages and writes what follows. The
// others are messages that wait for it. If the input is applied, also adds further writes.
func (l *Ledger) change(ctx context.Context, s message.Shard, ids []string, in input, out *result, also func(w *store.Writes) error) store.Change {
	keys := keysOf(s, ids)
	id, key := ids[0], keys[0]
	return store.Change{Keys: keys, Slot: key, Decide: func(values []string, w *store.Writes) error {
		before, err := record.Decode(id, values[0])
		*out = result{found: before.Exists()}
		if err != nil || !out.found {
			return err
		}
		in.At = l.db.Clock(ctx, key)
		after, d := before.Decide(in.Input)
		out.Decision, out.state = d, after.State
		if !d.Changed {
			return nil
		}
		if d.Applied && also != nil {
			if err := also(w); err != nil {
				return err
			}
		}
		if err := l.writeWithFollowers(w, s, before, after, d.Changes, in.At, ids, values); err != nil {
			return err
		}
		if d.Applied && in.audit != "" {
			audit.Append(w, s, in.audit)
		}
		return nil
	}}
}

// move runs change for one message.
func (l *Ledger) move(ctx context.Context, id string, in input, within time.Duration, also func(w *store.Writes) error) (result, error) {
	s, _, err := l.shardOf(id)
	if err != nil {
		return result{}, err
	}
	var out result
	change := func(others []string) store.Change {
		return l.change(ctx, s, append([]string{id}, others...), in, &out, also)
	}
	if err := l.again(ctx, l.tx.Do(ctx, within, change(nil)), change); err != nil {
		return result{}, err // out may still be written to, see store.Change
	}
	return out, nil
}

// endsAt returns when the life of a record ends; the zero time: not before the message ends.
func (l *Ledger) endsAt(r *record.Record) time.Time {
	if r.Tombstone() {
		return r.KeyUntil
	}
	if life := l.lifeOf(r.State); life > 0 {
		return r.Since().Add(life)
	}
	return time.Time{}
}

// endedKey is the list of a shard's messages whose records end in the hour of a time.
func endedKey(s message.Shard, at time.Time) string {
	return store.Key(s, "ended:"+strconv.FormatInt(hourOf(at), 10))
}

func hourOf(at time.Time) int64 { return at.Unix() / 3600 }
