package chaos

import (
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/bench"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// controlRows show that the matrix finds errors: a program without one of Sluice's mechanisms sends messages twice, or
// loses some, under the same fault. A control that does not is broken.
var controlRows = []row{
	{
		id: "C1-naive", fault: "plain asynq whose handler POSTs, under C1", n: 2000, takes: 25 * time.Second, control: true, alone: true,
		setup: setup{faults: unhurried},
		play:  func(r *run) { r.naive() },
	},
	{
		id: "C5-forgotten", fault: "C5, and every worker dies with Redis: no process remembers what was sent", n: 3000, takes: 20 * time.Second, control: true,
		setup: setup{workers: 3, relaxed: true, late: true},
		play:  func(r *run) { r.rewind(true) },
	},
	{
		id: "C11-fsync", fault: "C11, and answered writes are on the master only (fsync, failover_may_lose_writes)", n: 3000, takes: 60 * time.Second, control: true, loses: true,
		setup: setup{sentinel: true, fsync: true},
		play: func(r *run) {
			r.step("the servers accept writes without a replica")
			for _, p := range r.sentinels.Servers {
				c := redis.NewClient(&redis.Options{Addr: p.Addr, DisableIdentity: true})
				r.must(c.ConfigSet(r.ctx, "min-replicas-to-write", "0").Err(), "configure Redis")
				c.Close()
			}
			r.cutMasterOff()
			r.must(r.producer.wait(), "order")
			r.until("every message that is left is final or parked", func() bool {
				b, err := r.book.Backlog(r.ctx)
				return err == nil && b.Waiting+b.InDoubt == 0
			})
		},
	},
	{
		id: "C18-clock", fault: "C18, and the clock replaces the watermark", n: 2000, takes: 40 * time.Second, control: true,
		setup: lateReconciler,
		play: func(r *run) {
			r.lateReconciler(func() {
				now := strconv.FormatInt(time.Now().UnixMilli(), 10)
				for _, s := range shards.All() {
					r.must(r.db.Set(r.ctx, events.WatermarkKey(s), now, 0).Err(), "set the watermark")
				}
			})
		},
	},
}

// naive runs under C1 what asynq's documentation shows: a handler that makes the POST. When its workers
// are killed, naive ends the leases of their tasks, so that asynq reclaims the tasks at once and not
// after two minutes.
func (r *run) naive() {
	const queue = "q"
	r.step("enqueue %d tasks", r.n)
	number := rig.Numbers(1, 1)[0].ID
	r.must(bench.EnqueueAsynq(r.ctx, r.redisAddr, queue, r.n, func(i int) ([]byte, error) {
		object, to := text(i)
		return bench.Body(withTo(object, to), to, fmt.Sprintf("sl1.rig.%s.1.0", message.NewID(number, strconv.Itoa(i))))
	}), "enqueue")
	start := func() *rig.Process {
		p, err := r.Served(r.ctx, "asynq", r.free(), bench.AsynqSettings{
			Redis: r.redisAddr, URL: "http://" + r.Sim.Addr + "/v25.0/" + number + "/messages",
			Servers: 1, Concurrency: 10, Queues: map[string]int{queue: 1},
		})
		r.must(err, "start plain asynq")
		return p
	}
	workers := []*rig.Process{start(), start(), start()}
	for _, at := range r.moments(10) {
		r.receives(at)
		i := r.chance.IntN(len(workers))
		r.step("kill -9 asynq %d", workers[i].PID())
		workers[i].Kill()
		workers[i] = start()
	}
	count := func(state string) int64 { return r.db.LLen(r.ctx, "asynq:{"+queue+"}:"+state).Val() }
	r.until("no task waits", func() bool { return count("pending") == 0 })
	for _, w := range workers {
		w.Kill()
	}
	r.step("end the leases of %d tasks of dead servers", count("active"))
	for _, id := range r.db.LRange(r.ctx, "asynq:{"+queue+"}:active", 0, -1).Val() {
		r.must(r.db.ZAddXX(r.ctx, "asynq:{"+queue+"}:lease", redis.Z{Score: 1, Member: id}).Err(), "end a lease")
	}
	start()
	r.until("every task is done", func() bool {
		left := r.db.Keys(r.ctx, "asynq:{"+queue+"}:t:*").Val()
		return len(slices.Compact(left)) == 0
	})
	s, err := r.Stats(r.ctx)
	r.must(err, "ask the simulator")
	r.counted(r.n, s.Duplicates)
}
