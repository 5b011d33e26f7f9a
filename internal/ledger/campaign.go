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

const (
	// campaignLife is how long the counters of a campaign are kept after their last change.
	campaignLife = 400 * 24 * time.Hour
	// takenLife is how long it is kept how many messages of campaigns Meta took in a minute, and takenMost how many minutes are read.
	takenLife = 15 * time.Minute
	takenMost = 10
)

// campaignKey is the counters of a campaign: a hash of "<number>/<state>/<code>/<reason>/<template>".
func campaignKey(s message.Shard, f message.Flow) string {
	return store.Key(s, "campaign:"+f.String())
}

// campaignsKey is the campaigns with counters: a sorted set by when the last message was accepted.
func campaignsKey(s message.Shard) string { return store.Key(s, "campaigns") }

// takenKey is how many messages of campaigns Meta took in a minute: a hash by campaign.
func takenKey(s message.Shard, minute int64) string {
	return store.Key(s, "campaigns:taken:"+strconv.FormatInt(minute, 10))
}

// undeliveredKey is the messages of a campaign that ended undelivered and have a record: a sorted set by when they ended.
func undeliveredKey(s message.Shard, f message.Flow) string {
	return store.Key(s, "campaign:undelivered:"+f.String())
}

// countCampaign counts what a change means for the campaign of a message, in the transaction of the change.
func countCampaign(w *store.Writes, s message.Shard, before, after *record.Record, at time.Time) {
	if after.Campaign == "" || after.Tombstone() {
		return
	}
	f := after.Flow()
	was, is := campaignField(before), campaignField(after)
	if !before.Exists() {
		w.ZAdd(campaignsKey(s), after.AcceptedAt.UnixMilli(), f.String())
	}
	if was == is {
		return
	}
	if was != "" {
		w.HIncrBy(campaignKey(s, f), was, -1, campaignLife)
	}
	if is != "" {
		w.HIncrBy(campaignKey(s, f), is, 1, campaignLife)
	}
	if is != "" && after.State.Undelivered() {
		w.ZAdd(undeliveredKey(s, f), after.Since().UnixMilli(), after.ID)
	} else if before.State.Undelivered() {
		w.ZRem(undeliveredKey(s, f), after.ID)
	}
	if len(after.WAMIDs()) > len(before.WAMIDs()) {
		w.HIncrBy(takenKey(s, at.Unix()/60), f.String(), 1, takenLife)
	}
}

// campaignField is the counter to which a message belongs; empty: the message does not exist, or another number has taken it over, where it
// counts again. The beginning of an attempt does not change it, because that is an APPEND to the record and no transaction.
func campaignField(r *record.Record) string {
	if !r.Exists() || r.State == message.Cancelled && r.Reason == message.ReasonMoved {
		return ""
	}
	state, code, reason := r.State, 0, ""
	if state == message.Attempting {
		state = message.Queued
	}
	if state.Undelivered() {
		code, reason = r.Code, r.Reason
	}
	return strings.Join([]string{r.From, string(state), strconv.Itoa(code), reason, r.Template}, "/")
}

// campaignCount reads a counter; false: it is not one.
func campaignCount(field, value string) (c message.CampaignCount, ok bool) {
	part := strings.SplitN(field, "/", 5)
	if len(part) != 5 {
		return c, false
	}
	code, err1 := strconv.Atoi(part[2])
	n, err2 := strconv.Atoi(value)
	return message.CampaignCount{Number: part[0], State: message.State(part[1]), Code: code, Reason: part[3], Template: part[4], Count: n}, err1 == nil && err2 == nil
}

// Campaigns returns the campaigns that have counters, the one with the latest message first; of one client, or of all if it is empty. It
// reads as many commands as there are shards, however many messages there are.
func (l *Ledger) Campaigns(ctx context.Context, client string) ([]message.CampaignProgress, error) {
	old := time.Now().Add(-campaignLife)
	var cmds []*redis.ZSliceCmd
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		cmds = nil
		for _, s := range l.o.Shards.All() {
			cmds = append(cmds, p.ZRangeByScoreWithScores(ctx, campaignsKey(s), &redis.ZRangeBy{Min: strconv.FormatInt(old.UnixMilli(), 10), Max: "+inf"}))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read campaigns: %w", err)
	}
	last := map[message.Flow]time.Time{}
	for _, c := range cmds {
		for _, z := range c.Val() {
			name, _ := z.Member.(string)
			f, at := message.FlowOf(name), time.UnixMilli(int64(z.Score)).UTC()
			if (client == "" || f.Client == client) && at.After(last[f]) {
				last[f] = at
			}
		}
	}
	all := make([]message.CampaignProgress, 0, len(last))
	for f, at := range last {
		all = append(all, message.CampaignProgress{Flow: f, Accepted: at})
	}
	slices.SortFunc(all, func(a, b message.CampaignProgress) int {
		return cmp.Or(b.Accepted.Compare(a.Accepted), cmp.Compare(a.String(), b.String()))
	})
	return all, nil
}

// purgeCampaigns deletes the names of campaigns whose counters have ended.
func (l *Ledger) purgeCampaigns(ctx context.Context, s message.Shard, now time.Time) error {
	if err := l.db.ZRemRangeByScore(ctx, campaignsKey(s), "-inf", strconv.FormatInt(now.Add(-campaignLife).UnixMilli(), 10)).Err(); err != nil {
		return fmt.Errorf("delete old campaigns: %w", err)
	}
	return nil
}

// CampaignProgress reads into all the counters of campaigns, and when their last messages were accepted. It reads a few commands for each
// shard and campaign, and no record.
func (l *Ledger) CampaignProgress(ctx context.Context, all []message.CampaignProgress) error {
	if len(all) == 0 {
		return nil
	}
	minute := time.Now().Unix() / 60
	counts := make([][]*redis.MapStringStringCmd, len(all))
	var taken [][]*redis.SliceCmd
	var accepted []*redis.FloatSliceCmd
	names := make([]string, len(all))
	for i := range all {
		names[i] = all[i].String()
	}
	err := l.db.Pipe(ctx, func(p redis.Pipeliner) {
		taken, accepted = make([][]*redis.SliceCmd, takenMost), nil
		for _, s := range l.o.Shards.All() {
			accepted = append(accepted, p.ZMScore(ctx, campaignsKey(s), names...))
		}
		for i := range all {
			counts[i] = nil
			for _, s := range l.o.Shards.All() {
				counts[i] = append(counts[i], p.HGetAll(ctx, campaignKey(s, all[i].Flow)))
			}
		}
		for m := range taken {
			for _, s := range l.o.Shards.All() {
				taken[m] = append(taken[m], p.HMGet(ctx, takenKey(s, minute-int64(m)), names...))
			}
		}
	})
	if err != nil {
		return fmt.Errorf("read the counters of campaigns: %w", err)
	}
	for i := range all {
		c := &all[i]
		c.Counts = sumCounts(counts[i])
		for _, cmd := range accepted {
			if ms := int64(cmd.Val()[i]); ms > max(0, c.Accepted.UnixMilli()) {
				c.Accepted = time.UnixMilli(ms).UTC()
			}
		}
		c.Taken = make([]int, takenMost)
		for m := range taken {
			for _, cmd := range taken[m] {
				if text, ok := cmd.Val()[i].(string); ok {
					n, _ := strconv.Atoi(text)
					c.Taken[m] += n
				}
			}
		}
	}
	return nil
}

// sumCounts adds the counters of all shards.
func sumCounts(shards []*redis.MapStringStringCmd) []message.CampaignCount {
	sums := map[message.CampaignCount]int{}
	for _, cmd := range shards {
		for field, value := range cmd.Val() {
			if one, ok := campaignCount(field, value); ok {
				n := one.Count
				one.Count = 0
				sums[one] += n
			}
		}
	}
	var counts []message.CampaignCount
	for one, n := range sums {
		if one.Count = n; n != 0 {
			counts = append(counts, one)
		}
	}
	slices.SortFunc(counts, func(a, b message.CampaignCount) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.State.Rank(a.Reason), b.State.Rank(b.Reason)), cmp.Compare(a.Code, b.Code), cmp.Compare(a.Reason, b.Reason), cmp.Compare(a.Template, b.Template), cmp.Compare(a.State, b.State))
	})
	return counts
}
