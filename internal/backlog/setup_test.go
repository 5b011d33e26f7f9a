package backlog_test

import (
	"fmt"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	shards = message.DefaultShards
	phone  = "106540352242922"
)

// fixture is a Redis of one test's own and a client of it.
type fixture struct {
	t      testing.TB
	db     *store.DB
	client *queue.Client
}

// setup starts a Redis that keeps nothing on disk.
func setup(t testing.TB) *fixture {
	t.Helper()
	return open(t, redistest.Start(t, "--appendonly", "no").Addr)
}

func open(t testing.TB, addr string) *fixture {
	t.Helper()
	db, err := store.New(t.Context(), redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &fixture{t, db, queue.NewClient(db, shards)}
}

// add adds tasks of one number, in this order.
func (f *fixture) add(tasks ...queue.Task) {
	f.t.Helper()
	err := f.db.Transactions(true).Do(f.t.Context(), 0, store.Change{
		Slot: queue.WorkKey(shards.Of(tasks[0].Number)),
		Decide: func(_ []string, w *store.Writes) error {
			for _, task := range tasks {
				if err := f.client.Enqueue(w, task); err != nil {
					return err
				}
			}
			return nil
		},
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// many returns n tasks of one class, named for it and counted from 0.
func many(n int, number string, c message.Class) []queue.Task {
	tasks := make([]queue.Task, n)
	for i := range tasks {
		tasks[i] = queue.Task{ID: fmt.Sprintf("%s-%s%d", number, c, i), K: 1, Number: number, Class: c}
	}
	return tasks
}

// taskID is the id of a message's k-th task.
func taskID(id string, k int) string { return queue.TaskID{Message: id, K: k}.String() }
