package chaos

import (
	"fmt"
	"maps"

	"sluice/internal/events"
	"sluice/internal/graphsim"
	"sluice/internal/ledger"
	"sluice/internal/ports"
	"sluice/internal/rig"
	"sluice/internal/store"
)

// build starts the world of the row.
func (r *run) build() {
	r.redisAddr, r.hook, r.apiAddr = r.free(), r.free(), r.free()
	r.redisURL = "redis://" + r.redisAddr
	var err error
	switch {
	case r.setup.sentinel:
		r.sentinels, err = r.StartSentinels(r.ctx, func(addr string) (string, error) {
			p, err := newProxy(addr)
			if err != nil {
				return "", err
			}
			r.links[addr] = p
			return p.addr, nil
		})
		r.must(err, "start Sentinel")
		r.redisURL = r.sentinels.URL
	case r.setup.cluster:
		r.nodes, err = r.StartCluster(r.ctx)
		r.must(err, "start a Cluster")
		r.redisURL = r.nodes.URL
	default:
		r.startRedis()
	}
	db, err := store.Open(r.ctx, r.redisURL)
	r.must(err, "open Redis")
	r.db, r.book, r.stream = db, ledger.New(db, ledger.Options{}), events.New(db, shards, events.Options{})
	sim := graphsim.Options{Seed: r.seed, Faults: r.setup.faults, Webhook: r.setup.webhook}
	r.must(r.Simulate(r.ctx, sim, r.hook), "start the simulator")
	r.configure(nil)
	if r.row.alone {
		return
	}
	if r.setup.linked {
		r.link, err = newProxy(r.redisAddr)
		r.must(err, "start the link")
	}
	if r.row.mixed {
		r.Use(r.previous)
	}
	r.startWebhook()
	r.startProducer()
	numbers := rig.Numbers(r.setup.numbers, r.setup.rate)
	r.producer = &producer{api: r.API(r.apiAddr), class: r.setup.class(), run: fmt.Sprintf("%s-%d", r.row.id, r.seed), recipe: text}
	for _, n := range numbers {
		r.producer.numbers = append(r.producer.numbers, n.ID)
	}
	if !r.setup.late {
		r.startWorkers(r.setup.workers)
	}
	r.step("the world is built: seed %d, %d messages", r.seed, r.n)
}

// configure writes the configuration of the programs: the two classes of the matrix, and more.
func (r *run) configure(more map[string]any) {
	class := func(policy string) map[string]any {
		return map[string]any{"in_doubt_window": r.setup.window.String(), "server_error_window": "2s", "webhook_retry_window": r.setup.repeat.String(), "in_doubt_policy": policy}
	}
	durability := "fsync"
	switch {
	case r.setup.relaxed:
		durability = "relaxed"
	case (r.setup.sentinel || r.setup.cluster) && !r.setup.fsync:
		durability = "replica"
	}
	settings := map[string]any{
		"log_level": "info",
		"redis":     map[string]any{"url": r.redisURL, "durability": durability, "failover_may_lose_writes": r.setup.fsync},
		"retry":     map[string]any{"base": "200ms", "max": "2s"},
		"classes":   map[string]any{"service": class("park"), "authentication": class("resend")},
	}
	maps.Copy(settings, r.setup.settings)
	maps.Copy(settings, more)
	rate := r.setup.rate
	if r.setup.learn {
		rate = 0
	}
	r.must(r.Configure(rig.Numbers(r.setup.numbers, rate)[r.removed:], settings), "configure")
}

func (r *run) free() string {
	addr, err := ports.Free()
	r.must(err, "find a port")
	return addr
}
