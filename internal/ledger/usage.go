package ledger

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// usageLife is how long the counters of a day are kept.
const usageLife = 400 * 24 * time.Hour

// usageKey is the counters of a day, by UTC: a hash of "<client>/<number>/t/<class>", the messages that Meta took, and
// "<client>/<number>/b/<category>", those that it charges for.
func usageKey(s message.Shard, day string) string { return store.Key(s, "usage:"+day) }

// countUsage counts what a change says of Meta's use by a client, in the transaction of the change. Each id that Meta gave a message counts once: the
// record has the earlier ones. It counts on the day of the attempt. A bill counts on the day of the change.
func countUsage(w *store.Writes, s message.Shard, before, after *record.Record, at time.Time) {
	if after.Client == "" || after.Tombstone() {
		return
	}
	count := func(at time.Time, kind, category string, n int) {
		w.HIncrBy(usageKey(s, at.UTC().Format(time.DateOnly)), after.Client+"/"+after.From+"/"+kind+"/"+category, int64(n), usageLife)
	}
	if n := len(after.WAMIDs()) - len(before.WAMIDs()); n > 0 {
		count(cmp.Or(after.Open().Began, at), "t", string(after.Class), n)
	}
	if after.Billed != before.Billed {
		count(at, "b", after.Billed, 1)
	}
}

// Usage returns what Meta took and charged for, from a day to another one, both included, by day, client, number and category; of one
// client, or of all if it is empty.
func (l *Ledger) Usage(ctx context.Context, client string, from, to time.Time) ([]message.Usage, error) {
	type hash struct {
		day string
		cmd *redis.MapStringStringCmd
	}
	var all []hash
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		all = nil
		for day := from.UTC(); !day.After(to); day = day.AddDate(0, 0, 1) {
			date := day.Format(time.DateOnly)
			for _, s := range l.o.Shards.All() {
				all = append(all, hash{date, p.HGetAll(ctx, usageKey(s, date))})
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read usage: %w", err)
	}
	sums := map[message.Usage]*message.Usage{}
	for _, h := range all {
		for field, value := range h.cmd.Val() {
			part := strings.SplitN(field, "/", 4)
			if len(part) != 4 || client != "" && part[0] != client {
				continue
			}
			name := message.Usage{Day: h.day, Client: part[0], Number: part[1], Category: part[3]}
			u := sums[name]
			if u == nil {
				u = new(name)
				sums[name] = u
			}
			n, _ := strconv.Atoi(value)
			if part[2] == "t" {
				u.Taken += n
			} else {
				u.Billed += n
			}
		}
	}
	usage := make([]message.Usage, 0, len(sums))
	for _, u := range sums {
		usage = append(usage, *u)
	}
	slices.SortFunc(usage, func(a, b message.Usage) int {
		return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Client, b.Client), cmp.Compare(a.Number, b.Number), cmp.Compare(a.Category, b.Category))
	})
	return usage, nil
}
