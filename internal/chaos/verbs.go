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

// What a row does to its world. Each verb tells the story of what it did.

// order orders n messages in the background, at a rate a second.
func (r *run) order(n int, rate float64) {
	r.tell("order %d messages, %.0f a second", n, rate)
	r.producer.order(r.load, n, rate)
}

// pace is what all numbers together may send, in messages a second, with some reserve.
func (r *run) pace() float64 { return 0.9 * float64(r.setup.numbers*r.setup.rate) }

// received is how many messages the far side has.
func (r *run) received() int {
	s, err := r.Stats(r.ctx)
	r.must(err, "ask the simulator")
	return s.Accepted
}

// receives waits until the far side has n messages.
func (r *run) receives(n int) {
	r.until(fmt.Sprintf("the far side has %d messages", n), func() bool { return r.received() >= n })
}

// moments are n numbers of messages at which a fault strikes, by chance and in order, none
// among the first and the last tenth.
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
	r.tell("kill -9 redis-server")
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

// weigh notes a program's goroutines while it has nothing to do.
func (r *run) weigh(p *rig.Process) {
	n, err := r.Metric(r.ctx, p, "go_goroutines")
	r.must(err, "weigh "+p.Name)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.goroutine[p] = n
}

// anyWorker picks one by chance.
func (r *run) anyWorker() *rig.Process { return r.workers[r.chance.IntN(len(r.workers))] }

// gone takes a worker off the list of those that live.
func (r *run) gone(p *rig.Process) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.workers = slices.DeleteFunc(r.workers, func(w *rig.Process) bool { return w == p })
	delete(r.goroutine, p)
}

func (r *run) killWorker(p *rig.Process) {
	r.tell("kill -9 worker %d", p.PID())
	p.Kill()
	r.gone(p)
}

// stopWorker stops a worker in good order and returns how long that took.
func (r *run) stopWorker(p *rig.Process) time.Duration {
	r.tell("SIGTERM to worker %d", p.PID())
	began := time.Now()
	p.Stop()
	r.gone(p)
	r.tell("worker %d has ended", p.PID())
	return time.Since(began)
}

// freeze lets a worker stand still for d, in the middle of whatever it does.
func (r *run) freeze(p *rig.Process, d time.Duration) {
	r.tell("SIGSTOP to worker %d", p.PID())
	p.Signal(syscall.SIGSTOP)
	r.pause(d)
	r.tell("SIGCONT to worker %d", p.PID())
	p.Signal(syscall.SIGCONT)
}

func (r *run) startProducer() { r.other("producer", r.door) }
func (r *run) startWebhook()  { r.other("webhook", r.hook) }

// reconciler starts a worker that only folds.
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
func (r *run) killOther(name string) {
	p := r.others[name]
	r.tell("kill -9 %s %d", name, p.PID())
	p.Kill()
	delete(r.others, name)
	delete(r.goroutine, p)
}

// stopAll stops every program in good order, all at once.
func (r *run) stopAll() {
	r.tell("SIGTERM to every program")
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

// aof is Redis's log, its only file that grows.
func (r *run) aof() string {
	files, err := filepath.Glob(filepath.Join(r.Dir, "appendonlydir", "*.incr.aof"))
	r.must(err, "find Redis's log")
	if len(files) != 1 {
		r.fatal("Redis has %d logs", len(files))
	}
	return files[0]
}

func (r *run) aofSize() int64 {
	s, err := os.Stat(r.aof())
	r.must(err, "look at Redis's log")
	return s.Size()
}

// misbehave replaces what goes wrong at the simulator by chance.
func (r *run) misbehave(f graphsim.Faults) {
	r.tell("the simulator's faults: %+v", f)
	r.simulate(http.MethodPut, "faults", f, http.StatusOK)
}

// simulate asks something of the simulator, which must answer with a status.
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
