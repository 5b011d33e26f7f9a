package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// probeTimeout is what a probe may take. It usually takes some milliseconds, and some round
// trips where Redis is far.
const probeTimeout = 15 * time.Second

// ErrAsynq means that asynq, or what it keeps in Redis, is not as the gate knows it.
var ErrAsynq = errors.New("this build knows asynq v0.26.0 only, and found another")

// Probe lets one task of a number that cannot exist go the whole way: enqueued by asynq's
// client, taken by the gate, put off and brought back, then done with, by an asynq server.
// After each step asynq's inspector must see what we mean. It leaves nothing in Redis. An
// error that is ErrAsynq says that the gate and asynq do not fit: nothing may be drained then.
// On a Redis that is full it proves nothing and returns nil, for the backlog must drain.
func (s *Server) Probe(ctx context.Context) error {
	return newProbe(s.gate.db, s.gate.o).run(ctx, func(c redis.UniversalClient) redis.UniversalClient { return c })
}

// probe is one task's way.
type probe struct {
	db     *store.DB
	o      Options
	number string
	class  message.Class
	queue  string
	id     string

	inspector *asynq.Inspector
}

func newProbe(db *store.DB, o Options) *probe {
	p := &probe{
		db: db, o: o, class: message.Authentication, id: taskID("probe", 1),
		number: "probe-" + strconv.FormatUint(rand.Uint64(), 36), // phone number ids have digits only
	}
	p.o.Worker = p.number
	p.o.Candidates = nil
	p.queue = name(o.Shards.Of(p.number), p.number, p.class)
	p.inspector = asynq.NewInspectorFromRedisClient(db)
	return p
}

// run goes the way. Asynq's server is given what wrap makes of the gate.
func (p *probe) run(ctx context.Context, wrap func(redis.UniversalClient) redis.UniversalClient) (err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, probeTimeout, fmt.Errorf("not within %s", probeTimeout))
	defer cancel()
	begun := time.Now()
	defer func() { err = errors.Join(err, p.clean(context.WithoutCancel(ctx), begun)) }()

	answers := make(chan error, 2)
	answers <- Later{In: time.Second}
	answers <- nil
	p.o.Handler = func(context.Context, string, int, any, *Slots) error { return <-answers }
	running, stop := context.WithCancel(ctx)
	g := newGate(running, p.db, p.o)
	n := g.newNumber(p.number, 80)
	g.place.active[p.number] = &active{number: n, stop: stop}
	defer g.finish()
	if err := p.enqueue(ctx, g, n); err != nil {
		stop()
		if redis.IsOOMError(err) {
			p.o.Log.Warn("cannot check asynq: Redis is full", "err", err)
			return nil
		}
		return err
	}
	var line sync.WaitGroup
	line.Go(func() { n.line.Run(running) })
	defer line.Wait()
	defer stop()

	w := &witness{gate: g, seen: map[call]bool{}}
	srv := asynqServer(wrap(w), p.o.Log)
	handle := (&Server{gate: g}).handle
	err = srv.Start(asynq.HandlerFunc(func(ctx context.Context, t *asynq.Task) error {
		queue, _ := asynq.GetQueueName(ctx)
		id, _ := asynq.GetTaskID(ctx)
		if queue != p.queue || id != p.id || string(t.Payload()) != "probe" {
			return nil // the inspector will miss it
		}
		return handle(ctx, t)
	}))
	if err != nil {
		return fmt.Errorf("start queue server: %w", err)
	}
	defer srv.Shutdown()
	defer stop() // or the server would wait for the gate's answer

	if err := p.through(ctx, g, n, asynq.QueueInfo{Retry: 1}); err != nil {
		return cmp.Or(w.check(err, dequeue, expired, beat, retry), err)
	}
	// Its time comes at once, whatever the clocks say.
	if err := p.db.ZAddXX(ctx, n.classes[p.class.Order()].retry, redis.Z{Score: 0, Member: p.id}).Err(); err != nil {
		return fmt.Errorf("probe asynq: %w", err)
	}
	g.tidyUp(ctx, n, true)
	if err := p.expect(ctx, g, n, "its retry has come", asynq.QueueInfo{Pending: 1}); err != nil {
		return err
	}
	err = p.through(ctx, g, n, asynq.QueueInfo{})
	if err == nil {
		err = p.gone(ctx)
	}
	return cmp.Or(w.check(err, dequeue, expired, beat, retry, done), err)
}

// gone waits until nothing of the task is left but that it was counted.
func (p *probe) gone(ctx context.Context) error {
	k := asynqKeys(p.queue)
	patient := context.WithoutCancel(ctx) // each answer tells of Redis, not of the time that is over
	for {
		left, err := p.db.Exists(patient, p.keys()...).Result()
		if err != nil {
			return fmt.Errorf("probe asynq: %w", err)
		}
		counted := p.db.Get(patient, k.processed).Val() == "1"
		if left == 0 && counted {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: after its end %d of the task's keys are left, counted as done: %t: %w", ErrAsynq, left, counted, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// keys are those that hold the task on its way.
func (p *probe) keys() []string {
	k := asynqKeys(p.queue)
	return []string{k.pending, k.active, k.lease, k.scheduled, k.retry, k.task + p.id, handsKey(p.o.Shards.Of(p.number), p.number)}
}

// enqueue adds the task as a Client does. No worker serves a number that is not configured.
func (p *probe) enqueue(ctx context.Context, g *gate, n *number) error {
	err := p.db.Transactions(true).Do(ctx, 0, store.Change{Slot: n.hands, Decide: func(_ []string, w *store.Writes) error {
		return g.client.Enqueue(w, Task{ID: "probe", K: 1, Number: p.number, Class: p.class})
	}})
	if err != nil {
		return fmt.Errorf("probe asynq: %w", err)
	}
	return p.expect(ctx, g, n, "it was enqueued", asynq.QueueInfo{Pending: 1})
}

// through fetches the task and lets the server handle it.
func (p *probe) through(ctx context.Context, g *gate, n *number, want asynq.QueueInfo) error {
	tasks, _, err := g.fetch(ctx, n, 1)
	if err != nil {
		return fmt.Errorf("probe asynq: %w", err)
	}
	if len(tasks) != 1 || tasks[0].id != p.id {
		return fmt.Errorf("%w: the gate did not find its task", ErrAsynq)
	}
	if err := p.expect(ctx, g, n, "it was fetched", asynq.QueueInfo{Active: 1}); err != nil {
		return err
	}
	g.handOut(ctx, n, tasks)
	return p.expect(ctx, g, n, "it was handled", want)
}

// expect waits until asynq's inspector counts the queue's tasks as wanted.
func (p *probe) expect(ctx context.Context, g *gate, n *number, when string, want asynq.QueueInfo) error {
	patient := context.WithoutCancel(ctx) // each answer tells of Redis, not of the time that is over
	for {
		if err := g.finishNumber(patient, n); err != nil {
			return fmt.Errorf("probe asynq: %w", err)
		}
		i, err := p.inspector.GetQueueInfo(p.queue)
		if err != nil {
			return fmt.Errorf("probe asynq: %w", err)
		}
		got := asynq.QueueInfo{Pending: i.Pending, Active: i.Active, Scheduled: i.Scheduled, Retry: i.Retry, Archived: i.Archived, Completed: i.Completed}
		if got == want {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: after %s its inspector counts %d pending, %d active, %d scheduled, %d to be retried: %w",
				ErrAsynq, when, got.Pending, got.Active, got.Scheduled, got.Retry, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// clean removes what the way left, which is counters if it went well.
func (p *probe) clean(ctx context.Context, begun time.Time) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	done := asynqKeys(p.queue).processed
	if err := p.db.SRem(ctx, workKey(p.o.Shards.Of(p.number)), p.number).Err(); err != nil {
		return fmt.Errorf("probe asynq: %w", err)
	}
	keys := append(p.keys(), lineKey(p.o.Shards.Of(p.number), p.number), done, onDay(done, begun), onDay(done, time.Now()))
	if err := errors.Join(p.db.SRem(ctx, asynqQueues, p.queue).Err(), p.db.Del(ctx, keys...).Err()); err != nil {
		return fmt.Errorf("probe asynq: %w", err)
	}
	return nil
}

// witness notes which calls the gate recognised.
type witness struct {
	*gate
	mu   sync.Mutex
	seen map[call]bool
}

func (w *witness) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	w.mu.Lock()
	w.seen[kind(keys)] = true
	w.mu.Unlock()
	return w.gate.EvalSha(ctx, sha, keys, args...)
}

// check fails unless the gate recognised each of those calls of its server, or if it was the time
// that was over for another reason.
func (w *witness) check(err error, calls ...call) error {
	if err != nil && !errors.Is(err, ErrAsynq) {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range calls {
		if !w.seen[c] {
			return fmt.Errorf("%w: the gate did not recognise its server's %s", ErrAsynq, callNames[c])
		}
	}
	return nil
}

// callNames are the calls that an asynq server makes at once, and with one task.
var callNames = map[call]string{
	dequeue: "dequeue", expired: "look for expired leases", beat: "heartbeat", done: "acknowledgement", retry: "retry",
}
