package ledger

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// correctedKey is by how much the cost of messages that count in a period, a day or a month by UTC, differs from their estimates: a hash by
// client, in millionths of the currency of the prices.
func correctedKey(s message.Shard, period string) string { return store.Key(s, "corrected:"+period) }

// correctedField is the same of a campaign, among its counters.
const correctedField = "corrected"

// countSpent counts the difference between the estimate that counts since the first attempt and what the message costs, in the transaction
// of the change: it counts in the periods in which the estimate did.
func countSpent(w *store.Writes, s message.Shard, before, after *record.Record, at time.Time) {
	by := int64(after.Spent - before.Spent)
	if by == 0 || !before.Exists() {
		return
	}
	if after.Client != "" {
		for _, period := range message.Periods(cmp.Or(before.SpentAt, at)) {
			w.HIncrBy(correctedKey(s, period), after.Client, by, usageLife)
		}
	}
	if after.Campaign != "" {
		w.HIncrBy(campaignKey(s, after.Flow()), correctedField, by, campaignLife)
	}
}

// Corrected returns by how much the cost of messages differs from the estimates that were counted, for some accounts. It is one round trip
// with a command for each shard and account.
func (l *Ledger) Corrected(ctx context.Context, accounts []message.Spending) ([]int64, error) {
	cmds := make([][]*redis.StringCmd, len(accounts))
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, a := range accounts {
			cmds[i] = nil
			for _, s := range l.o.Shards.All() {
				if a.Period != "" {
					cmds[i] = append(cmds[i], p.HGet(ctx, correctedKey(s, a.Period), a.Client))
				} else {
					cmds[i] = append(cmds[i], p.HGet(ctx, campaignKey(s, message.Flow{Client: a.Client, Campaign: a.Campaign}), correctedField))
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read what messages cost: %w", err)
	}
	sums := make([]int64, len(accounts))
	for i := range cmds {
		for _, cmd := range cmds[i] {
			n, _ := cmd.Int64() // absent: 0
			sums[i] += n
		}
	}
	return sums, nil
}
