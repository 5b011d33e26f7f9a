// Package queue is the only room that knows asynq. Its client enqueues, its server runs the
// handlers; between Redis and that server stands the gate, which hands the server only tasks
// that have a send slot: by number, the most urgent class first.
package queue

import (
	"context"
	_ "embed"
	"errors"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
	"sluice/internal/store"
)

//go:embed take.lua
var takeLua string

//go:embed book.lua
var bookLua string

//go:embed tidy.lua
var tidyLua string

//go:embed renew.lua
var renewLua string

const (
	// lease is how long a task stays with a worker that says nothing; renewEvery, how often a
	// living one says so. Asynq's own 30 s and minutely look would leave a dead worker's
	// tasks for two minutes.
	lease      = 6 * time.Second
	renewEvery = 2 * time.Second
	// tidyEvery is how often delayed tasks and expired leases are looked for, and at a number
	// without work if no wake-up came; tidyMost, how many of a kind are moved at once.
	tidyEvery = 500 * time.Millisecond
	tidyMost  = 500
	// burst is the least time between two looks that were called for: a campaign that is
	// being enqueued calls thousands of times a second.
	burst = 5 * time.Millisecond
	// away is the pause after Redis failed to answer.
	away = 250 * time.Millisecond
)

// gate is the Redis client that asynq's server is given. Of the calls that the server makes
// it answers those about its one virtual queue itself, repeats acknowledgements that failed,
// and passes the rest on.
type gate struct {
	redis.UniversalClient
	db    *store.DB
	owner string // of slots: this worker
	log   *slog.Logger
	clock pacing.Clock

	take, book, tidy, renew store.Script

	numbers map[string]*number // by phone number id
	queues  map[string]*number // by queue name
	ready   chan string        // asynq messages that have a slot coming
	stopped context.Context    // ends when nothing more is handed out
}

// number is the gate's view of one phone number.
type number struct {
	id      string
	shard   message.Shard
	spacing time.Duration
	most    int // tasks in hand at most
	line    *pacing.Line
	wake    chan struct{}

	takeKeys []string
	takeArgs []any // those after the fixed ones
	classes  []keysOf
	names    []string // queue names by class

	mu    sync.Mutex
	taken map[string]int // task id -> class, of the tasks in hand
}

func newGate(stopped context.Context, db *store.DB, shards message.Shards, owner string, numbers []Number, log *slog.Logger) *gate {
	g := &gate{
		UniversalClient: db, db: db, owner: owner, log: log, stopped: stopped,
		take: db.Script(pacing.SlotsLua + takeLua), book: db.Script(pacing.SlotsLua + bookLua), tidy: db.Script(tidyLua), renew: db.Script(renewLua),
		numbers: map[string]*number{}, queues: map[string]*number{}, ready: make(chan string),
	}
	for _, nr := range numbers {
		n := &number{
			id: nr.ID, shard: shards.Of(nr.ID), spacing: pacing.Spacing(nr.Rate), most: inHand(nr.Rate),
			wake: make(chan struct{}, 1), taken: map[string]int{},
		}
		n.line = pacing.NewLine(nr.Rate, func(ctx context.Context, k int) ([]time.Time, error) { return g.bookSlots(ctx, n, k) })
		n.takeKeys = []string{n.lineKey()}
		for _, c := range message.Classes() {
			q := name(n.shard, nr.ID, c)
			k := asynqKeys(q)
			n.classes = append(n.classes, k)
			n.names = append(n.names, q)
			n.takeKeys = append(n.takeKeys, k.pending, k.paused, k.active, k.lease)
			n.takeArgs = append(n.takeArgs, k.task)
			g.queues[q] = n
		}
		g.numbers[nr.ID] = n
	}
	return g
}

func (n *number) lineKey() string { return n.shard.Key("line:" + n.id) }

// inHand bounds the tasks of a number that a worker holds: two seconds' worth, so that an
// answer time of two seconds costs no pace and a Graph that hangs takes no more than that.
func inHand(rate int) int { return 2*rate + 20 }

// run feeds the server until the gate stops, and returns when all its tasks are handed out
// or back. Tasks in hand stay ours as long as renewLeases runs.
func (g *gate) run() {
	var wg sync.WaitGroup
	for _, n := range g.numbers {
		wg.Go(func() { n.line.Run(g.stopped) })
		wg.Go(func() { g.fetch(n) })
	}
	wg.Go(g.listen)
	wg.Wait()
}

// fetch takes one number's tasks and hands them out.
func (g *gate) fetch(n *number) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var tidied time.Time
	more := false
	for {
		looked := time.Now()
		wait := pacing.Horizon / 4
		if more || looked.Sub(tidied) > tidyEvery {
			tidied = looked
			more = g.tidyUp(n)
		}
		if room := n.room(); room > 0 {
			tasks, next, err := g.takeTasks(n, room)
			if err != nil {
				if g.stopped.Err() == nil {
					g.log.Warn("take tasks", "phone_number_id", n.id, "err", err)
				}
				next = away
			}
			g.handOut(n, tasks)
			wait = next + rand.N(time.Millisecond)
		}
		timer.Reset(min(wait, tidyEvery))
		select {
		case <-g.stopped.Done():
			return
		case <-n.wake:
			time.Sleep(burst - time.Since(looked))
		case <-timer.C:
		}
	}
}

// task is one that was taken.
type task struct {
	class   int
	id      string
	message string // asynq's encoding
}

// takeTasks takes up to room tasks and offers the slots booked with them. It returns when a
// further look is worth it.
func (g *gate) takeTasks(n *number, room int) ([]task, time.Duration, error) {
	args := append([]any{
		g.owner, n.spacing.Microseconds(), pacing.Horizon.Microseconds(), pacing.Lead.Microseconds(),
		pacing.Cap.Microseconds(), room, int(lease.Seconds()),
	}, n.takeArgs...)
	sent := time.Now()
	r, err := g.db.Run(g.stopped, g.take, n.takeKeys, args...).Slice()
	if err != nil {
		return nil, 0, err
	}
	trip := time.Since(sent)
	now, first, wait := micros(r[0]), micros(r[1]), micros(r[2])
	next := tidyEvery
	if wait >= 0 {
		next = time.Duration(wait)*time.Microsecond - trip
	}
	var tasks []task
	for i := 3; i+2 < len(r); i += 3 {
		class, _ := r[i].(int64)
		id, _ := r[i+1].(string)
		msg, _ := r[i+2].(string)
		tasks = append(tasks, task{int(class), id, msg})
	}
	if len(tasks) > 0 {
		n.line.Offer(g.slots(n, sent, trip, now, first, len(tasks)))
	}
	return tasks, next, nil
}

func (g *gate) slots(n *number, sent time.Time, trip time.Duration, now, first int64, count int) []time.Time {
	slots := make([]time.Time, count)
	at := g.clock.Local(sent, trip, now, first)
	for i := range slots {
		slots[i] = at.Add(time.Duration(i) * n.spacing)
	}
	return slots
}

// bookSlots books slots for tasks in hand that missed theirs.
func (g *gate) bookSlots(ctx context.Context, n *number, count int) ([]time.Time, error) {
	sent := time.Now()
	r, err := g.db.Run(ctx, g.book, []string{n.lineKey()}, g.owner, n.spacing.Microseconds(),
		pacing.Horizon.Microseconds(), pacing.Lead.Microseconds(), pacing.Cap.Microseconds(), count).Slice()
	if err != nil {
		return nil, err
	}
	booked, _ := r[2].(int64)
	return g.slots(n, sent, time.Since(sent), micros(r[0]), micros(r[1]), int(booked)), nil
}

// handOut gives tasks to asynq's server. At a stop those left go back to the head of their
// queues.
func (g *gate) handOut(n *number, tasks []task) {
	n.hold(tasks)
	for i, t := range tasks {
		select {
		case g.ready <- t.message:
		case <-g.stopped.Done():
			g.handBack(n, tasks[i:])
			return
		}
	}
}

// handBack ends the leases of tasks that no handler has seen, in their order, and tidies up.
func (g *gate) handBack(n *number, tasks []task) {
	for _, t := range tasks {
		n.release(t.id)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(g.stopped), 3*time.Second)
	defer cancel()
	err := g.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, t := range tasks {
			p.ZAddXX(ctx, n.classes[t.class].lease, redis.Z{Score: float64(i), Member: t.id})
		}
		for _, k := range n.classes {
			g.addTidy(ctx, p, k)
		}
	})
	if err != nil {
		g.log.Warn("hand back tasks", "phone_number_id", n.id, "err", err) // their leases run out soon
	}
}

// tidyUp brings a number's due tasks to the head of their queues. It is true when there may
// be more of them.
func (g *gate) tidyUp(n *number) (more bool) {
	cut := make([]*redis.Cmd, len(n.classes))
	err := g.db.Pipe(g.stopped, func(p redis.Pipeliner) {
		for i, k := range n.classes {
			cut[i] = g.addTidy(g.stopped, p, k)
		}
	})
	if err != nil {
		if g.stopped.Err() == nil {
			g.log.Warn("tidy queues", "phone_number_id", n.id, "err", err)
		}
		return false
	}
	return slices.ContainsFunc(cut, func(c *redis.Cmd) bool { more, _ := c.Bool(); return more })
}

func (g *gate) addTidy(ctx context.Context, p redis.Pipeliner, k keysOf) *redis.Cmd {
	return g.tidy.Add(ctx, p, []string{k.pending, k.active, k.lease, k.scheduled, k.retry}, k.task, tidyMost)
}

// renewLeases keeps the tasks in hand ours until ctx ends.
func (g *gate) renewLeases(ctx context.Context) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := g.renewAll(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("renew leases", "err", err)
		}
	}
}

func (g *gate) renewAll(ctx context.Context) error {
	return g.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, n := range g.numbers {
			for class, ids := range n.inHand() {
				g.renew.Add(ctx, p, []string{n.classes[class].lease}, append([]any{int(lease.Seconds())}, ids...)...)
			}
		}
	})
}

// listen wakes a number's fetching when something was enqueued for it. A lost call costs no
// more than tidyEvery.
func (g *gate) listen() {
	sub := g.db.PSubscribe(g.stopped, "sluice:{s*}:wake")
	defer sub.Close()
	calls := sub.Channel()
	for {
		select {
		case <-g.stopped.Done():
			return
		case m, ok := <-calls:
			if !ok {
				return
			}
			if n := g.numbers[m.Payload]; n != nil {
				select {
				case n.wake <- struct{}{}:
				default:
				}
			}
		}
	}
}

// EvalSha answers, repeats or passes on a script of asynq's server.
func (g *gate) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	switch kind(keys) {
	case dequeue:
		t := time.NewTimer(time.Second)
		defer t.Stop()
		select {
		case m := <-g.ready:
			cmd.SetVal(m)
		case <-t.C:
			cmd.SetErr(redis.Nil)
		case <-g.stopped.Done():
			cmd.SetErr(redis.Nil)
		}
		return cmd
	case expired:
		cmd.SetVal([]any{})
		return cmd
	case idle:
		cmd.SetVal(int64(0))
		return cmd
	case beat:
		args = beatRows(args)
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.EvalSha(ctx, sha, keys, args...) })
}

// Eval is how asynq's server goes on when Redis did not know a script.
func (g *gate) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	if kind(keys) == beat {
		args = beatRows(args)
	}
	return untilDone(ctx, func() *redis.Cmd { return g.UniversalClient.Eval(ctx, text, keys, args...) })
}

// untilDone repeats what has a deadline, an acknowledgement that is, until an answer comes.
// Asynq's own repetition never works: it uses a context that is over.
func untilDone(ctx context.Context, eval func() *redis.Cmd) *redis.Cmd {
	_, bounded := ctx.Deadline()
	for pause := 50 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		cmd := eval()
		if err := cmd.Err(); err == nil || !bounded || answered(err) {
			return cmd
		}
		select {
		case <-ctx.Done():
			return cmd
		case <-time.After(pause):
		}
	}
}

// answered tells a refusal by Redis, final, from a failure to ask it or its not being ready.
func answered(err error) bool {
	if _, ok := errors.AsType[redis.Error](err); !ok {
		return false
	}
	return !redis.IsLoadingError(err) && !redis.IsReadOnlyError(err) && !redis.IsClusterDownError(err) && !redis.IsMasterDownError(err)
}

// ZAddXX: asynq's server extends the leases of its tasks every 5 s. The gate does so itself,
// sooner and for longer than that would, so the server's call needs no answer of Redis.
func (g *gate) ZAddXX(ctx context.Context, key string, members ...redis.Z) *redis.IntCmd {
	if isLease(key) {
		return redis.NewIntResult(0, nil)
	}
	return g.UniversalClient.ZAddXX(ctx, key, members...)
}

// room is how many more tasks may be taken.
func (n *number) room() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.most - len(n.taken)
}

func (n *number) hold(tasks []task) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, t := range tasks {
		n.taken[t.id] = t.class
	}
}

func (n *number) release(id string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.taken, id)
}

// inHand returns the tasks in hand by class.
func (n *number) inHand() map[int][]any {
	n.mu.Lock()
	defer n.mu.Unlock()
	by := map[int][]any{}
	for id, class := range n.taken {
		by[class] = append(by[class], id)
	}
	return by
}

func micros(v any) int64 {
	s, _ := v.(string)
	n, _ := strconv.ParseInt(s, 10, 64)
	return n
}
