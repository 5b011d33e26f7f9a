package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
	"sluice/internal/store"
)

// checkTimeout is how long a check may take. It usually takes some milliseconds, and some round
// trips where Redis is far.
const checkTimeout = 15 * time.Second

// Check lets one task of a number that cannot exist go the whole way: enqueued by the
// client, fetched by the dispatcher, put off and brought back, then finished, by an asynq server.
// After each step asynq's inspector must see what we mean. It leaves nothing in Redis. An
// error that is queue.ErrAsynq says that the gate and asynq do not fit: nothing may be sent then.
// On a Redis that is full it proves nothing and returns nil, for the backlog must be sent.
func (s *Server) Check(ctx context.Context) error {
	return newCheck(s.dispatcher.db, s.dispatcher.o).run(ctx, func(c redis.UniversalClient) redis.UniversalClient { return c })
}

// check is the way of one task.
type check struct {
	db     *store.DB
	o      Options
	number string
	class  message.Class
	keys   queue.Keys
	id     string
}

func newCheck(db *store.DB, o Options) *check {
	c := &check{
		db: db, o: o, class: message.Authentication, id: queue.TaskID{Message: "probe", K: 1}.String(),
		number: "probe-" + strconv.FormatUint(rand.Uint64(), 36), // phone number ids have digits only
	}
	c.o.Worker = c.number
	c.o.Candidates = nil
	c.keys = queue.KeysOf(o.Shards.Of(c.number), c.number, c.class)
	return c
}

// run goes the way. Asynq's server is given what wrap makes of the gate.
func (c *check) run(ctx context.Context, wrap func(redis.UniversalClient) redis.UniversalClient) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, checkTimeout, fmt.Errorf("not within %s", checkTimeout))
	defer cancel()
	begun, redisRun := time.Now(), c.db.RunID(ctx, c.keys.Pending)
	defer func() {
		after := context.WithoutCancel(ctx)
		if errors.Is(err, queue.ErrAsynq) && c.db.RunID(after, c.keys.Pending) != redisRun {
			err = fmt.Errorf("check asynq: Redis was restarted meanwhile, and may have lost the task (%v)", err)
		}
		err = errors.Join(err, c.clean(after, begun))
	}()

	answers := make(chan error, 2)
	answers <- Later{In: time.Second}
	answers <- nil
	c.o.Handler = func(context.Context, string, int, any, *Slots) error { return <-answers }
	running, stop := context.WithCancel(ctx)
	d := newDispatcher(running, c.db, c.o)
	n := d.newNumber(c.number, 80)
	d.assignment.active[c.number] = &active{number: n, stop: stop}
	defer d.finish()
	if err := c.enqueue(ctx, d, n); err != nil {
		stop()
		if redis.IsOOMError(err) {
			c.o.Log.Warn("cannot check asynq: Redis is full", "err", err)
			return nil
		}
		return err
	}
	var schedule sync.WaitGroup
	schedule.Go(func() { n.schedule.Run(running) })
	defer schedule.Wait()
	defer stop()

	w := &witness{Gate: queue.NewGate(c.db, d), seen: map[queue.Call]bool{}}
	srv := queue.NewServer(wrap(w), retryDelay, c.o.Log)
	err = srv.Start(func(ctx context.Context, of, id string, payload []byte) error {
		if of != c.keys.Queue || id != c.id || string(payload) != "probe" {
			return nil // the inspector will miss it
		}
		return d.handle(ctx, of, id, payload)
	})
	if err != nil {
		return err
	}
	defer srv.Shutdown()
	defer stop() // or the server would wait for the gate's answer

	if err := c.through(ctx, d, n, queue.Counts{Retry: 1}); err != nil {
		return cmp.Or(w.check(err, queue.Dequeue, queue.Expired, queue.Heartbeat, queue.Retry), err)
	}
	// Its time comes at once, whatever the clocks say.
	if err := c.db.ZAddXX(ctx, c.keys.Retry, redis.Z{Score: 0, Member: c.id}).Err(); err != nil {
		return fmt.Errorf("check asynq: %w", err)
	}
	d.tidyUp(ctx, n, true)
	if err := c.expect(ctx, n, "its retry has come", queue.Counts{Pending: 1}); err != nil {
		return err
	}
	err = c.through(ctx, d, n, queue.Counts{})
	if err == nil {
		err = c.gone(ctx)
	}
	return cmp.Or(w.check(err, queue.Dequeue, queue.Expired, queue.Heartbeat, queue.Retry, queue.Done), err)
}

// gone waits until nothing of the task is left, except that it was counted.
func (c *check) gone(ctx context.Context) error {
	answered := context.WithoutCancel(ctx) // so that each answer is about Redis, and not about the time that is over
	for {
		left, err := c.db.Exists(answered, c.lists()...).Result()
		if err != nil {
			return fmt.Errorf("check asynq: %w", err)
		}
		counted := c.db.Get(answered, c.keys.Processed).Val() == "1"
		if left == 0 && counted {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: after its end %d of the task's keys are left, counted as done: %t: %w", queue.ErrAsynq, left, counted, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// lists are the keys that have the task on its way.
func (c *check) lists() []string {
	k := c.keys
	return []string{k.Pending, k.Active, k.Lease, k.Scheduled, k.Retry, k.Task + c.id, queue.LeasesKey(c.o.Shards.Of(c.number), c.number)}
}

// enqueue adds the task as a Client does. No worker serves a number that is not configured.
func (c *check) enqueue(ctx context.Context, d *dispatcher, n *number) error {
	slot := queue.LeasesKey(n.shard, c.number)
	err := c.db.Transactions(true).Do(ctx, 0, store.Change{Slot: slot, Decide: func(_ []string, w *store.Writes) error {
		return d.client.Enqueue(w, queue.Task{ID: "probe", K: 1, Number: c.number, Class: c.class})
	}})
	if err != nil {
		return fmt.Errorf("check asynq: %w", err)
	}
	return c.expect(ctx, n, "it was enqueued", queue.Counts{Pending: 1})
}

// through fetches the task and lets the server handle it.
func (c *check) through(ctx context.Context, d *dispatcher, n *number, want queue.Counts) error {
	tasks, _, err := d.fetch(ctx, n, 1)
	if err != nil {
		return fmt.Errorf("check asynq: %w", err)
	}
	if len(tasks) != 1 || tasks[0].ID != c.id {
		return fmt.Errorf("%w: the dispatcher did not find its task", queue.ErrAsynq)
	}
	if err := c.expect(ctx, n, "it was fetched", queue.Counts{Active: 1}); err != nil {
		return err
	}
	d.dispatch(ctx, n, tasks)
	return c.expect(ctx, n, "it was handled", want)
}

// expect waits until asynq's inspector counts the queue's tasks as wanted.
func (c *check) expect(ctx context.Context, n *number, when string, want queue.Counts) error {
	answered := context.WithoutCancel(ctx) // so that each answer is about Redis, and not about the time that is over
	for {
		if err := n.lease.Settle(answered); err != nil {
			return fmt.Errorf("check asynq: %w", err)
		}
		got, err := queue.Inspect(c.db, c.keys.Queue)
		if err != nil {
			return fmt.Errorf("check asynq: %w", err)
		}
		if got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: after %s its inspector counts %d pending, %d active, %d scheduled, %d to be retried: %w",
				queue.ErrAsynq, when, got.Pending, got.Active, got.Scheduled, got.Retry, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// clean removes what the way left, which is counters if it went well.
func (c *check) clean(ctx context.Context, begun time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	s := c.o.Shards.Of(c.number)
	if err := c.db.SRem(ctx, queue.WorkKey(s), c.number).Err(); err != nil {
		return fmt.Errorf("check asynq: %w", err)
	}
	keys := append(c.lists(), ratelimit.ScheduleKey(s, c.number), c.keys.Processed, c.keys.ProcessedOn(begun), c.keys.ProcessedOn(time.Now()))
	if err := errors.Join(c.db.SRem(ctx, queue.QueuesKey, c.keys.Queue).Err(), c.db.Del(ctx, keys...).Err()); err != nil {
		return fmt.Errorf("check asynq: %w", err)
	}
	return nil
}

// witness notes which calls the gate recognised.
type witness struct {
	*queue.Gate
	mu   sync.Mutex
	seen map[queue.Call]bool
}

func (w *witness) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	w.mu.Lock()
	w.seen[queue.CallOf(keys)] = true
	w.mu.Unlock()
	return w.Gate.EvalSha(ctx, sha, keys, args...)
}

// check fails unless the gate recognised each of those calls of its server, or if err has another reason than
// the time that is over.
func (w *witness) check(err error, calls ...queue.Call) error {
	if err != nil && !errors.Is(err, queue.ErrAsynq) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range calls {
		if !w.seen[c] {
			return fmt.Errorf("%w: the gate did not recognise its server's %s", queue.ErrAsynq, c)
		}
	}
	return nil
}
