package queue

import (
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	shards = message.DefaultShards
	phone  = "106540352242922"
)

// fixture is a Redis of one test's own and the clients of it.
type fixture struct {
	t      testing.TB
	db     *store.DB
	client *Client
	asynq  *asynq.Client
	tx     *store.Transactions // strict
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
	return &fixture{t: t, db: db, client: NewClient(db, shards), tx: db.Transactions(true), asynq: asynq.NewClientFromRedisClient(c)}
}

// add adds tasks, in this order.
func (f *fixture) add(tasks ...Task) {
	f.t.Helper()
	if err := f.tryAdd(f.client, tasks...); err != nil {
		f.t.Fatal(err)
	}
}

// tryAdd adds tasks of one shard in one transaction.
func (f *fixture) tryAdd(c *Client, tasks ...Task) error {
	return f.tx.Do(f.t.Context(), 0, store.Change{
		Slot: WorkKey(shards.Of(tasks[0].Number)),
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

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	poll.Until(t, what, ok)
}
