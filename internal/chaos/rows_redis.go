package chaos

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/message"
)

// faulty is a Meta that handles 5 in 100 requests in one of the ways that leave a message in doubt.
var faulty = graphsim.Faults{
	Latency:  graphsim.Span{Min: 20 * time.Millisecond, Max: 60 * time.Millisecond},
	Throttle: 0.02, ErrorBefore: 0.01, ErrorAfter: 0.01, Lost: 0.01, Hang: 0.003,
}

// redisRows break Redis, or the connections to it.
var redisRows = []row{
	{
		id: "C4", fault: "Redis killed three times, appendfsync always", n: 5000, takes: 30 * time.Second,
		setup: setup{workers: 3, rate: 200},
		play: func(r *run) {
			r.order(r.n, r.pace())
			for _, at := range r.moments(3) {
				r.receives(at)
				r.killRedis()
				r.startRedis()
			}
			r.settle()
		},
	},
	{
		id: "C5", fault: "Redis loses its last 0.8 s (appendfsync everysec); workers remember", n: 3000, takes: 75 * time.Second,
		setup: setup{workers: 3, relaxed: true, late: true},
		play:  func(r *run) { r.rewind(false) },
	},
	{
		id: "C6", fault: "Redis and a worker killed, 4 % of Meta's answers bad, policy park", n: 5000, takes: 110 * time.Second,
		setup: setup{workers: 3, rate: 200, faults: faulty},
		play:  func(r *run) { r.bothKilled(); r.settle() },
	},
	{
		id: "C7", fault: "the same, policy resend", n: 5000, takes: 115 * time.Second,
		setup: setup{workers: 3, rate: 200, faults: faulty, resend: true},
		play: func(r *run) {
			r.bothKilled()
			r.settle()
			e := r.findings()
			for id, rec := range e.records {
				tried := resends(rec) > 0 || rec.Reason == message.ReasonResends
				r.check(tried || len(e.taken[id]) > 0, "%s never reached Meta, and was not sent again", id)
			}
			for id, taken := range e.taken {
				r.check(len(taken) == 1, "%s was received %d times, though no status was late", id, len(taken))
			}
		},
	},
	{
		id: "C8", fault: "the workers' connections to Redis cut for 3 s, when they end tasks", n: 300, takes: 10 * time.Second,
		setup: setup{linked: true, faults: unhurried},
		play: func(r *run) {
			r.order(r.n, r.pace()/4)
			r.receives(r.moments(1)[0])
			r.step("cut the link to Redis")
			r.link.cut()
			r.pause(3 * time.Second)
			r.link.repair()
			r.step("repair the link")
			r.settle()
		},
	},
	{
		id: "C9", fault: "Redis 50 ms slow, then without an answer for 2 s", n: 500, takes: 20 * time.Second,
		setup: setup{linked: true, faults: unhurried},
		play: func(r *run) {
			r.link.slow(25 * time.Millisecond) // each way
			r.order(r.n, r.pace()/4)
			r.receives(r.moments(1)[0])
			r.step("nothing passes to or from Redis")
			r.link.stall()
			r.pause(2 * time.Second)
			r.link.resume()
			r.step("everything passes again")
			r.settle()
			r.link.slow(0)
			for id, rec := range r.records(r.producer.taken()) {
				r.check(!wasInDoubt(rec), "%s was in doubt, though no worker died and every answer came", id)
			}
		},
	},
	{
		id: "C8-far", fault: "Redis is 100 ms away from the workers, all the time", n: 400, takes: 25 * time.Second, extra: true,
		setup: setup{linked: true, late: true},
		play: func(r *run) {
			r.link.slow(50 * time.Millisecond) // each way
			r.startWorkers(r.setup.workers)
			r.order(r.n, 60)
			r.settle()
			for id, rec := range r.records(r.producer.taken()) {
				r.check(!wasInDoubt(rec), "%s was in doubt, though no worker died and every answer came", id)
			}
		},
	},
	{
		id: "C13", fault: "Redis full: as many messages as it accepts, then the backlog drains without help", n: 10000, takes: 30 * time.Second,
		setup: setup{workers: 2, late: true, rate: 500},
		play: func(r *run) {
			used := r.memory("used_memory")
			most := used + 24<<20
			r.must(r.db.ConfigSet(r.ctx, "maxmemory", strconv.FormatInt(most, 10)).Err(), "set maxmemory")
			r.step("Redis has %d bytes and may have %d", used, most)
			r.producer.once = true
			r.producer.recipe = func(i int) (map[string]any, string) {
				return map[string]any{"type": "text", "text": map[string]any{"body": strings.Repeat("x", 1000)}}, fmt.Sprintf("+49%09d00", i)
			}
			r.order(r.n, 1000)
			r.must(r.producer.wait(), "order")
			full := float64(r.memory("used_memory")) / float64(most)
			taken := len(r.producer.taken())
			r.note("accepted %d of %d, then Redis was %.0f %% full", taken, r.n, 100*full)
			r.check(taken > 0 && r.producer.refusals > 0, "%d of %d were accepted, %d refused", taken, r.n, r.producer.refusals)
			// The producer reads once a second how full Redis is; 75 % is the limit.
			r.check(full < 0.9, "the API accepted messages until Redis was %.0f %% full", 100*full)
			r.startWorkers(r.setup.workers)
			r.until("the backlog has drained without help", func() bool {
				b, err := r.book.Backlog(r.ctx)
				return err == nil && b.Waiting == 0
			})
			// The reports of so many messages need more memory than the sending freed.
			r.step("give Redis more memory")
			r.must(r.db.ConfigSet(r.ctx, "maxmemory", "1gb").Err(), "set maxmemory")
			r.settle()
		},
	},
	{
		id: "C14", fault: "a Redis whose settings break the durability", takes: 5 * time.Second, alone: true,
		play: func(r *run) {
			for setting, value := range map[string][2]string{
				"maxmemory-policy": {"allkeys-lru", "noeviction"}, "appendonly": {"no", "yes"}, "appendfsync": {"everysec", "always"},
			} {
				r.must(r.db.ConfigSet(r.ctx, setting, value[0]).Err(), "set "+setting)
				for _, name := range []string{"producer", "webhook", "worker"} {
					_, err := r.Program(r.ctx, name, "", nil)
					r.check(err != nil && strings.Contains(err.Error(), setting), "with %s %s a %s returns: %v", setting, value[0], name, err)
				}
				r.must(r.db.ConfigSet(r.ctx, setting, value[1]).Err(), "set "+setting)
			}
			p, err := r.Program(r.ctx, "worker", "", nil)
			r.must(err, "start a worker on a good Redis")
			p.Stop()
		},
	},
	{
		id: "C24", fault: "disk full under Redis, twice", n: 500, takes: 10 * time.Second,
		setup: setup{faults: unhurried},
		play: func(r *run) {
			r.Redis.Stop()
			r.FileLimit = r.aofSize() + 1<<20 // a message writes about 10 KB in its life
			r.startRedis()
			r.order(r.n, r.pace()/4)
			for range 2 {
				r.until("Redis has ended: its disk is full", func() bool { return r.Redis.Alive() != nil })
				r.step("Redis has ended: its disk is full")
				r.FileLimit += 1 << 18
				r.startRedis()
			}
			r.until("Redis has ended: its disk is full", func() bool { return r.Redis.Alive() != nil })
			r.step("free the disk")
			r.FileLimit = 0
			r.startRedis()
			r.settle()
		},
	},
}

// memory returns a figure of Redis's INFO memory.
func (r *run) memory(name string) int64 {
	info, err := r.db.InfoMap(r.ctx, "memory").Result()
	r.must(err, "ask Redis for its memory")
	n, err := strconv.ParseInt(info["Memory"][name], 10, 64)
	r.must(err, "ask Redis for its memory")
	return n
}

// bothKilled sends everything, and kills Redis three times, each time with a worker.
func (r *run) bothKilled() {
	r.order(r.n, r.pace())
	for _, at := range r.moments(3) {
		r.receives(at)
		w := r.anyWorker()
		r.killRedis()
		r.killWorker(w)
		r.startRedis()
		r.worker()
	}
}

// rewind accepts everything, and removes the last 0.8 s of Redis's writes while the workers send, as a loss of
// power does with appendfsync everysec. With forgotten the workers die with it.
func (r *run) rewind(forgotten bool) {
	r.order(r.n, 2000)
	r.must(r.producer.wait(), "order")
	r.startWorkers(r.setup.workers)
	r.receives(r.n / 4)
	kept := r.aofSize()
	r.step("Redis will keep what it has until now, %d bytes", kept)
	r.pause(800 * time.Millisecond)
	r.killRedis()
	if forgotten {
		for len(r.workers) > 0 {
			r.killWorker(r.workers[0])
		}
	}
	r.must(os.Truncate(r.aof(), kept), "remove Redis's last writes")
	r.startRedis()
	if forgotten {
		r.startWorkers(r.setup.workers)
	}
	r.settle()
}
