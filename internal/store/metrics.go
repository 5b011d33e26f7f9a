package store

import (
	"context"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/redis/go-redis/v9"
)

// Measure counts the DB's round trips to Redis in reg. Call it once, before the DB is used.
func (db *DB) Measure(reg prometheus.Registerer) {
	trips := prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_redis_round_trips_total",
		Help: "Times this process asked Redis and waited for the answer; a pipeline or a transaction is one.",
	})
	reg.MustRegister(trips)
	db.AddHook(tripHook{trips})
}

// tripHook counts what goes over the wire. Subscriptions are not asked for and not counted.
type tripHook struct{ trips prometheus.Counter }

func (h tripHook) DialHook(next redis.DialHook) redis.DialHook {
	return func(ctx context.Context, network, addr string) (net.Conn, error) { return next(ctx, network, addr) }
}

func (h tripHook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		h.trips.Inc()
		return next(ctx, cmd)
	}
}

func (h tripHook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		h.trips.Inc()
		return next(ctx, cmds)
	}
}
