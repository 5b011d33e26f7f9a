package queue

import (
	"log/slog"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// What is to come again in the far future does not come at once.
func TestAFarTimeIsNotInThePast(t *testing.T) {
	t.Parallel()
	for _, in := range []time.Duration{time.Hour, longest, math.MaxInt64} {
		if d := retryDelay(0, Later{In: in}, nil); d < min(in, longest) || d > longest+time.Second {
			t.Errorf("%s became %s", in, d)
		}
	}
}

// A task is lost when nothing brings it to its turn, whatever its state says; and only then.
func TestLostTasksOfEveryKind(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	ctx, s := t.Context(), shards.Of(phone)
	k := asynqKeys(name(s, phone, message.Utility))
	paces := NewPaces(f.db, shards, func(string) int { return 80 })
	old := time.Now().Add(-2 * missingAfter).UnixNano()
	at := func(task Task, fields ...any) { f.db.HSet(ctx, k.task+taskID(task.ID, 1), fields...) }
	unlist := func(task Task) { f.db.LRem(ctx, k.pending, 0, taskID(task.ID, 1)) }
	tests := []struct {
		name string
		lost bool
		set  func(task Task)
	}{
		{"in its queue for long", false, func(task Task) { at(task, "pending_since", old) }},
		{"in no list", true, func(task Task) { at(task, "pending_since", old); unlist(task) }},
		{"in no list for a moment", false, func(task Task) { unlist(task) }},
		{"active", true, func(task Task) { at(task, "state", "active"); unlist(task) }},
		{"archived", true, func(task Task) { at(task, "state", "archived"); unlist(task) }},
		{"without its message", true, func(task Task) { f.db.HDel(ctx, k.task+taskID(task.ID, 1), "msg") }},
		{"scheduled nowhere", true, func(task Task) { at(task, "state", "scheduled"); unlist(task) }},
		{"scheduled", false, func(task Task) {
			at(task, "state", "scheduled")
			unlist(task)
			f.db.ZAdd(ctx, k.scheduled, redis.Z{Score: 1e10, Member: taskID(task.ID, 1)})
		}},
		{"to be retried", false, func(task Task) {
			at(task, "state", "retry")
			unlist(task)
			f.db.ZAdd(ctx, k.retry, redis.Z{Score: 1e10, Member: taskID(task.ID, 1)})
		}},
		{"in hand", false, func(task Task) {
			at(task, "pending_since", old)
			unlist(task)
			f.db.HSet(ctx, handsKey(s, phone), "w/1", "2 other.1 "+taskID(task.ID, 1))
		}},
		{"held", false, func(task Task) {
			at(task, "pending_since", old)
			unlist(task)
			f.db.SAdd(ctx, store.Key(s, "held:"+phone), "tag::x")
			f.db.RPush(ctx, store.Key(s, "held:"+phone+":tag::x"), "2 "+taskID(task.ID, 1))
		}},
		{"waits for its recipient", false, func(task Task) {
			at(task, "pending_since", old, waitField, "aa")
			unlist(task)
			f.db.ZAdd(ctx, waitsKey(s, phone), redis.Z{Score: 1e16, Member: "aa"})
			f.db.ZAdd(ctx, waitsOf(waitsKey(s, phone), "aa"), redis.Z{Score: 1, Member: "2 " + taskID(task.ID, 1)})
		}},
		{"is not among those that wait", true, func(task Task) {
			at(task, waitField, "bb")
			unlist(task)
		}},
	}
	tasks := many(len(tests), phone, message.Utility)
	f.add(tasks...)
	for i, tt := range tests {
		tt.set(tasks[i])
	}
	f.db.SRem(ctx, workKey(s), phone)
	missing, err := f.client.Missing(ctx, tasks)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		if lost := slices.Contains(missing, i); lost != tt.lost {
			t.Errorf("%s: lost %t", tt.name, lost)
		}
		place, err := paces.Place(ctx, phone, message.Utility, tasks[i].ID, 1)
		want := tt.lost && tt.name != "without its message" // it stands in its queue all the same
		if gone := place.Task == message.TaskMissing; err != nil || gone != want {
			t.Errorf("%s: placed as %q, %v", tt.name, place.Task, err)
		}
	}
	if !f.db.SIsMember(ctx, workKey(s), phone).Val() {
		t.Error("the number is missing from the index of work")
	}
	// In a queue too long to be searched the order tells.
	f.add(many(missingMost+100, phone, message.Service)...)
	long := asynqKeys(name(s, phone, message.Service))
	f.db.HSet(ctx, long.task+taskID(phone+"-lost", 1), "state", "pending", "msg", "m", "pending_since", old)
	two := []Task{{ID: phone + "-service500", K: 1, Number: phone, Class: message.Service}, {ID: phone + "-lost", K: 1, Number: phone, Class: message.Service}}
	if missing, err := f.client.Missing(ctx, two); err != nil || !slices.Equal(missing, []int{1}) {
		t.Errorf("of a long queue: %v, %v", missing, err)
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
	held := asynqKeys(name(s, phone, message.Marketing))
	f.db.Del(ctx, held.pending)
	for _, task := range kept {
		f.db.RPush(ctx, store.Key(s, "held:"+phone+":tag::x"), "3 "+taskID(task.ID, 1))
	}
	f.db.SAdd(ctx, store.Key(s, "held:"+phone), "tag::x")
	if _, err := f.holds().Set(ctx, message.Hold{Tag: "x", By: "ben", Reason: "test"}); err != nil {
		t.Fatal(err)
	}
	o := f.options("w", nil, nil)
	f.live("w")
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	g := newGate(ctx, f.db, o)
	look := func() {
		t.Helper()
		if u := g.unserved[phone]; u != nil {
			u.tidied, u.since = time.Time{}, time.Now().Add(-2*unservedTold)
		}
		if err := g.look(); err != nil {
			t.Fatal(err)
		}
	}
	drop := func(tasks ...Task) {
		t.Helper()
		err := f.tx.Do(ctx, 0, store.Change{Slot: workKey(s), Decide: func(_ []string, w *store.Writes) error {
			for _, task := range tasks {
				Drop(w, s, task)
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
	paces := NewPaces(f.db, shards, func(string) int { return 1 })
	unknown, err := paces.Unserved(ctx, func(string) bool { return false })
	if err != nil || len(unknown) != 1 || unknown[0].Number != phone || unknown[0].Waiting[2].Pending != 700 {
		t.Errorf("%+v, %v", unknown, err)
	}
	drop(waiting[10:]...)
	look()
	k := asynqKeys(name(s, phone, message.Utility))
	ids := f.db.LRange(ctx, k.pending, 0, -1).Val()
	slices.Reverse(ids)
	for i := range ids {
		ids[i], _, _ = splitTaskID(ids[i])
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
	if queues := f.db.SMembers(ctx, asynqQueues).Val(); len(queues) != 0 {
		t.Errorf("asynq's queues: %q", queues)
	}
}
