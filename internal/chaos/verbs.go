package chaos

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/graphsim"
	"sluice/internal/rig"
)

// What a row does to its world. Each function writes to the history what it did.

// order sends n messages in the background, at a rate per second.
func (r *run) order(n int, rate float64) {
	r.step("send %d messages, %.0f per second", n, rate)
	r.producer.order(r.load, n, rate)
}

// pace returns what all numbers together may send, in messages per second, with some reserve.
func (r *run) pace() float64 { return 0.9 * float64(r.setup.numbers*r.setup.rate) }

// received returns how many messages the far side has.
func (r *run) received() int {
	s, err := r.Stats(r.ctx)
	r.must(err, "ask the simulator")
	return s.Accepted
}

// receives waits until the far side has n messages.
func (r *run) receives(n int) {
	r.until(fmt.Sprintf("the far side has %d messages", n), func() bool { return r.received() >= n })
}

// moments returns n counts of messages at which a fault comes: random, in order, and not in the first and the last
// tenth.
func (r *run) moments(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = r.n/10 + r.chance.IntN(max(1, r.n*8/10))
	}
	slices.Sort(all)
	return all
}

func (r *run) startRedis(args ...string) {
	fsync := "always"
	if r.setup.relaxed {
		fsync = "everysec"
	}
	args = append(append([]string{"--appendfsync", fsync}, r.setup.redis...), args...)
	r.must(r.StartRedis(r.ctx, r.redisAddr, args...), "start Redis")
}

func (r *run) killRedis() {
	r.step("kill -9 redis-server")
	r.Redis.Kill()
}

// worker starts a worker.
func (r *run) worker() *rig.Process {
	var args []string
	if r.link != nil {
		args = append(args, "--redis-url", "redis://"+r.link.addr)
	}
	if r.setup.split {
		args = append(args, "--roles", "send")
	}
	p, err := r.Program(r.ctx, "worker", "", nil, args...)
	r.must(err, "start a worker")
	r.mu.Lock()
	r.workers = append(r.workers, p)
	r.mu.Unlock()
	r.weigh(p)
	return p
}

func (r *run) startWorkers(n int) {
	for range n {
		r.worker()
	}
}

// weigh records how many goroutines a program has while it is idle.
func (r *run) weigh(p *rig.Process) {
	n, err := r.Metric(r.ctx, p, "go_goroutines")
	r.must(err, "count the goroutines of "+p.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.goroutine[p] = n
}

// anyWorker returns a random worker.
func (r *run) anyWorker() *rig.Process { return r.workers[r.chance.IntN(len(r.workers))] }

// gone removes a worker from the list of the running ones.
func (r *run) gone(p *rig.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers = slices.DeleteFunc(r.workers, func(w *rig.Process) bool { return w == p })
	delete(r.goroutine, p)
}

func (r *run) killWorker(p *rig.Process) {
	r.step("kill -9 worker %d", p.PID())
	p.Kill()
	r.gone(p)
}

// stopWorker stops a worker by SIGTERM and returns how long that took.
func (r *run) stopWorker(p *rig.Process) time.Duration {
	r.step("SIGTERM to worker %d", p.PID())
	began := time.Now()
	p.Stop()
	r.gone(p)
	r.step("worker %d has ended", p.PID())
	return time.Since(began)
}

// freeze stops a process for d, in the middle of whatever it does, and lets it go on.
func (r *run) freeze(p *rig.Process, d time.Duration) {
	r.step("SIGSTOP to %s %d", p.Name, p.PID())
	p.Signal(syscall.SIGSTOP)
	r.pause(d)
	r.step("SIGCONT to %s %d", p.Name, p.PID())
	p.Signal(syscall.SIGCONT)
}

func (r *run) startProducer() { r.other("producer", r.apiAddr) }
func (r *run) startWebhook()  { r.other("webhook", r.hook) }

// reconciler starts a worker that only applies statuses.
func (r *run) reconciler() *rig.Process {
	return r.other("worker", "", "--roles", "reconcile")
}

func (r *run) other(name, addr string, args ...string) *rig.Process {
	p, err := r.Program(r.ctx, name, addr, nil, args...)
	r.must(err, "start a "+name)
	r.others[name] = p
	r.weigh(p)
	return p
}

// killOther kills the producer, the webhook program or the reconciler ("worker").
func (r *run) killOther(name string) { r.endOther(name, "kill -9", (*rig.Process).Kill) }

// stopOther stops one of them by SIGTERM.
func (r *run) stopOther(name string) { r.endOther(name, "SIGTERM to", (*rig.Process).Stop) }

func (r *run) endOther(name, how string, end func(*rig.Process)) {
	p := r.others[name]
	r.step("%s %s %d", how, name, p.PID())
	end(p)
	delete(r.others, name)
	delete(r.goroutine, p)
}

// stopAll stops every program by SIGTERM, all at the same time.
func (r *run) stopAll() {
	r.step("SIGTERM to every program")
	var g errgroup.Group
	all := slices.Clone(r.workers)
	for _, p := range r.others {
		all = append(all, p)
	}
	for _, p := range all {
		g.Go(func() error { p.Stop(); return nil })
	}
	g.Wait()
	r.workers = nil
	clear(r.others)
	clear(r.goroutine)
}

// aof returns the append-only file of Redis, its only file that grows.
func (r *run) aof() string {
	files, err := filepath.Glob(filepath.Join(r.Dir, "appendonlydir", "*.incr.aof"))
	r.must(err, "find Redis's append-only file")
	if len(files) != 1 {
		r.fatal("Redis has %d append-only files", len(files))
	}
	return files[0]
}

func (r *run) aofSize() int64 {
	s, err := os.Stat(r.aof())
	r.must(err, "read the size of Redis's append-only file")
	return s.Size()
}

// misbehave replaces the random faults of the simulator.
func (r *run) misbehave(f graphsim.Faults) {
	r.step("the simulator's faults: %+v", f)
	r.simulate(http.MethodPut, "faults", f, http.StatusOK)
}

// simulate makes a control request to the simulator, which must answer with a status.
func (r *run) simulate(method, what string, asked any, status int) {
	body, err := json.Marshal(asked)
	r.must(err, "ask the simulator")
	req, err := http.NewRequestWithContext(r.ctx, method, "http://"+r.Sim.Addr+"/_sim/"+what, bytes.NewReader(body))
	r.must(err, "ask the simulator")
	resp, err := r.HTTP.Do(req)
	r.must(err, "ask the simulator")
	resp.Body.Close()
	if resp.StatusCode != status {
		r.fatal("the simulator answered %s to %s %s", resp.Status, method, what)
	}
}
