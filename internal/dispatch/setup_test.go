package dispatch

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const shards = message.DefaultShards

// fixture is a Redis of one test's own and the clients of it.
type fixture struct {
	t         testing.TB
	db        *store.DB
	client    *queue.Client
	asynq     *asynq.Client
	inspector *asynq.Inspector

	tx *store.Transactions // strict

	// For the servers and gates to come.
	candidates Candidates
	limit      Limit
	rate       func(string) (int, bool) // nil: of the numbers that serve or gate is given

	mu      sync.Mutex
	alive   []string
	records map[string]Candidate // by message, see record
}

// Number is a number to drain and its rate.
type Number struct {
	ID   string
	Rate int
}

// options are those of a worker that drains numbers.
func (f *fixture) options(worker string, h Handler, numbers []Number) Options {
	rate := f.rate
	if rate == nil {
		rate = func(id string) (int, bool) {
			i := slices.IndexFunc(numbers, func(n Number) bool { return n.ID == id })
			if i < 0 {
				return 0, false
			}
			return numbers[i].Rate, true
		}
	}
	return Options{
		Shards: shards, Worker: worker, Rate: rate, Handler: h, Candidates: f.candidates, Limit: f.limit,
		Alive: func(context.Context) (map[message.Shard][]string, error) {
			f.mu.Lock()
			defer f.mu.Unlock()
			return alike(shards, f.alive...), nil
		},
		Log: slog.New(slog.NewTextHandler(f.t.Output(), nil)),
	}
}

func (f *fixture) live(worker string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.alive = append(f.alive, worker)
}

func (f *fixture) die(worker string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.alive, worker); i >= 0 {
		f.alive = slices.Delete(f.alive, i, i+1)
	}
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
	return &fixture{
		t: t, db: db, client: queue.NewClient(db, shards), tx: db.Transactions(true), records: map[string]Candidate{},
		asynq: asynq.NewClientFromRedisClient(c), inspector: asynq.NewInspectorFromRedisClient(c),
	}
}

// add adds tasks, in this order.
func (f *fixture) add(tasks ...queue.Task) {
	f.t.Helper()
	for some := range slices.Chunk(tasks, 1000) {
		if err := f.tryAdd(f.client, some...); err != nil {
			f.t.Fatal(err)
		}
	}
}

// tryAdd adds tasks of one shard in one transaction.
func (f *fixture) tryAdd(c *queue.Client, tasks ...queue.Task) error {
	return f.tx.Do(f.t.Context(), 0, store.Change{
		Slot: queue.WorkKey(shards.Of(tasks[0].Number)),
		Decide: func(_ []string, w *store.Writes) error {
			for _, task := range tasks {
				if err := c.Enqueue(w, task); err != nil {
					return err
				}
			}
			return nil
		},
	})
}

// setupRecords is setup with tasks whose messages have records: see record.
func setupRecords(t testing.TB) *fixture {
	f := setup(t)
	f.candidates = f.ask
	return f
}

// record says what the records say about tasks. Of those that it was not called for they say that
// there is nothing to do.
func (f *fixture) record(tasks []queue.Task, c Candidate) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, task := range tasks {
		f.records[task.ID] = c
	}
}

// ask is Candidates, by what record said.
func (f *fixture) ask(_ context.Context, _ message.Shard, tasks []queue.TaskID) ([]Candidate, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Candidate, len(tasks))
	for i, t := range tasks {
		c, known := f.records[t.Message]
		if !known || t.K != 1 {
			c.Verdict = Void
		}
		all[i] = c
	}
	return all, nil
}

// holds are the holds of the fixture's Redis.
func (f *fixture) holds() *holds.Store {
	return holds.New(f.db, shards, slog.New(slog.NewTextHandler(f.t.Output(), nil)))
}

// index notes in the index of work that a number has some, as asynq's own client does not.
func (f *fixture) index(number string) {
	f.t.Helper()
	if err := f.db.SAdd(f.t.Context(), queue.WorkKey(shards.Of(number)), number).Err(); err != nil {
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

// serve runs a server until the test ends or the returned function is called.
func (f *fixture) serve(worker string, h Handler, numbers ...Number) (stop func()) {
	f.t.Helper()
	f.live(worker)
	end := f.run(NewServer(f.db, f.options(worker, h, numbers)))
	return func() { end(); f.die(worker) }
}

// run runs a server until the test ends or the returned function is called.
func (f *fixture) run(s *Server) (stop func()) {
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

// alike returns the same workers for each shard.
func alike(shards message.Shards, workers ...string) map[message.Shard][]string {
	all := map[message.Shard][]string{}
	for _, s := range shards.All() {
		all[s] = slices.Clone(workers)
	}
	return all
}

// gate returns a worker's dispatcher that fetches only when the test lets it. Its context ends with stop.
func (f *fixture) gate(worker string, numbers ...Number) (g *dispatcher, stop func()) {
	return f.gateWith(func(*dispatcher) {}, worker, numbers...)
}

// gateWith is gate with a change of the dispatcher before it has numbers.
func (f *fixture) gateWith(change func(*dispatcher), worker string, numbers ...Number) (g *dispatcher, stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	g = newDispatcher(ctx, f.db, f.options(worker, nil, numbers))
	change(g)
	var wg sync.WaitGroup
	for _, number := range numbers {
		n := g.newNumber(number.ID, number.Rate)
		g.assignment.active[number.ID] = &active{number: n, stop: cancel}
		g.assignment.workers = alike(shards, worker)
		wg.Go(func() { n.schedule.Run(ctx) })
	}
	stop = func() { cancel(); wg.Wait() }
	f.t.Cleanup(func() { stop(); g.giveUp(); g.writers.Wait() })
	return g, stop
}

// taskID is the id of a message's k-th task.
func taskID(id string, k int) string { return queue.TaskID{Message: id, K: k}.String() }

// end lets tasks in hand leave, and waits for Redis.
func (f *fixture) end(g *dispatcher, n *number, how queue.Way, ids ...string) {
	f.t.Helper()
	var tasks []*queue.Fetched
	for _, id := range ids {
		t := n.lease.Task(taskID(id, 1))
		if t == nil {
			f.t.Fatalf("%s is not in hand", id)
		}
		tasks = append(tasks, t)
	}
	n.leave(queue.Exits(tasks, how)...)
	if err := n.lease.Write(0); err != nil {
		f.t.Fatal(err)
	}
}

// hands is what Redis has of all hands of a number, by field.
func (f *fixture) hands(number string) map[string]string {
	f.t.Helper()
	return f.db.HGetAll(f.t.Context(), queue.LeasesKey(shards.Of(number), number)).Val()
}

// idle waits until nothing of a number is in hand anywhere.
func (f *fixture) idle(number string) {
	f.t.Helper()
	eventually(f.t, "nothing is in hand", func() bool { return len(f.hands(number)) == 0 })
}

func (f *fixture) info(number string, c message.Class) *asynq.QueueInfo {
	f.t.Helper()
	info, err := f.inspector.GetQueueInfo(queue.KeysOf(shards.Of(number), number, c).Queue)
	if err != nil {
		f.t.Fatal(err)
	}
	return info
}

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll.Until(t, what, ok)
}
