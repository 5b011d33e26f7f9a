package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// needed is the error of a decision that needs the records of further messages: those that wait for a changed one.
// The change is then made again with their keys.
type needed struct{ ids []string }

func (n *needed) Error() string { return fmt.Sprintf("%d further records are needed", len(n.ids)) }

// maxTogether is how many messages a change reads so that it decides about followers of followers in the same transaction. The
// sweeper decides about the others: a leader can have thousands, and a change of it must not wait for them.
const maxTogether = 50

// collect adds the ids of err, if it is a needed one. It returns any other error.
func (n *needed) collect(err error) error {
	if more, is := errors.AsType[*needed](err); is {
		n.ids = append(n.ids, more.ids...)
		return nil
	}
	return err
}

// lacking returns the followers whose records are not among those that are read.
func lacking(followers, read []string) []string {
	return slices.DeleteFunc(slices.Clone(followers), func(id string) bool { return slices.Contains(read, id) })
}

// again runs a change again as long as its error says that it needs further records. It returns any other error.
func (l *Ledger) again(ctx context.Context, err error, change func(others []string) store.Change) error {
	var others []string
	for {
		n, is := errors.AsType[*needed](err)
		if !is {
			return err
		}
		for _, id := range n.ids {
			if !slices.Contains(others, id) {
				others = append(others, id)
			}
		}
		err = l.tx.Do(ctx, 0, change(others))
	}
}

// keysOf returns the keys of the records of messages.
func keysOf(s message.Shard, ids []string) []string {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = RecordPrefix(s) + id
	}
	return keys
}

// writeWithFollowers is write, and it decides about the messages that wait for the changed one. Ids and values are the
// records that are read. If it returns an error, the change must not be written.
func (l *Ledger) writeWithFollowers(w *store.Writes, s message.Shard, before, after record.Record, changes []record.Change, at time.Time, ids, values []string) error {
	followers := after.TakeFollowers()
	if missing := lacking(followers, ids); len(missing) > 0 {
		return &needed{missing}
	}
	l.write(w, s, before, after, changes, at)
	for _, id := range followers {
		value := values[slices.Index(ids, id)]
		if v, set := w.Lookup(RecordPrefix(s) + id); set {
			value = string(v)
		}
		follower, err := record.Decode(id, value)
		if err != nil {
			continue // the sweeper names it
		}
		if err := l.follow(w, s, follower, &after, at, ids, values); err != nil {
			return err
		}
	}
	return nil
}

// follow changes a message if it waits for leader, and the state of leader decides about it.
func (l *Ledger) follow(w *store.Writes, s message.Shard, r record.Record, leader *record.Record, at time.Time, ids, values []string) error {
	m, decided := leader.Follow(r.After)
	if !r.Waits() || r.After.ID != leader.ID || !decided {
		return nil
	}
	after, d := r.Decide(record.Input{
		Kind: record.Seen, At: at, Move: m, From: r.State, Attempt: r.Attempt, Task: r.Task, Incarnation: r.Incarnation(),
	})
	if !d.Applied {
		return nil
	}
	if m.To == message.Queued && l.o.Due != nil {
		if err := l.o.Due(w, after.Open()); err != nil {
			return err
		}
	}
	ended := after
	if missing := lacking(ended.TakeFollowers(), ids); len(missing) > 0 && len(ids)+len(missing) > maxTogether {
		l.write(w, s, r, after, d.Changes, at) // its followers stay in it
		return nil
	}
	return l.writeWithFollowers(w, s, r, after, d.Changes, at, ids, values)
}

// acceptAfter completes the acceptance of a message that waits for another one, whose stored record is leader. It
// returns the record to create and what to publish.
func (l *Ledger) acceptAfter(w *store.Writes, s message.Shard, made record.Record, leader string) (record.Record, []record.Change, error) {
	before, err := record.Decode(made.After.ID, leader)
	if err != nil {
		return made, nil, err
	}
	if !before.Exists() || before.Client != made.Client { // a client learns nothing of the messages of others
		return made, nil, message.ErrNoLeader
	}
	changes := []record.Change{{Change: message.Change{To: message.Queued}}}
	switch m, decided := before.Follow(made.After); {
	case !decided:
		after := before
		if !after.AddFollower(made.ID, made.After) {
			return made, nil, message.ErrFollowers
		}
		l.write(w, s, before, after, nil, made.AcceptedAt)
	case m.To == message.Queued:
		made.After, made.NextAt = message.After{}, time.Time{}
	default:
		var d record.Decision
		made, d = made.Decide(record.Input{Kind: record.Seen, At: made.AcceptedAt, Move: m, From: message.Queued})
		changes = append(changes, d.Changes...)
	}
	return made, changes, nil
}

// Follow decides about those of some waiting messages whose leaders have decided without them: they are far down in a
// chain (see maxTogether), or a program of an earlier version changed the leader. It is for the sweeper.
func (l *Ledger) Follow(ctx context.Context, s message.Shard, waiting []message.Open) error {
	if len(waiting) == 0 {
		return nil
	}
	ids := make([]string, len(waiting))
	for i, o := range waiting {
		ids[i] = o.After.ID
	}
	leaders, _, err := l.ReadReadable(ctx, s, ids)
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	var errs []error
	for i, o := range waiting {
		if _, decided := leaders[i].Follow(o.After); decided {
			errs = append(errs, l.followOne(ctx, s, o))
		}
	}
	return errors.Join(errs...)
}

// followOne decides about one waiting message.
func (l *Ledger) followOne(ctx context.Context, s message.Shard, o message.Open) error {
	change := func(others []string) store.Change {
		ids := append([]string{o.ID, o.After.ID}, others...)
		keys := keysOf(s, ids)
		return store.Change{Keys: keys, Slot: keys[0], Decide: func(values []string, w *store.Writes) error {
			r, err := record.Decode(o.ID, values[0])
			if err != nil {
				return err
			}
			leader, err := record.Decode(o.After.ID, values[1])
			if err != nil {
				return err
			}
			leader.ID = o.After.ID // also without a record
			return l.follow(w, s, r, &leader, l.db.Clock(ctx, keys[0]), ids, values)
		}}
	}
	if err := l.again(ctx, l.tx.Do(ctx, 0, change(nil)), change); err != nil {
		return fmt.Errorf("follow %s: %w", o.ID, err)
	}
	return nil
}
