package backlog_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/backlog"
	"sluice/internal/message"
	"sluice/internal/queue"
)

// A task is lost when nothing brings it to its turn, whatever its state says; and only then.
func TestLostTasksOfEveryKind(t *testing.T) {
	t.Parallel()
	f := setup(t)
	ctx, s := t.Context(), shards.Of(phone)
	k := queue.KeysOf(s, phone, message.Utility)
	reader := backlog.New(f.db, shards, func(string) int { return 80 })
	old := time.Now().Add(-2 * time.Minute).UnixNano()
	at := func(task queue.Task, fields ...any) { f.db.HSet(ctx, k.Task+taskID(task.ID, 1), fields...) }
	unlist := func(task queue.Task) { f.db.LRem(ctx, k.Pending, 0, taskID(task.ID, 1)) }
	tests := []struct {
		name string
		lost bool
		set  func(task queue.Task)
	}{
		{"in its queue for long", false, func(task queue.Task) { at(task, "pending_since", old) }},
		{"in no list", true, func(task queue.Task) { at(task, "pending_since", old); unlist(task) }},
		{"in no list for a moment", false, func(task queue.Task) { unlist(task) }},
		{"active", true, func(task queue.Task) { at(task, "state", "active"); unlist(task) }},
		{"archived", true, func(task queue.Task) { at(task, "state", "archived"); unlist(task) }},
		{"without its message", true, func(task queue.Task) { f.db.HDel(ctx, k.Task+taskID(task.ID, 1), "msg") }},
		{"scheduled, without its message", true, func(task queue.Task) {
			at(task, "state", "scheduled")
			unlist(task)
			f.db.HDel(ctx, k.Task+taskID(task.ID, 1), "msg")
			f.db.ZAdd(ctx, k.Scheduled, redis.Z{Score: 1e10, Member: taskID(task.ID, 1)})
		}},
		{"scheduled nowhere", true, func(task queue.Task) { at(task, "state", "scheduled"); unlist(task) }},
		{"scheduled", false, func(task queue.Task) {
			at(task, "state", "scheduled")
			unlist(task)
			f.db.ZAdd(ctx, k.Scheduled, redis.Z{Score: 1e10, Member: taskID(task.ID, 1)})
		}},
		{"to be retried", false, func(task queue.Task) {
			at(task, "state", "retry")
			unlist(task)
			f.db.ZAdd(ctx, k.Retry, redis.Z{Score: 1e10, Member: taskID(task.ID, 1)})
		}},
		{"in hand", false, func(task queue.Task) {
			at(task, "pending_since", old)
			unlist(task)
			f.db.HSet(ctx, queue.LeasesKey(s, phone), "w/1", "2 other.1 "+taskID(task.ID, 1))
		}},
		{"held", false, func(task queue.Task) {
			at(task, "pending_since", old)
			unlist(task)
			f.db.SAdd(ctx, queue.HeldKey(s, phone), "tag::x")
			f.db.RPush(ctx, queue.HeldKey(s, phone)+":tag::x", "2 "+taskID(task.ID, 1))
		}},
		{"held as the reason of the hold", false, func(task queue.Task) {
			at(task, "pending_since", old)
			unlist(task)
			f.db.SAdd(ctx, queue.HeldKey(s, phone), "tag::y")
			f.db.ZAdd(ctx, queue.RefusedKey(s, phone, "tag::y"), redis.Z{Score: 1, Member: "2 " + taskID(task.ID, 1)})
		}},
		{"waits for its recipient", false, func(task queue.Task) {
			at(task, "pending_since", old, queue.WaitField, "aa")
			unlist(task)
			f.db.ZAdd(ctx, queue.WaitsKey(s, phone), redis.Z{Score: 1e16, Member: "aa"})
			f.db.ZAdd(ctx, queue.WaitsOf(queue.WaitsKey(s, phone), "aa"), redis.Z{Score: 1, Member: "2 " + taskID(task.ID, 1)})
		}},
		{"is not among those that wait", true, func(task queue.Task) {
			at(task, queue.WaitField, "bb")
			unlist(task)
		}},
	}
	tasks := many(len(tests), phone, message.Utility)
	f.add(tasks...)
	for i, tt := range tests {
		tt.set(tasks[i])
	}
	f.db.SRem(ctx, queue.WorkKey(s), phone)
	missing, err := f.client.Missing(ctx, tasks)
	if err != nil {
		t.Fatal(err)
	}
	for i, tt := range tests {
		if lost := slices.Contains(missing, i); lost != tt.lost {
			t.Errorf("%s: lost %t", tt.name, lost)
		}
		place, err := reader.Position(ctx, phone, message.Utility, message.Flow{}, tasks[i].ID, 1)
		if gone := place.Task == message.TaskMissing; err != nil || gone != tt.lost {
			t.Errorf("%s: placed as %q, %v", tt.name, place.Task, err)
		}
	}
	if !f.db.SIsMember(ctx, queue.WorkKey(s), phone).Val() {
		t.Error("the number is missing from the index of work")
	}
	// In a queue too long to be searched the order decides.
	f.add(many(1100, phone, message.Service)...)
	long := queue.KeysOf(s, phone, message.Service)
	f.db.HSet(ctx, long.Task+taskID(phone+"-lost", 1), "state", "pending", "msg", "m", "pending_since", old)
	two := []queue.Task{{ID: phone + "-service500", K: 1, Number: phone, Class: message.Service}, {ID: phone + "-lost", K: 1, Number: phone, Class: message.Service}}
	if missing, err := f.client.Missing(ctx, two); err != nil || !slices.Equal(missing, []int{1}) {
		t.Errorf("of a long queue: %v, %v", missing, err)
	}
}

func TestMissingTasks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	tasks := many(5, phone, message.Utility)
	f.add(tasks...)
	c := f.client
	if missing, err := c.Missing(t.Context(), tasks); err != nil || len(missing) != 0 {
		t.Errorf("all are there: %v, %v", missing, err)
	}
	key := queue.KeysOf(shards.Of(phone), phone, message.Utility).Task + taskID(tasks[3].ID, tasks[3].K)
	if n := f.db.Del(t.Context(), key).Val(); n != 1 {
		t.Fatal("no such task")
	}
	again := append(slices.Clone(tasks), tasks[0])
	again[5].K++
	if missing, err := c.Missing(t.Context(), again); err != nil || !slices.Equal(missing, []int{3, 5}) {
		t.Errorf("missing are %v, %v", missing, err)
	}
}
