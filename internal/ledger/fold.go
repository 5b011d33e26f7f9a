package ledger

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Fold folds what Meta said into the records of one shard: in any order, twice, or before
// the send was recorded. It answers each piece in turn. On an error some may have been
// folded; to fold them again is harmless. Then also, keys and their values, is stored as strings.
func (l *Ledger) Fold(ctx context.Context, shard message.Shard, evidence []message.Evidence, also map[string]string) ([]message.Folded, error) {
	ids, err := l.names(ctx, shard, evidence)
	if err != nil {
		return nil, fmt.Errorf("fold: %w", err)
	}
	cmds := make([]*redis.Cmd, len(evidence))
	err = l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, e := range evidence {
			to, known := e.State()
			if !known || ids[i] == "" {
				continue
			}
			m := message.Move{To: to, WAMID: e.WAMID, Code: e.Code}
			if keys, args, err := l.moveArgs(ids[i], guard{kind: "evidence", n: e.Attempt}, m); err == nil {
				cmds[i] = l.move.Add(ctx, p, keys, args...)
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("fold: %w", err)
	}
	folded := make([]message.Folded, len(evidence))
	for i, e := range evidence {
		_, known := e.State()
		switch {
		case !known:
			folded[i] = message.UnknownStatus
		case ids[i] == "":
			folded[i] = message.Orphan
		case cmds[i] == nil:
			folded[i] = message.NoRecord
		default:
			f, _, duplicate, err := moved(cmds[i])
			if err != nil {
				return nil, fmt.Errorf("fold: %w", err)
			}
			if folded[i] = f; duplicate {
				folded[i] = message.Duplicate
			}
		}
	}
	if len(also) > 0 {
		var keys []string
		var values []any
		for k, v := range also {
			keys, values = append(keys, k), append(values, v)
		}
		if err := l.db.Run(ctx, l.also, keys, values...).Err(); err != nil && !errors.Is(err, redis.Nil) {
			return nil, fmt.Errorf("fold: %w", err)
		}
	}
	return folded, nil
}

// names returns our id for each piece of evidence: by its marker, else by its wamid, else
// "" after it was put aside as an orphan.
func (l *Ledger) names(ctx context.Context, shard message.Shard, evidence []message.Evidence) ([]string, error) {
	ids := make([]string, len(evidence))
	cmds := make([]*redis.Cmd, len(evidence))
	unnamed := false
	for i, e := range evidence {
		ids[i] = e.ID
		_, known := e.State()
		unnamed = unnamed || e.ID == "" && known
	}
	if !unnamed {
		return ids, nil
	}
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, e := range evidence {
			if _, known := e.State(); e.ID != "" || !known {
				continue
			}
			ev := message.Event{Version: message.EventVersion, Type: message.EventStatus, Number: e.Number, Receipt: &e.Receipt}
			if !e.At.IsZero() {
				ev.At = e.At.UnixMilli() // not the clock's: a repeat must be the same event
			}
			event, err := json.Marshal(ev)
			if err != nil {
				continue // strings and numbers: cannot happen
			}
			cmds[i] = l.orphan.Add(ctx, p, []string{wamidKey(shard, e.WAMID), orphansKey(shard, e.WAMID)}, event, orphanLife.Milliseconds())
		}
	})
	if err != nil {
		return nil, err
	}
	for i, c := range cmds {
		if c == nil {
			continue
		}
		id, err := c.Text()
		if err != nil {
			return nil, err
		}
		ids[i] = id
	}
	return ids, nil
}
