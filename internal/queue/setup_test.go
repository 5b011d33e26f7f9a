package queue

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shards = message.DefaultShards

// fixture is a Redis of one test's own and the clients of it.
type fixture struct {
	t         testing.TB
	db        *store.DB
	client    *Client
	asynq     *asynq.Client
	inspector *asynq.Inspector
}

// setup starts a Redis that keeps nothing on disk.
func setup(t testing.TB) *fixture {
	t.Helper()
	return open(t, redistest.Start(t, "--appendonly", "no").Addr, nil)
}

func setupMini(t testing.TB) *fixture {
	t.Helper()
	return open(t, miniredis.RunT(t).Addr(), nil)
}

// open connects to the Redis at addr, through what wrap makes of the client.
func open(t testing.TB, addr string, wrap func(redis.UniversalClient) redis.UniversalClient) *fixture {
	t.Helper()
	var c redis.UniversalClient = redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	if wrap != nil {
		c = wrap(c)
	}
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return &fixture{t, db, NewClient(db, shards), asynq.NewClientFromRedisClient(c), asynq.NewInspectorFromRedisClient(c)}
}

// add adds tasks, in this order.
func (f *fixture) add(tasks ...Task) {
	f.t.Helper()
	for some := range slices.Chunk(tasks, 1000) {
		err := f.db.Pipe(f.t.Context(), func(p redis.Pipeliner) {
			for _, task := range some {
				if err := f.client.Add(f.t.Context(), p, task); err != nil {
					f.t.Error(err)
				}
			}
		})
		if err != nil {
			f.t.Fatal(err)
		}
	}
}

// many returns n tasks of one class, named for it and counted from 0.
func many(n int, number string, c message.Class) []Task {
	tasks := make([]Task, n)
	for i := range tasks {
		tasks[i] = Task{ID: fmt.Sprintf("%s-%s%d", number, c, i), K: 1, Number: number, Class: c}
	}
	return tasks
}

// serve runs a server until the test ends or the returned function is called.
func (f *fixture) serve(worker string, h Handler, numbers ...Number) (stop func()) {
	f.t.Helper()
	log := slog.New(slog.NewTextHandler(f.t.Output(), nil))
	s := NewServer(f.db, shards, worker, numbers, h, log)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := s.Run(ctx); err != nil {
			f.t.Error(err)
		}
	})
	stop = func() { cancel(); wg.Wait() }
	f.t.Cleanup(stop)
	return stop
}

// gate returns a worker's gate that takes only when told.
func (f *fixture) gate(worker string, numbers ...Number) (g *gate, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	g = newGate(ctx, f.db, shards, worker, numbers, slog.New(slog.NewTextHandler(f.t.Output(), nil)))
	var wg sync.WaitGroup
	for _, n := range g.numbers {
		wg.Go(func() { n.line.Run(ctx) })
	}
	stop = func() { cancel(); wg.Wait() }
	f.t.Cleanup(stop)
	return g, stop
}

func (f *fixture) info(number string, c message.Class) *asynq.QueueInfo {
	f.t.Helper()
	info, err := f.inspector.GetQueueInfo(name(shards.Of(number), number, c))
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 15 s: %s", what)
		}
	}
}

// journal notes what was sent, in order.
type journal struct {
	mu   sync.Mutex
	ids  []string
	at   []time.Time
	more chan struct{} // gets one value at each send; buffered
}

func newJournal() *journal { return &journal{more: make(chan struct{}, 10000)} }

// send waits for a slot, uses it and notes the message. It is false when the worker stops.
func (j *journal) send(ctx context.Context, id string, slots Slots) bool {
	for {
		s, err := slots.Wait(ctx)
		if err != nil {
			return false
		}
		switch err := s.Use(ctx); err {
		case nil:
			j.mu.Lock()
			j.ids = append(j.ids, id)
			j.at = append(j.at, time.Now())
			j.mu.Unlock()
			j.more <- struct{}{}
			return true
		case pacing.ErrLate:
		default:
			return false
		}
	}
}

// handle sends each task once.
func (j *journal) handle(ctx context.Context, id string, _ int, slots Slots) error {
	if !j.send(ctx, id, slots) {
		return Later{}
	}
	return nil
}

func (j *journal) sent() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return slices.Clone(j.ids)
}

// wait waits for n further sends.
func (j *journal) wait(t testing.TB, n int) {
	t.Helper()
	end := time.After(20 * time.Second)
	for i := range n {
		select {
		case <-j.more:
		case <-end:
			t.Fatalf("%d of %d messages were sent", i, n)
		}
	}
}

// once fails the test unless exactly the tasks were sent, each once.
func (j *journal) once(t testing.TB, tasks []Task) {
	t.Helper()
	count := map[string]int{}
	for _, id := range j.sent() {
		count[id]++
	}
	for _, task := range tasks {
		if count[task.ID] != 1 {
			t.Errorf("%s was sent %d times", task.ID, count[task.ID])
		}
		delete(count, task.ID)
	}
	if len(count) > 0 {
		t.Errorf("sent as well: %v", count)
	}
}
