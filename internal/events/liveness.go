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
	// livenessSilence is how long a webhook program may be silent before that is a gap.
	livenessSilence = 3 * time.Second
)

//go:embed lua/beat.lua
var beatLua string

// gapField stands beside the webhook programs; their names have a dash.
const gapField = "gap"

// webhooksKey is the Redis key of the hash of the living webhook programs.
func webhooksKey() string { return store.Key(message.Shard(0), "webhooks") }

// Liveness reports through Redis that a webhook program takes what Meta delivers, and when it did
// not. Without that report silence about a message proves nothing. It is safe for concurrent use.
type Liveness struct {
	db   *store.DB
	beat store.Script
	name string
	log  *slog.Logger
	gap  atomic.Int64 // end of the latest gap, Unix milliseconds

	mu      sync.Mutex
	inHand  map[*time.Time]struct{} // when each delivery that is not answered yet began
	refused time.Time               // when a delivery was last refused
	server  time.Time               // Redis's clock as it last answered
	at      time.Time               // when it did
}

// NewLiveness returns the reporter of the webhook program of that name, which must be its own.
func (s *Stream) NewLiveness(name string) *Liveness {
	l := &Liveness{db: s.db, beat: s.beat, name: name, log: s.log, inHand: map[*time.Time]struct{}{}}
	promauto.With(s.o.Registerer).NewGaugeFunc(prometheus.GaugeOpts{
		Name: "sluice_webhook_gap_timestamp_seconds",
		Help: "Unix time at which the latest gap ended. In a gap a webhook was refused, or no webhook program ran. In-doubt messages of that time wait until Meta has retried its webhooks.",
	}, func() float64 { return float64(l.gap.Load()) / 1000 })
	return l
}

// Track notes that a delivery of Meta's arrived. The caller calls done when it is answered, and says
// whether it was refused.
func (l *Liveness) Track() (done func(refused bool)) {
	began := time.Now()
	l.mu.Lock()
	defer l.mu.Unlock()
	l.inHand[&began] = struct{}{}
	return func(refused bool) {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.inHand, &began)
		if refused {
			l.refused = time.Now()
		}
	}
}

// Run writes a heartbeat each second until ctx ends. While Redis is away it goes on trying.
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

// Leave says that the program has answered its last delivery. If it fails, the silence says so.
func (l *Liveness) Leave(ctx context.Context) error { return l.report(ctx, true) }

func (l *Liveness) report(ctx context.Context, last bool) error {
	ctx, cancel := context.WithTimeoutCause(ctx, livenessSilence, errors.New("redis took too long"))
	defer cancel()
	proven, since := l.state(time.Now())
	reply, err := l.db.Run(ctx, l.beat, []string{webhooksKey()},
		l.name, livenessSilence.Milliseconds(), proven, since, flag(last)).Int64Slice()
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

// state returns up to when no delivery was refused but those reported before, by Redis's clock, and how
// long ago the last refusal was; both in milliseconds. What has arrived and is not answered may be
// refused yet.
func (l *Liveness) state(now time.Time) (proven int64, since string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.refused.IsZero() {
		since = strconv.FormatInt(now.Sub(l.refused).Milliseconds(), 10)
	}
	if l.at.IsZero() {
		return 0, since
	}
	oldest := l.at // Redis's clock read server before that
	for began := range l.inHand {
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

// liveness reads the hash of the webhook programs into c.
func liveness(c *message.Channel, beats map[string]string) {
	for name, v := range beats {
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
