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
	changes := []store.Change{}
	for some := range slices.Chunk(ids, applyMost) {
		changes = append(changes, l.applying(ctx, shard, some, byID, reports, results))
	}
	if len(unmatched) > 0 {
		changes = append(changes, l.addUnmatched(ctx, shard, unmatched))
	}
	last := store.Change{Slot: RecordPrefix(shard), Decide: func([]string, *store.Writes) error { return nil }}
	if n := len(changes); n > 0 {
		last, changes = changes[n-1], changes[:n-1]
	}
	decide := last.Decide
	last.Decide = func(values []string, w *store.Writes) error {
		for key, value := range also {
			w.Set(key, []byte(value))
		}
		return decide(values, w)
	}
	for _, err := range append(l.tx.DoAll(ctx, 0, changes), nil) {
		if err != nil {
			return nil, fmt.Errorf("apply statuses: %w", err)
		}
	}
	if err := l.tx.Do(ctx, 0, last); err != nil {
		return nil, fmt.Errorf("apply statuses: %w", err)
	}
	return results, nil
}

// applying returns the change that applies all statuses of some messages.
func (l *Ledger) applying(ctx context.Context, s message.Shard, ids []string, byID map[string][]int, reports []message.MarkedReport, results []message.ApplyResult) store.Change {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = RecordPrefix(s) + id
	}
	return store.Change{Keys: keys, Slot: keys[0], Decide: func(values []string, w *store.Writes) error {
		now := l.db.Clock(ctx, keys[0])
		for i, id := range ids {
			before, err := record.Decode(id, values[i])
			if err != nil {
				return err
			}
			after, changed := before, false
			var events []message.Change
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
				m := message.Move{To: to, WAMID: reports[n].WAMID, Code: reports[n].Code, Detail: reports[n].Detail}
				if to == message.Failed {
					m = after.Failure(m, reports[n].Attempt, l.o.Resendable(m.Code))
				}
				reports[n].First = after.State.Rank(after.Reason) <= message.Submitted.Rank("")
				reports[n].Template = after.Template
				reports[n].Age = max(0, now.Sub(cmp.Or(after.Open().Began, after.AcceptedAt)))
				var d record.Decision
				after, d = after.Decide(record.Input{Kind: record.Status, At: now, Attempt: reports[n].Attempt, Move: m})
				changed, events = changed || d.Changed, append(events, d.Changes...)
				results[n] = resultOf(d)
			}
			if changed {
				l.write(w, s, before, after, events, now)
			}
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
