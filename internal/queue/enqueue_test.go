package queue

import (
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/hibiken/asynq"

	"sluice/internal/message"
	"sluice/internal/store"
)

// dump returns all that asynq has in Redis, without the moments of enqueueing.
func (f *fixture) dump() map[string]any {
	f.t.Helper()
	ctx := f.t.Context()
	all := map[string]any{}
	for _, key := range f.db.Keys(ctx, "asynq:*").Val() {
		switch kind := f.db.Type(ctx, key).Val(); kind {
		case "hash":
			h := f.db.HGetAll(ctx, key).Val()
			if since, there := h["pending_since"]; there {
				h["pending_since"] = fmt.Sprintf("%d digits", len(since))
			}
			all[key] = h
		case "list":
			all[key] = f.db.LRange(ctx, key, 0, -1).Val()
		case "zset":
			all[key] = f.db.ZRangeWithScores(ctx, key, 0, -1).Val()
		case "set":
			all[key] = f.db.SMembers(ctx, key).Val()
		default:
			f.t.Errorf("%s is a %s", key, kind)
		}
	}
	return all
}

func TestAddWritesWhatAsynqsClientWrites(t *testing.T) {
	t.Parallel()
	f := setup(t)
	soon := time.Now().Add(time.Hour).Truncate(time.Second)
	for _, c := range []struct {
		what      string
		at        time.Time
		processAt time.Time
	}{
		{"at once", time.Time{}, time.Time{}},
		{"long due", time.Now().Add(-time.Hour), time.Time{}},
		{"at a whole second", soon, soon},
		{"within a second", soon.Add(time.Millisecond), soon.Add(time.Second)},
	} {
		t.Run(c.what, func(t *testing.T) {
			wakes := f.db.Subscribe(t.Context(), store.WakeChannel(shards.Of(phone)))
			defer wakes.Close()
			if _, err := wakes.Receive(t.Context()); err != nil {
				t.Fatal(err)
			}
			f.db.FlushAll(t.Context())
			f.db.ScriptFlush(t.Context())
			client := NewClient(f.db, shards) // one that has published no queue yet
			task := Task{ID: phone + "-abc", K: 7, Number: phone, Class: message.Utility, At: c.at}
			if err := f.tryAdd(client, task); err != nil {
				t.Fatal(err)
			}
			ours := f.dump()
			if work := f.db.SMembers(t.Context(), WorkKey(shards.Of(phone))).Val(); !slices.Equal(work, []string{phone}) {
				t.Errorf("the index of work has %q", work)
			}

			f.db.FlushAll(t.Context())
			opts := []asynq.Option{
				asynq.Queue(KeysOf(shards.Of(phone), phone, message.Utility).Queue), asynq.TaskID(phone + "-abc.7"),
				asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout),
			}
			if !c.processAt.IsZero() {
				opts = append(opts, asynq.ProcessAt(c.processAt))
			}
			if _, err := asynq.NewClientFromRedisClient(f.db).Enqueue(asynq.NewTask(taskType, []byte(task.ID)), opts...); err != nil {
				t.Fatal(err)
			}
			if theirs := f.dump(); !reflect.DeepEqual(ours, theirs) || len(ours) != 3 {
				t.Errorf("our client wrote\n%v\nasynq's\n%v", ours, theirs)
			}

			// Those to be sent at once are announced; delayed ones would wake no worker.
			f.db.Publish(t.Context(), store.WakeChannel(shards.Of(phone)), "end")
			woken := 0
			for {
				m, err := wakes.ReceiveMessage(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				if m.Payload == "end" {
					break
				}
				if m.Payload != phone+" 2" { // with the class
					t.Errorf("a Call for %q", m.Payload)
				}
				woken++
			}
			if (woken > 0) != c.processAt.IsZero() {
				t.Errorf("%d calls", woken)
			}
		})
	}
}

func BenchmarkAddInTx(b *testing.B) {
	f := setup(b)
	i := 0
	for b.Loop() {
		i++
		f.add(Task{ID: fmt.Sprint("m", i), Number: phone, Class: message.Service})
	}
}
