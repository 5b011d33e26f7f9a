package chaos

import (
	"io"
	"log/slog"
	"net/http"
	"os"
	"strings"
	"time"

	"sluice/internal/graphsim"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/rig"
)

// durableRows let Redis lose confirmed writes, or break its durability while programs run.
var durableRows = []row{
	{
		id: "C27", fault: "Redis restored from a copy that is older than the workers, and one worker dies with it", n: 400, takes: 15 * time.Second,
		setup: setup{late: true},
		play:  func(r *run) { r.restore() },
	},
	{
		id: "C28", fault: "Redis loses its last 0.8 s under appendfsync always, as on a disk that confirms what it has not written", n: 1500, takes: 45 * time.Second,
		setup: setup{workers: 3, late: true},
		play: func(r *run) {
			r.order(r.n, 2000)
			r.must(r.producer.wait(), "order")
			r.startWorkers(r.setup.workers)
			r.receives(r.n / 4)
			kept := r.aofSize()
			r.pause(800 * time.Millisecond)
			r.killRedis()
			r.must(os.Truncate(r.aof(), kept), "remove Redis's last writes")
			r.step("Redis has lost its last 0.8 s")
			r.startRedis()
			r.until("nothing waits for its first attempt", func() bool {
				b, err := r.book.Backlog(r.ctx)
				return err == nil && b.Waiting == 0
			})
			r.reportAll() // Redis lost the reports of these 0.8 s, which were answered 200
			r.settle()
		},
	},
	{
		id: "C29", fault: "Redis restarts with appendfsync everysec, then gets appendfsync always again", n: 400, takes: 10 * time.Second,
		setup: setup{faults: unhurried},
		play:  func(r *run) { r.breach() },
	},
}

// restore sets Redis back to before the first heartbeats of the workers, so that it is unknown how much Redis lost. One
// worker dies with it, so that it is unknown what this worker sent. Then it follows the steps for operators in
// docs/reliability.md.
func (r *run) restore() {
	r.order(r.n, 2000)
	r.must(r.producer.wait(), "order")
	kept := r.aofSize()
	r.startWorkers(r.setup.workers)
	r.receives(r.n / 4)
	r.killRedis()
	r.killWorker(r.workers[0])
	r.must(os.Truncate(r.aof(), kept), "restore Redis")
	r.step("restore Redis as it was before the workers started")
	r.startRedis()
	holds := holds.New(r.db, shards, slog.New(slog.DiscardHandler))
	var held []message.Hold
	r.until("every number is held without an end", func() bool {
		all, err := holds.List(r.ctx)
		held = all
		return err == nil && len(all) == r.setup.numbers
	})
	for _, h := range held {
		r.check(h.Until.IsZero(), "number %s is held until %s", h.Number, h.Until)
	}
	r.pause(time.Second) // running requests end
	sent := r.received()
	r.worker() // a worker that starts later does not send either
	r.pause(3 * time.Second)
	r.check(r.received() == sent, "%d messages were sent while all numbers were held", r.received()-sent)

	all := r.reportAll()
	r.until("the records show again what was sent", func() bool {
		for _, a := range all {
			id, _ := rig.MarkedID(a.Marker)
			if rec, err := r.book.Get(r.ctx, id); err != nil || rec.State == message.Queued {
				return false
			}
		}
		return true
	})
	r.step("release the numbers")
	for _, h := range held {
		_, err := holds.Release(r.ctx, message.Hold{Number: h.Number, By: "operator", Reason: "compared with Meta"})
		r.must(err, "release a number")
	}
	r.settle()
}

// reportAll repeats Meta's reports of all messages that it received, and returns these messages.
func (r *run) reportAll() []graphsim.Accepted {
	all := r.accepted()
	r.reports(all, time.Now(), "sent", "delivered")
	r.step("Meta repeats its reports of %d messages", len(all))
	return all
}

// breach restarts Redis with a setting that breaks the durability: then programs are not ready, and
// nothing is accepted.
func (r *run) breach() {
	r.order(r.n/2, r.pace()/4)
	r.must(r.producer.wait(), "order")
	r.killRedis()
	r.step("start Redis with appendfsync everysec")
	r.startRedis("--appendfsync", "everysec")
	r.until("the producer is not ready and gives the reason", func() bool {
		return r.unready(r.others["producer"], "appendfsync")
	})
	taken := len(r.producer.taken())
	r.order(r.n/2, r.pace()/4)
	r.pause(2 * time.Second)
	r.check(len(r.producer.taken()) == taken, "%d messages were accepted by a Redis that may lose them", len(r.producer.taken())-taken)
	r.step("appendfsync always")
	r.must(r.db.ConfigSet(r.ctx, "appendfsync", "always").Err(), "set appendfsync")
	r.until("the producer is ready again", func() bool {
		_, err := r.Get(r.ctx, "http://"+r.others["producer"].Ops+"/readyz")
		return err == nil
	})
	r.settle()
}

// unready reports whether a program is not ready for a reason that contains why.
func (r *run) unready(p *rig.Process, why string) bool {
	resp, err := r.HTTP.Get("http://" + p.Ops + "/readyz")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(resp.Body)
	return resp.StatusCode == http.StatusServiceUnavailable && strings.Contains(string(text), why)
}
