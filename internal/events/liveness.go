package events

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	livenessEvery = time.Second
	// livenessTimeout is the time without a heartbeat of a webhook program that counts as a gap.
	livenessTimeout = 3 * time.Second
	// withdrawn is the time without a heartbeat after which a load balancer sends a webhook program no deliveries
	// any more. Until then a program that is suspended may take deliveries that it does not answer.
	withdrawn = time.Minute
)

//go:embed lua/heartbeat.lua
var heartbeatLua string

// gapField is the field of the latest gap, in the hash of the webhook programs. Their names have a dash.
const gapField = "gap"

// webhooksKey returns the Redis key of the hash of the running webhook programs.
func webhooksKey() string { return store.Key(message.Shard(0), "webhooks") }

// Liveness writes the heartbeat of a webhook program to Redis, with the time up to which the program has refused
// nothing. A missing status proves nothing about a time that no such report covers. It is safe for concurrent
// use.
type Liveness struct {
	db        *store.DB
	heartbeat store.Script
	name      string
	log       *slog.Logger
	gap       atomic.Int64 // end of the latest gap, Unix milliseconds

	mu      sync.Mutex
	open    map[*time.Time]struct{} // when each unanswered delivery began
	refused time.Time               // when a delivery was last refused
	server  time.Time               // Redis's time in its last answer
	at      time.Time               // when that answer came
}

// NewLiveness returns the Liveness of a webhook program. Each process needs a different name. In a name
// "<place>/<process>" the place is the host and the listener: a process with the place of another one replaces it.
func (s *Stream) NewLiveness(name string) *Liveness {
	l := &Liveness{db: s.db, heartbeat: s.heartbeat, name: name, log: s.log, open: map[*time.Time]struct{}{}}
	promauto.With(s.o.Registerer).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_webhook_gap_timestamp_seconds",
		Help: "Unix time at which the latest gap ended. In a gap a webhook was refused, or no webhook program ran. In-doubt messages of that time wait until Meta has retried its webhooks.",
	}, func() float64 { return float64(l.gap.Load()) / 1000 })
	return l
}

// Track records that a delivery of Meta arrived. The caller must call done when it is answered. refused means
// that nothing of the delivery was stored.
func (l *Liveness) Track() (done func(refused bool)) {
	began := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open[&began] = struct{}{}
	return func(refused bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.open, &began)
		if refused {
			l.refused = time.Now()
		}
	}
}

// Run writes a heartbeat each second until ctx ends. It retries while Redis is unavailable.
func (l *Liveness) Run(ctx context.Context) error {
	tick := time.NewTicker(livenessEvery)
	defer tick.Stop()
	for {
		if err := l.report(ctx, false); err != nil && ctx.Err() == nil {
			l.log.Warn("cannot write the heartbeat of the webhook program, will retry", slog.Any("err", err))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Leave removes the heartbeat when the program has answered its last delivery. If it fails, the heartbeat
// expires.
func (l *Liveness) Leave(ctx context.Context) error { return l.report(ctx, true) }

func (l *Liveness) report(ctx context.Context, last bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, livenessTimeout, errors.New("redis took too long"))
	defer cancel()
	proven, since := l.state(time.Now())
	reply, err := l.db.Run(ctx, l.heartbeat, []string{webhooksKey()},
		l.name, livenessTimeout.Milliseconds(), proven, since, flag(last), withdrawn.Milliseconds()).Int64Slice()
	if err != nil {
		return err
	}
	if len(reply) != 2 {
		return fmt.Errorf("heartbeat: %d values", len(reply))
	}
	l.gap.Store(reply[1])
	l.mu.Lock()
	defer l.mu.Unlock()
	l.server, l.at = time.UnixMilli(reply[0]), time.Now()
	return nil
}

// state returns the time up to which no delivery was refused except those already reported, by Redis's clock,
// and how long ago the last refusal was. Both are in milliseconds. An unanswered delivery may still be refused,
// so the time is before its arrival.
func (l *Liveness) state(now time.Time) (proven int64, since string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refused.IsZero() {
		since = strconv.FormatInt(now.Sub(l.refused).Milliseconds(), 10)
	}
	if l.at.IsZero() {
		return 0, since
	}
	oldest := l.at // Redis read its clock before this time
	for began := range l.open {
		if began.Before(oldest) {
			oldest = *began
		}
	}
	return l.server.Add(-l.at.Sub(oldest)).UnixMilli(), since
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}

// readLiveness reads the hash of the webhook programs into c.
func readLiveness(c *message.Channel, heartbeats map[string]string) {
	for name, v := range heartbeats {
		c.Reported = true
		if name == gapField {
			c.Gap = milli(v)
			continue
		}
		_, until, _ := strings.Cut(v, " ")
		if proven := milli(until); c.Programs == 0 || proven.Before(c.Open) {
			c.Open = proven
		}
		c.Programs++
	}
}
