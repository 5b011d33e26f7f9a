package queue

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"

	"sluice/internal/message"
)

// lease returns the lease of a worker that serves a number.
func (f *fixture) lease(worker string) *Lease {
	var writers sync.WaitGroup
	f.t.Cleanup(writers.Wait)
	return NewLease(LeaseOptions{
		DB: f.db, Transactions: f.tx, Shard: shards.Of(phone), Number: phone, Worker: worker,
		First: func() bool { return true }, Returned: func(int) {}, Given: f.t.Context(), Writers: &writers, Log: slog.New(slog.DiscardHandler),
	})
}

// fetch moves up to n tasks from a queue to a lease, as the dispatcher's script does.
func (f *fixture) fetch(l *Lease, seq int64, c message.Class, n int) []*Fetched {
	f.t.Helper()
	ids, err := f.db.RPopCount(f.t.Context(), l.Keys(c.Order()).Pending, n).Result()
	if err != nil {
		f.t.Fatal(err)
	}
	field, value := FieldOf(l.o.Worker, seq), fmt.Sprint(c.Order(), " ", strings.Join(ids, " "))
	if err := f.db.HSet(f.t.Context(), l.key, field, value).Err(); err != nil {
		f.t.Fatal(err)
	}
	return l.Add(field, value)
}

// A failover may lose a fetch whose tasks a living worker still has. When the worker fetches them again and
// they leave then, they return to their queue.
func TestAFetchThatRedisLost(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for i := range 4 {
		f.add(Task{ID: fmt.Sprint(phone, "-", i), K: 1, Number: phone, Class: message.Service})
	}
	l := f.lease("w")
	k := l.Keys(message.Service.Order())
	pending := f.db.LRange(t.Context(), k.Pending, 0, -1).Val()
	tasks := f.fetch(l, 1, message.Service, 4)
	if len(tasks) != 4 {
		t.Fatal(tasks)
	}
	f.db.Del(t.Context(), l.key)
	f.db.RPush(t.Context(), k.Pending, pending)
	if got := f.fetch(l, 2, message.Service, 4); len(got) != 0 {
		t.Fatalf("handed out twice: %v", got)
	}
	l.writing.Lock()
	l.unsure = true // the answer to the last transaction was lost
	l.writing.Unlock()
	leave := func(how Way, tasks ...*Fetched) {
		t.Helper()
		l.Leave(Exits(tasks, how)...)
		if err := l.Write(0); err != nil {
			t.Fatal(err)
		}
	}
	leave(ToHead, tasks[:2]...)
	if got := f.db.LRange(t.Context(), k.Pending, 0, -1).Val(); !slices.Equal(got, pending[2:]) {
		t.Errorf("pending are %q, want %q", got, pending[2:])
	}
	leave(Finished, tasks[2:]...)
	if left := f.db.Exists(t.Context(), l.key).Val(); left != 0 || !l.Empty() {
		t.Errorf("still leased: %v", f.db.HGetAll(t.Context(), l.key).Val())
	}
}
