package store

import (
	"context"
	"net"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

type metrics struct {
	trips, unconfirmed, conflicts prometheus.Counter
	took                          prometheus.Histogram
}

func newMetrics() metrics {
	return metrics{
		trips: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_redis_round_trips_total",
			Help: "Round trips of this process to Redis. A pipeline or a transaction is one round trip.",
		}),
		took: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name:    "sluice_redis_round_trip_duration_seconds",
			Help:    "Time of the round trips of this process to Redis, with the wait for a connection, also of those that failed. Without reads of the event streams that wait for events.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 5},

			NativeHistogramBucketFactor: 1.1, NativeHistogramMaxBucketNumber: 100, NativeHistogramMinResetDuration: time.Hour,
		}),
		conflicts: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_redis_conflicts_total",
			Help: "Redis transactions that wrote nothing because another process changed a record first. They were repeated.",
		}),
		unconfirmed: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "sluice_redis_unconfirmed_writes_total",
			Help: "Groups of writes that no replica confirmed within 1 s, with redis.durability replica. Callers got 503 and repeat the request, and Meta repeats its webhooks.",
		}),
	}
}

// Measure registers the DB's metrics with reg: its round trips to Redis, and the results of Observe. Call it once.
func (db *DB) Measure(reg prometheus.Registerer) {
	reg.MustRegister(db.metrics.trips, db.metrics.unconfirmed, db.metrics.conflicts, db.metrics.took, &db.watch)
}

// watch adds the hook to a client that is not used yet. In a Cluster each node has its own client.
func (m metrics) watch(c redis.UniversalClient) {
	hook := hook{m}
	if cluster, ok := c.(*redis.ClusterClient); ok {
		cluster.OnNewNode(func(node *redis.Client) { node.AddHook(hook) })
		return
	}
	c.AddHook(hook)
}

// hook counts and times round trips, and gives each command of a pipeline that got no connection its error. Subscriptions have
// no requests and are not counted.
type hook struct{ metrics }

// note counts a round trip that has ended.
func (h hook) note(began time.Time, cmds ...redis.Cmder) {
	h.trips.Inc()
	if !slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Name() == "xread" }) {
		h.took.Observe(time.Since(began).Seconds())
	}
}

func (h hook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		defer h.note(time.Now(), cmd)
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook makes up for go-redis, which sets no error in the commands of a pipeline when Redis refuses
// the login of a new connection: their zero values would be taken for answers.
func (h hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		began := time.Now()
		err := next(ctx, cmds)
		h.note(began, cmds...)
		if err != nil && !slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return c.Err() != nil }) {
			for _, c := range cmds {
				c.SetErr(err)
			}
		}
		return err
	}
}
