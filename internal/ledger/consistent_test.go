package ledger_test

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

// stored returns all records of the shard by their ids.
func (f fixture) stored() map[string]record.Record {
	f.t.Helper()
	prefix := ledger.RecordPrefix(f.shard)
	all := map[string]record.Record{}
	for _, key := range f.keys("m:*") {
		id := strings.TrimPrefix(key, prefix)
		r, err := record.Decode(id, f.db.Get(f.t.Context(), key).Val())
		if err != nil || !r.Exists() {
			f.t.Errorf("%s is no record: %v", id, err)
		}
		all[id] = r
	}
	return all
}

// keys returns the shard's keys of a pattern.
func (f fixture) keys(pattern string) []string {
	f.t.Helper()
	keys, err := f.db.Keys(f.t.Context(), strings.NewReplacer("{", `{`, "}", `}`).Replace(store.Key(f.shard, pattern))).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	return keys
}

// wantConsistent checks that all lists and indexes hold what the records say, and nothing else, and
// that the events of each message are the steps of its timeline.
func (f fixture) wantConsistent(when string) {
	f.t.Helper()
	ctx := f.t.Context()
	lists := map[string]map[string]int64{}
	for _, list := range []message.List{message.ListWaiting, message.ListInDoubt, message.ListParked, message.ListDead, message.ListAwaiting} {
		lists[string(list)] = map[string]int64{}
	}
	names := map[string]map[string]string{}
	refs := map[string][]string{}
	var indexed []string
	told := map[string][]string{}
	for _, e := range f.events() {
		if e.State != nil && e.State.Reason != message.ReasonDuplicate {
			told[e.Message.ID] = append(told[e.Message.ID], fmt.Sprint(e.State.To, e.State.Attempt, e.State.Code))
		}
	}
	for id, r := range f.stored() {
		if p := r.ListEntry(); p.List != message.NoList {
			lists[string(p.List)][p.Member] = p.Score
		}
		for _, wamid := range r.IndexedWAMIDs() {
			day := "wamids:" + r.AcceptedAt.Format(time.DateOnly)
			if names[day] == nil {
				names[day] = map[string]string{}
			}
			sum := sha256.Sum256([]byte(wamid))
			names[day][hex.EncodeToString(sum[:8])] = id
		}
		if r.Ref != "" && !r.Tombstone() {
			refs[r.Ref] = append(refs[r.Ref], id)
		}
		if r.RecipientHash != "" {
			indexed = append(indexed, id)
		}
		may := r.State == message.Submitted || slices.Contains(message.ResendStates(), r.State)
		if r.State.Sendable() != (r.Payload != "") && !may {
			f.t.Errorf("%s: %s is %s with a payload of %d bytes", when, id, r.State, len(r.Payload))
		}
		if r.State.Final() {
			life := map[message.State]time.Duration{message.Delivered: day, message.Read: day, message.Played: day}[r.State]
			if life == 0 {
				life = week
			}
			end := r.Since().Add(life)
			if r.Tombstone() {
				end = r.KeyUntil
			}
			if hour := end.Unix() / 3600; !slices.Contains(f.db.LRange(ctx, store.Key(f.shard, fmt.Sprint("ended:", hour)), 0, -1).Val(), id) {
				f.t.Errorf("%s: %s, %s since %s, is not to be forgotten", when, id, r.State, r.Since())
			}
		}
		var steps []string
		for _, s := range r.Timeline {
			if s.State != message.Attempting {
				steps = append(steps, fmt.Sprint(s.State, s.Attempt, s.Code))
			}
		}
		if got := told[id]; len(got) < len(steps) || !slices.Equal(got[len(got)-len(steps):], steps) {
			f.t.Errorf("%s: %s: the events %q, the timeline %q", when, id, got, steps)
		}
	}
	for list, want := range lists {
		got := map[string]int64{}
		for _, z := range f.db.ZRangeWithScores(ctx, store.Key(f.shard, list), 0, -1).Val() {
			got[z.Member.(string)] = int64(z.Score)
		}
		if !maps.Equal(got, want) {
			f.t.Errorf("%s: the list %s has\n%v\nwant\n%v", when, list, got, want)
		}
	}
	found := map[string]map[string]string{}
	for _, key := range f.keys("wamids:*") {
		found[strings.TrimPrefix(key, store.Key(f.shard, ""))] = f.db.HGetAll(ctx, key).Val()
	}
	if !reflect.DeepEqual(found, names) {
		f.t.Errorf("%s: Meta's ids lead to\n%v\nwant\n%v", when, found, names)
	}
	var listed []string
	for _, key := range f.keys("to:*") {
		listed = append(listed, f.db.LRange(ctx, key, 0, -1).Val()...)
	}
	slices.Sort(listed)
	listed = slices.Compact(listed) // see ByRecipient
	if slices.Sort(indexed); !slices.Equal(listed, indexed) {
		f.t.Errorf("%s: the index of recipients has\n%q\nwant\n%q", when, listed, indexed)
	}
	for ref, want := range refs {
		all, err := f.ByRef(ctx, []string{number}, ref)
		var got []string
		for _, r := range all {
			got = append(got, r.ID)
		}
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || len(want) <= 100 && !slices.Equal(got, want) {
			f.t.Errorf("%s: the reference %s leads to %q, %v; want %q", when, ref, got, err, want)
		}
	}
	f.wantCampaigns(when)
}

// wantCampaigns checks that the counters of campaigns are those of the records, and that exactly the undelivered messages are listed.
func (f fixture) wantCampaigns(when string) {
	f.t.Helper()
	want, undelivered := map[message.CampaignCount]int{}, map[string]bool{}
	for id, r := range f.stored() {
		if r.Campaign == "" || r.Tombstone() || r.Reason == message.ReasonMoved {
			continue
		}
		c := message.CampaignCount{Number: r.From, State: r.State, Template: r.Template}
		if r.State == message.Attempting {
			c.State = message.Queued
		}
		if r.State.Undelivered() {
			c.Code, c.Reason = r.Code, r.Reason
			undelivered[r.Flow().String()+" "+id] = true
		}
		want[c]++
	}
	got, listed := map[message.CampaignCount]int{}, map[string]bool{}
	all, err := f.Campaigns(f.t.Context(), "")
	if err == nil {
		err = f.CampaignProgress(f.t.Context(), all)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	for _, c := range all {
		for _, one := range c.Counts {
			n := one.Count
			one.Count = 0
			got[one] += n
		}
		for _, id := range f.db.ZRange(f.t.Context(), store.Key(f.shard, "campaign:undelivered:"+c.String()), 0, -1).Val() {
			listed[c.String()+" "+id] = true
		}
	}
	if !maps.Equal(got, want) {
		f.t.Errorf("%s: the counters of campaigns are\n%v\nwant\n%v", when, got, want)
	}
	if !maps.Equal(listed, undelivered) {
		f.t.Errorf("%s: the undelivered messages of campaigns are\n%v\nwant\n%v", when, listed, undelivered)
	}
}

// TestListsFollowFromRecords: after any changes, in any order, each list has exactly the messages that the records
// demand, and the events of a message match its timeline.
func TestListsFollowFromRecords(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for seed := range uint64(8) {
			rnd := rand.New(rand.NewPCG(seed, 7))
			for step := range 60 {
				f.randomStep(rnd, seed, step)
				if step%6 == 5 {
					f.wantConsistent(fmt.Sprintf("seed %d, step %d", seed, step))
				}
				if t.Failed() {
					return
				}
			}
		}
	})
}

var someMoves = []message.Move{
	{To: message.Submitted, WAMID: "wamid.a"},
	{To: message.Submitted},
	{To: message.Queued, In: time.Hour, Counts: true},
	{To: message.Queued, Code: 130429, Reason: "code 130429"},
	{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute},
	{To: message.Rejected, Code: 131026},
	{To: message.Dead, Code: 131000, Reason: "a:b", Keep: true},
}

// randomStep does something to one of a few messages.
func (f fixture) randomStep(rnd *rand.Rand, seed uint64, step int) {
	f.t.Helper()
	ctx := f.t.Context()
	must := func(err error) {
		f.t.Helper()
		if err != nil {
			f.t.Fatal(err)
		}
	}
	key := fmt.Sprint(seed, "-", rnd.IntN(5))
	m := newMessage(key)
	m.Ref = "ref " + strconv.Itoa(rnd.IntN(3))
	m.Campaign = []string{"", "spring", "a/b"}[key[len(key)-1]%3]
	if rnd.IntN(8) == 0 {
		m.Hash = "other"
	}
	r, err := f.Read(ctx, m.ID)
	if err != nil || rnd.IntN(10) == 0 {
		f.Accept(ctx, []ledger.Accepting{f.accepting(m), f.accepting(m)})
		return
	}
	move := someMoves[rnd.IntN(len(someMoves))]
	if move.WAMID != "" {
		move.WAMID += m.ID + strconv.Itoa(rnd.IntN(2))
	}
	switch rnd.IntN(7) {
	case 0, 1:
		known := &r
		if rnd.IntN(2) == 0 {
			known = nil
		}
		_, err := f.Begin(ctx, m.ID, r.Task, fmt.Sprint("w", rnd.IntN(2), "/", step), known)
		must(err)
	case 2:
		_, _, err := f.Finish(ctx, message.Attempt{ID: m.ID, N: r.Attempt, Token: r.Token}, move)
		must(err)
	case 3:
		_, err := f.Cancel(ctx, m.ID)
		must(err)
	case 4:
		to := []message.Move{
			{To: message.Parked, Reason: message.ReasonResends},
			{To: message.Queued, Resend: true},
			{To: message.Expired, Reason: message.ReasonDeadline},
			{To: message.Queued, Reason: message.ReasonReplayed, ExpiresAt: time.Now().Add(2 * time.Hour)},
			{To: message.Failed, Reason: message.ReasonUndetermined},
			move,
		}[rnd.IntN(6)]
		switch { // inputs that no program makes
		case to.To == message.Queued && !r.State.Sendable() && r.State != message.Dead, !to.To.Sendable() && r.State.Final(), to.To.Sendable() && r.Payload == "":
			return
		case to.To == message.Submitted && r.State.Rank(r.Reason) >= message.Submitted.Rank(""):
			return
		}
		f.moved(r.Open(), to)
	case 5:
		var all []message.MarkedReport
		for range 1 + rnd.IntN(3) {
			e := report(m.ID, rnd.IntN(3), "wamid.a"+m.ID+strconv.Itoa(rnd.IntN(2)), []string{"sent", "delivered", "read", "failed", "strange"}[rnd.IntN(5)])
			if rnd.IntN(2) == 0 {
				e.ID, e.Attempt = "", 0
			}
			all = append(all, e)
		}
		f.apply(all...)
	case 6:
		f.appliedUnmatched()
	}
}
