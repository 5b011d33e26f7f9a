package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// applyMost is how many messages one transaction changes.
const applyMost = 24

// Apply applies statuses from Meta to the records of one shard. The statuses may come in any order, twice, or
// before the outcome of the attempt is recorded. It returns the result for each status, in their order. The strings
// of also, by their keys, are set in the same transaction as the last change. After an error some statuses may be
// applied; the caller can apply all of them again without harm.
func (l *Ledger) Apply(ctx context.Context, shard message.Shard, reports []message.MarkedReport, also map[string]string) ([]message.ApplyResult, error) {
	if err := l.findIDs(ctx, shard, reports); err != nil {
		return nil, fmt.Errorf("apply statuses: %w", err)
	}
	results := make([]message.ApplyResult, len(reports))
	var unmatched []message.MarkedReport
	byID := map[string][]int{}
	var ids []string
	for i, e := range reports {
		_, known := e.State()
		switch {
		case !known:
			results[i] = message.UnknownStatus
		case e.ID == "" && e.OtherEnvironment:
			results[i] = message.OtherEnvironment
		case e.ID == "":
			results[i] = message.Unmatched
			unmatched = append(unmatched, e)
		default:
			if byID[e.ID] == nil {
				ids = append(ids, e.ID)
			}
			byID[e.ID] = append(byID[e.ID], i)
		}
	}
	var makes []func(others []string) store.Change
	for some := range slices.Chunk(ids, applyMost) {
		makes = append(makes, func(others []string) store.Change {
			return l.applying(ctx, shard, some, others, byID, reports, results)
		})
	}
	if len(unmatched) > 0 {
		makes = append(makes, func([]string) store.Change { return l.addUnmatched(ctx, shard, unmatched) })
	}
	if len(makes) == 0 {
		makes = append(makes, func([]string) store.Change {
			return store.Change{Slot: RecordPrefix(shard), Decide: func([]string, *store.Writes) error { return nil }}
		})
	}
	last := func(others []string) store.Change {
		c := makes[len(makes)-1](others)
		decide := c.Decide
		c.Decide = func(values []string, w *store.Writes) error {
			for key, value := range also {
				w.Set(key, []byte(value))
			}
			return decide(values, w)
		}
		return c
	}
	changes := make([]store.Change, len(makes)-1)
	for i := range changes {
		changes[i] = makes[i](nil)
	}
	for i, err := range l.tx.DoAll(ctx, 0, changes) {
		if err := l.again(ctx, err, makes[i]); err != nil {
			return nil, fmt.Errorf("apply statuses: %w", err)
		}
	}
	if err := l.again(ctx, l.tx.Do(ctx, 0, last(nil)), last); err != nil {
		return nil, fmt.Errorf("apply statuses: %w", err)
	}
	return results, nil
}

// applying returns the change that applies all statuses of some messages. Others are messages that wait for them.
func (l *Ledger) applying(ctx context.Context, s message.Shard, ids, others []string, byID map[string][]int, reports []message.MarkedReport, results []message.ApplyResult) store.Change {
	read := slices.Concat(ids, others)
	keys := keysOf(s, read)
	return store.Change{Keys: keys, Slot: keys[0], Decide: func(values []string, w *store.Writes) error {
		now := l.db.Clock(ctx, keys[0])
		var further needed
		for i, id := range ids {
			value := values[i]
			if v, set := w.Lookup(keys[i]); set { // it waited for one of the others
				value = string(v)
			}
			before, err := record.Decode(id, value)
			if err != nil {
				return err
			}
			after, changed := before, false
			var events []record.Change
			for _, n := range byID[id] {
				accepted := reports[n].Accepted
				if !before.Exists() || accepted != 0 && accepted != before.Incarnation() {
					results[n] = message.NoRecord // or a newer one with the same id, created after the life of the first had ended
					continue
				}
				if wamids := before.WAMIDs(); reports[n].Attempt == 0 && !slices.Contains(wamids, reports[n].WAMID) {
					results[n] = message.NoRecord // the index led to it, and the status is about another message
					continue
				}
				to, _ := reports[n].State()
				in := record.Input{Kind: record.Status, At: now, Attempt: reports[n].Attempt}
				m := message.Move{To: to, WAMID: reports[n].WAMID, Code: reports[n].Code, Detail: reports[n].Detail}
				if to == message.Failed {
					m = after.Failure(m, reports[n].Attempt, l.o.Resendable(m.Code))
					in.Fallback = l.o.Replaces(after.Context, m.Code)
				}
				reports[n].First = after.State.Rank(after.Reason) < message.Sent.Rank("")
				reports[n].Template, reports[n].Trace = after.Template, after.Trace
				reports[n].Age = max(0, now.Sub(cmp.Or(after.Open().Began, after.AcceptedAt)))
				var d record.Decision
				in.Move = m
				after, d = after.Decide(in)
				changed, events = after.Bill(m.WAMID, reports[n].Charge) || changed || d.Changed, append(events, d.Changes...)
				results[n] = resultOf(d)
			}
			if after.State == message.Queued && after.Task != before.Task && l.o.Due != nil {
				if err := l.o.Due(w, after.Open()); err != nil {
					return err
				}
			}
			if changed {
				if err := further.collect(l.writeWithFollowers(w, s, before, after, events, now, read, values)); err != nil {
					return err
				}
			}
		}
		if len(further.ids) > 0 {
			return &further
		}
		return nil
	}}
}

func resultOf(d record.Decision) message.ApplyResult {
	switch {
	case d.Duplicate:
		return message.Duplicate
	case d.Applied:
		return message.Applied
	case d.Repeated:
		return message.Repeated
	}
	return message.Outdated
}
