package ledger

import (
	"context"
	"fmt"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// Progress returns State, Reason, Code, Attempt and WAMID of messages, in one round trip, and
// zero where there is no record.
func (l *Ledger) Progress(ctx context.Context, ids []string) ([]message.Record, error) {
	cmds := make([]*redis.SliceCmd, len(ids))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, id := range ids {
			if k, err := l.keys(id); err == nil {
				cmds[i] = p.HMGet(ctx, k.record, "st", "why", "code", "n", "wamid")
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read progress: %w", err)
	}
	records := make([]message.Record, len(ids))
	for i, c := range cmds {
		if c == nil {
			continue
		}
		v := c.Val()
		records[i] = message.Record{
			State: message.State(text(v[0])), Reason: text(v[1]), Code: int(number(v[2])),
			Attempt: int(number(v[3])), WAMID: longWAMID(text(v[4])),
		}
	}
	return records, nil
}
