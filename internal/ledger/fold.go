package ledger

import (
	"context"
	"fmt"
	"slices"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// foldMost is how many messages one transaction changes.
const foldMost = 24

// Fold applies what Meta said to the records of one shard: in any order, twice, or before the send
// was recorded. It answers each piece in turn. The keys of also, strings, are set in the same step as
// the last piece. On an error some may have been applied; to apply them again is harmless.
func (l *Ledger) Fold(ctx context.Context, shard message.Shard, evidence []message.Evidence, also map[string]string) ([]message.Folded, error) {
	if err := l.name(ctx, shard, evidence); err != nil {
		return nil, fmt.Errorf("fold: %w", err)
	}
	folded := make([]message.Folded, len(evidence))
	var orphans []message.Evidence
	byID := map[string][]int{}
	var ids []string
	for i, e := range evidence {
		_, known := e.State()
		switch {
		case !known:
			folded[i] = message.UnknownStatus
		case e.ID == "" && e.Other:
			folded[i] = message.OtherEnvironment
		case e.ID == "":
			folded[i] = message.Orphan
			orphans = append(orphans, e)
		default:
			if byID[e.ID] == nil {
				ids = append(ids, e.ID)
			}
			byID[e.ID] = append(byID[e.ID], i)
		}
	}
	changes := []store.Change{}
	for some := range slices.Chunk(ids, foldMost) {
		changes = append(changes, l.folding(ctx, shard, some, byID, evidence, folded))
	}
	if len(orphans) > 0 {
		changes = append(changes, l.orphaned(ctx, shard, orphans))
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
			return nil, fmt.Errorf("fold: %w", err)
		}
	}
	if err := l.tx.Do(ctx, 0, last); err != nil {
		return nil, fmt.Errorf("fold: %w", err)
	}
	return folded, nil
}

// folding applies all evidence of some messages.
func (l *Ledger) folding(ctx context.Context, s message.Shard, ids []string, byID map[string][]int, evidence []message.Evidence, folded []message.Folded) store.Change {
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
				accepted := evidence[n].Accepted
				if !before.Exists() || accepted != 0 && accepted != before.Incarnation() {
					folded[n] = message.NoRecord // or another one of the same id, made after the time of that was over
					continue
				}
				if wamids := before.WAMIDs(); evidence[n].Attempt == 0 && !slices.Contains(wamids, evidence[n].WAMID) {
					folded[n] = message.NoRecord // the index led to it, and it is about another message
					continue
				}
				to, _ := evidence[n].State()
				m := message.Move{To: to, WAMID: evidence[n].WAMID, Code: evidence[n].Code, Detail: evidence[n].Detail}
				if to == message.Failed {
					m = after.Failure(m, evidence[n].Attempt, l.o.Resendable(m.Code))
				}
				evidence[n].First = after.State.Rank(after.Reason) <= message.Submitted.Rank("")
				evidence[n].Template = after.Template
				var d record.Decision
				after, d = after.Decide(record.Input{Kind: record.Status, At: now, Attempt: evidence[n].Attempt, Move: m})
				changed, events = changed || d.Changed, append(events, d.Changes...)
				folded[n] = verdict(d)
			}
			if changed {
				l.write(w, s, before, after, events, now)
			}
		}
		return nil
	}}
}

func verdict(d record.Decision) message.Folded {
	switch {
	case d.Duplicate:
		return message.Duplicate
	case d.Applied:
		return message.Applied
	case d.Repeated:
		return message.Repeated
	}
	return message.Lower
}
