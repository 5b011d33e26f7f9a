// Package audit is the audit log: which orders operators gave, and why. Each shard has a part of it.
package audit

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Field is the field of a stream entry that has the audit entry as JSON.
const Field = "entry"

// Unreadable is the verb that Latest returns for an entry that it cannot read.
const Unreadable = "unreadable"

// maxLen is about how many entries each shard keeps.
const maxLen = 1000

// Key is the Redis key of a shard's part of the log: a stream.
func Key(s message.Shard) string { return store.Key(s, "audit") }

// Append adds to w that an entry, as JSON, is appended to a shard's part of the log.
func Append(w *store.Writes, s message.Shard, entry string) {
	w.Do("xadd", Key(s), "maxlen", "~", maxLen, "*", Field, entry)
}

// Log is the audit log of an installation. It is safe for concurrent use.
type Log struct {
	db     *store.DB
	shards message.Shards
}

// New returns the audit log of an installation with that many shards.
func New(db *store.DB, shards message.Shards) *Log { return &Log{db, shards} }

// Add appends an entry that is about no single message. Redis sets its time.
func (l *Log) Add(ctx context.Context, e message.AuditEntry) error {
	text, err := json.Marshal(e)
	if err == nil {
		err = l.db.XAdd(ctx, &redis.XAddArgs{Stream: Key(0), MaxLen: maxLen, Approx: true, Values: []any{Field, text}}).Err()
	}
	if err != nil {
		return fmt.Errorf("write audit log: %w", err)
	}
	return nil
}

// Latest returns up to limit entries, the latest first. An entry that cannot be read does not hide the others: it is
// among them with Unreadable as its verb, and names the key and the id of the entry in Redis.
func (l *Log) Latest(ctx context.Context, limit int) ([]message.AuditEntry, error) {
	all := l.shards.All()
	cmds := make([]*redis.XMessageSliceCmd, len(all))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range all {
			cmds[i] = p.XRevRangeN(ctx, Key(s), "+", "-", int64(limit))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read audit log: %w", err)
	}
	var entries []message.AuditEntry
	for i, c := range cmds {
		for _, x := range c.Val() {
			var e message.AuditEntry
			if json.Unmarshal([]byte(textOf(x.Values)), &e) != nil {
				e = message.AuditEntry{Verb: Unreadable, On: Key(all[i]) + " " + x.ID, Actor: "unknown", Reason: "the entry is not an audit entry"}
			}
			ms, _, _ := strings.Cut(x.ID, "-")
			at, _ := strconv.ParseInt(ms, 10, 64) // an id begins with the time
			e.At = time.UnixMilli(at).UTC()
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, b message.AuditEntry) int { return b.At.Compare(a.At) })
	return entries[:min(limit, len(entries))], nil
}

// textOf returns the JSON of a stream entry. It is in the only field, which had another name in older versions.
func textOf(values map[string]any) (text string) {
	for _, v := range values {
		text, _ = v.(string)
	}
	return text
}
