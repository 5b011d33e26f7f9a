// Package relay forwards events to URLs of users by POST: in the form of Meta's webhooks, or in our own schema. Events of
// a message arrive in order, at least once. Workers share the shards: one living worker relays a shard.
package relay

import (
	"cmp"
	"context"
	"crypto/x509"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/publicnet"
	"sluice/internal/store"
)

// DefaultTimeout is how long a target may take to answer a request.
const DefaultTimeout = 10 * time.Second

// Options are what a Relay works with. All without a default are required.
type Options struct {
	Worker   string // the name of this worker, which no other has
	Shards   message.Shards
	Targets  *Targets
	Tail     tail
	Mark     func(marker string) (id string, attempt int, accepted int64, ok bool) // parses our markers
	Records  Records
	Accounts *events.Accounts
	Display  func(number string) string // the phone number of an id, as Meta writes it; empty: unknown
	// Clients returns the numbers that a client may send from, and those of them that other clients may send from too.
	Clients      func(client string) (numbers, shared []string)
	PrivateHosts []string              // lower-case names of hosts that may have private addresses and need no TLS
	Roots        *x509.CertPool        // the authorities whose certificates are valid; nil: those of the system
	Timeout      time.Duration         // of a request; 0: DefaultTimeout. The leases follow from it
	Registerer   prometheus.Registerer // nil: the metrics are not registered
	Log          *slog.Logger          // nil: no log
}

// Relay relays the shards of this worker to all targets.
type Relay struct {
	o       Options
	guard   publicnet.Dialer
	states  *states
	leases  *leases
	ids     sentIDs
	metrics *metrics

	couriers map[string]*running // by the name of the target
	ending   map[string]*running // of targets that were removed
	owned    map[message.Shard]*lease
	leaving  map[message.Shard]bool
	left     chan departure // with room for two of a shard: it can be lost, taken and let go again before the first is read
	wg       sync.WaitGroup
}

// departure is a shard that no courier uses any more, with the lease under which they used it.
type departure struct {
	shard message.Shard
	lease *lease
}

// running is a courier that runs.
type running struct {
	*courier
	stop func()
}

// New returns the relay of a worker. It does nothing before Run.
func New(db *store.DB, o Options) *Relay {
	o.Timeout = cmp.Or(o.Timeout, DefaultTimeout)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Relay{
		o: o, guard: publicnet.Dialer{Allowed: o.PrivateHosts}, states: newStates(db, o.Worker), leases: newLeases(db, o.Worker, o.Timeout), ids: sentIDs{db}, metrics: newMetrics(o.Registerer),
		couriers: map[string]*running{}, ending: map[string]*running{}, owned: map[message.Shard]*lease{}, leaving: map[message.Shard]bool{}, left: make(chan departure, 2*o.Shards),
	}
}

// Run relays until ctx ends. Then it waits for the running requests, for up to Timeout, and gives its shards back.
func (r *Relay) Run(ctx context.Context) error {
	tick := time.NewTicker(r.leases.beat)
	defer tick.Stop()
	for ctx.Err() == nil {
		r.round(ctx)
		select {
		case <-ctx.Done():
		case d := <-r.left:
			r.departed(d)
		case <-tick.C:
		}
	}
	r.stop()
	return nil
}

// stop ends all couriers, and gives the shards back. The leases outlast the running requests.
func (r *Relay) stop() {
	for _, c := range r.couriers {
		c.stop()
	}
	r.wg.Wait()
	for shard := range r.owned {
		r.giveBack(shard)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	r.leases.quit(ctx) // or its heartbeat ends by itself
}

// round reads the targets, and takes and renews the shards of this worker.
func (r *Relay) round(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(r.leases.beat, time.Second))
	defer cancel()
	targets, err := r.o.Targets.all(ctx)
	if err != nil {
		r.o.Log.Warn("cannot read relay targets, will retry", slog.Any("err", err))
		return
	}
	if needed := len(targets)+len(r.couriers)+len(r.ending) > 0; needed || len(r.owned) > 0 {
		r.share(ctx, needed)
	}
	r.updateCouriers(ctx, targets)
}

// share takes and renews the shards that this worker should relay, and lets others go.
func (r *Relay) share(ctx context.Context, needed bool) {
	members, err := r.leases.members(ctx)
	if err != nil {
		r.o.Log.Warn("cannot read which workers relay, will retry", slog.Any("err", err))
		return
	}
	var ask []message.Shard
	want := map[message.Shard]bool{}
	for _, shard := range r.o.Shards.All() {
		want[shard] = needed && message.Rank(r.o.Worker, members, shard.String()) == 0
		if want[shard] || r.owned[shard] != nil {
			ask = append(ask, shard)
		}
	}
	began := time.Now()
	has, err := r.leases.take(ctx, ask, want)
	if err != nil {
		r.o.Log.Warn("cannot renew the shards of the relay, will retry", slog.Any("err", err))
		return
	}
	for _, shard := range ask {
		l := r.owned[shard]
		if l != nil && (!has[shard] || !l.lasts(began, 0)) { // another worker has or had it
			r.lose(shard)
			l = nil
		}
		switch {
		case !has[shard]:
		case l == nil:
			r.owned[shard] = newLease(began.Add(r.leases.length))
			r.tidy(ctx, shard)
			for _, c := range r.couriers {
				r.addTo(c, shard)
			}
		default:
			l.extend(began.Add(r.leases.length))
			if !want[shard] && !r.leaving[shard] {
				r.letGo(shard)
			}
		}
	}
}

// lose ends all that relays a shard at once.
func (r *Relay) lose(shard message.Shard) {
	delete(r.owned, shard)
	delete(r.leaving, shard)
	for _, c := range r.couriers {
		c.do(func() { c.drop(shard) })
	}
}

// letGo gives a shard to another worker when the running requests have ended.
func (r *Relay) letGo(shard message.Shard) {
	r.leaving[shard] = true
	d := departure{shard, r.owned[shard]}
	var all []func()
	for _, c := range r.couriers {
		left := c.leaveShard(shard)
		all = append(all, func() {
			select {
			case <-left:
			case <-c.ended:
			}
		})
	}
	r.wg.Go(func() {
		for _, wait := range all {
			wait()
		}
		r.left <- d
	})
}

// departed gives a shard back that no courier uses any more, unless it was lost and taken again in between.
func (r *Relay) departed(d departure) {
	if r.owned[d.shard] == d.lease {
		r.giveBack(d.shard)
	}
}

// giveBack ends the lease of a shard.
func (r *Relay) giveBack(shard message.Shard) {
	delete(r.owned, shard)
	delete(r.leaving, shard)
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	if err := r.leases.leave(ctx, shard); err != nil {
		r.o.Log.Warn("cannot give a shard of the relay back, its lease ends by itself", slog.String("shard", shard.String()), slog.Any("err", err))
	}
}

// addTo lets a courier relay a shard.
func (r *Relay) addTo(c *running, shard message.Shard) {
	if l := r.owned[shard]; l != nil && !r.leaving[shard] {
		c.do(func() { c.add(shard, l) })
	}
}

// updateCouriers starts and ends couriers, and gives them changed definitions.
func (r *Relay) updateCouriers(ctx context.Context, targets map[string]message.RelayTarget) {
	for name, c := range r.couriers {
		if _, there := targets[name]; !there {
			c.stop()
			delete(r.couriers, name)
			r.ending[name] = c
		}
	}
	for name, c := range r.ending {
		select {
		case <-c.ended:
			delete(r.ending, name)
			r.metrics.forget(name)
			for shard := range r.owned {
				r.forget(ctx, shard, name)
			}
		default: // its last requests are running
			delete(targets, name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		t := targets[name]
		c := r.couriers[name]
		if c == nil {
			c = r.start(t)
			r.couriers[name] = c
			for shard := range r.owned {
				r.addTo(c, shard)
			}
			continue
		}
		c.do(func() { c.update(t) })
	}
}

// start starts a courier.
func (r *Relay) start(t message.RelayTarget) *running {
	p := newPoster(r.guard, r.o.Timeout, t.Concurrency, r.o.Roots)
	c := newCourier(t, courierOptions{
		tail: r.o.Tail, states: r.states, post: p.post, shards: r.o.Shards, margin: r.o.Timeout, metrics: r.metrics.of(t.Name), log: r.o.Log,
		secret: r.o.Targets.Secret,
		prepare: func(t message.RelayTarget) preparer {
			p := preparer{target: t, mark: r.o.Mark, records: r.o.Records, accounts: r.o.Accounts, display: r.o.Display, clients: r.o.Clients}
			if t.Format == message.RelayMeta && t.MessageIDs == message.RelaySluice {
				p.ids = r.ids
			}
			return p
		},
	})
	ctx, stop := context.WithCancel(context.Background())
	r.wg.Go(func() {
		c.run(ctx)
		p.close()
	})
	return &running{c, stop}
}

// tidy removes what is stored in a shard of targets that are gone.
func (r *Relay) tidy(ctx context.Context, shard message.Shard) {
	names, err := r.states.Targets(ctx, shard)
	if err != nil {
		return
	}
	targets, err := r.o.Targets.all(ctx)
	if err != nil {
		return
	}
	for _, name := range names {
		if _, there := targets[name]; !there {
			r.forget(ctx, shard, name)
		}
	}
}

func (r *Relay) forget(ctx context.Context, shard message.Shard, target string) {
	if _, err := r.states.Forget(ctx, shard, target); err != nil {
		r.o.Log.Warn("cannot remove the progress of a removed relay target", slog.String("target", target), slog.Any("err", err))
	}
}
