package dispatch

import (
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/store"
)

// What is to come again in the far future does not come at once.
func TestAFarTimeIsNotInThePast(t *testing.T) {
	t.Parallel()
	for _, in := range []time.Duration{time.Hour, longest, math.MaxInt64} {
		if d := retryDelay(Later{In: in}); d < min(in, longest) || d > longest+time.Second {
			t.Errorf("%s became %s", in, d)
		}
	}
}

// Of a number that is not configured nothing is left once its messages have ended.
func TestANumberThatNobodyServesLeavesNothing(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	ctx, s := t.Context(), shards.Of(phone)
	var log strings.Builder
	waiting, scheduled, kept := many(700, phone, message.Utility), many(2, phone, message.Service), many(3, phone, message.Marketing)
	f.add(waiting...)
	scheduled[0].At = time.Now().Add(time.Hour)
	f.add(scheduled...)
	f.add(kept...)
	held := queue.KeysOf(s, phone, message.Marketing)
	f.db.Del(ctx, held.Pending)
	for _, task := range kept {
		f.db.RPush(ctx, queue.HeldKey(s, phone)+":tag::x", "3 "+taskID(task.ID, 1))
	}
	f.db.SAdd(ctx, queue.HeldKey(s, phone), "tag::x")
	if _, err := f.holds().Set(ctx, message.Hold{Tag: "x", By: "ben", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	o := f.options("w", nil, nil)
	f.live("w")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	g := newDispatcher(ctx, f.db, o)
	look := func() {
		t.Helper()
		if u := g.unserved[phone]; u != nil {
			u.tidied, u.since = time.Time{}, time.Now().Add(-2*unservedLog)
		}
		if err := g.assign(); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(tasks ...queue.Task) {
		t.Helper()
		err := f.tx.Do(ctx, 0, store.Change{Slot: queue.WorkKey(s), Decide: func(_ []string, w *store.Writes) error {
			for _, task := range tasks {
				queue.Drop(w, s, task)
			}
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
	look()
	if !strings.Contains(log.String(), "not configured") || !strings.Contains(log.String(), "messages=704") {
		t.Errorf("the log: %s", log.String())
	}
	reader := backlog.New(f.db, shards, func(string) int { return 1 })
	unknown, err := reader.Unserved(ctx, func(string) bool { return false })
	if err != nil || len(unknown) != 1 || unknown[0].Number != phone || unknown[0].Waiting[2].Pending != 700 {
		t.Errorf("%+v, %v", unknown, err)
	}
	drop(waiting[10:]...)
	look()
	k := queue.KeysOf(s, phone, message.Utility)
	ids := f.db.LRange(ctx, k.Pending, 0, -1).Val()
	slices.Reverse(ids)
	for i := range ids {
		ids[i], _, _ = strings.Cut(ids[i], ".")
	}
	if !slices.Equal(ids, messageIDs(waiting[:10])) {
		t.Errorf("those that stay: %q", ids)
	}
	drop(slices.Concat(waiting[:10], scheduled, kept)...)
	look()
	look()
	for _, pattern := range []string{"asynq:{*", "sluice:*:work", "sluice:*:held:*"} {
		if keys := f.db.Keys(ctx, pattern).Val(); len(keys) != 0 {
			t.Errorf("left: %q", keys)
		}
	}
	if queues := f.db.SMembers(ctx, queue.QueuesKey).Val(); len(queues) != 0 {
		t.Errorf("asynq's queues: %q", queues)
	}
}
