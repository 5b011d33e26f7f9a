// Package campaigns stores which campaigns are cancelled: producers refuse their messages, and workers cancel those that wait.
package campaigns

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// cancelledKey is a hash of campaigns, by the names of their flows, whose messages are refused, to who cancelled them and why. cancellingKey
// has those whose messages may still wait: a sorted set of "<when in Unix ms> <flow>" by when. Both are in one slot of a cluster.
const (
	cancelledKey  = "sluice:{campaigns}:cancelled"
	cancellingKey = "sluice:{campaigns}:cancelling"
)

// Store stores cancelled campaigns. It is safe for concurrent use.
type Store struct{ db *store.DB }

// NewStore returns the cancelled campaigns of an installation.
func NewStore(db *store.DB) *Store { return &Store{db} }

// Cancel cancels a campaign. It may be repeated.
func (s *Store) Cancel(ctx context.Context, c message.CancelledCampaign) error {
	about, err := json.Marshal(c)
	if err == nil {
		_, err = s.db.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HSet(ctx, cancelledKey, c.String(), about)
			p.ZAdd(ctx, cancellingKey, redis.Z{Score: float64(c.At.UnixMilli()), Member: running(c.Flow, c.At)})
			return nil
		})
	}
	if err != nil {
		return fmt.Errorf("cancel a campaign: %w", err)
	}
	return nil
}

// running names an order in cancellingKey.
func running(f message.Flow, at time.Time) string {
	return strconv.FormatInt(at.UnixMilli(), 10) + " " + f.String()
}

// Open lets messages of a cancelled campaign be accepted again. It is false if the campaign was not cancelled.
func (s *Store) Open(ctx context.Context, f message.Flow) (bool, error) {
	all, err := s.Cancelling(ctx)
	if err != nil {
		return false, err
	}
	var was *redis.IntCmd
	_, err = s.db.TxPipelined(ctx, func(p redis.Pipeliner) error {
		was = p.HDel(ctx, cancelledKey, f.String())
		for _, c := range all {
			if c.Flow == f {
				p.ZRem(ctx, cancellingKey, running(f, c.At))
			}
		}
		return nil
	})
	if err != nil {
		return false, fmt.Errorf("open a campaign: %w", err)
	}
	return was.Val() > 0, nil
}

// All returns the cancelled campaigns, in any order. Done says of which no message waits any more.
func (s *Store) All(ctx context.Context) ([]message.CancelledCampaign, error) {
	var about *redis.MapStringStringCmd
	var left *redis.StringSliceCmd
	_, err := s.db.TxPipelined(ctx, func(p redis.Pipeliner) error {
		about, left = p.HGetAll(ctx, cancelledKey), p.ZRange(ctx, cancellingKey, 0, -1)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read cancelled campaigns: %w", err)
	}
	waits := map[string]bool{}
	for _, member := range left.Val() {
		_, name, _ := strings.Cut(member, " ")
		waits[name] = true
	}
	var all []message.CancelledCampaign
	for name, text := range about.Val() {
		c := message.CancelledCampaign{}
		json.Unmarshal([]byte(text), &c) // one that cannot be read is cancelled all the same
		c.Flow, c.Done = message.FlowOf(name), !waits[name]
		all = append(all, c)
	}
	return all, nil
}

// Cancelling returns the campaigns of which messages may still wait, in the order in which they were cancelled: only Flow and At.
func (s *Store) Cancelling(ctx context.Context) ([]message.CancelledCampaign, error) {
	members, err := s.db.ZRange(ctx, cancellingKey, 0, -1).Result()
	if err != nil {
		return nil, fmt.Errorf("read the campaigns that are being cancelled: %w", err)
	}
	var all []message.CancelledCampaign
	for _, member := range members {
		at, name, _ := strings.Cut(member, " ")
		ms, err := strconv.ParseInt(at, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("read the campaigns that are being cancelled: %w", err)
		}
		all = append(all, message.CancelledCampaign{Flow: message.FlowOf(name), At: time.UnixMilli(ms).UTC()})
	}
	return all, nil
}

// Done records that no message of a campaign waits any more since it was cancelled at c.At.
func (s *Store) Done(ctx context.Context, c message.CancelledCampaign) error {
	if err := s.db.ZRem(ctx, cancellingKey, running(c.Flow, c.At)).Err(); err != nil {
		return fmt.Errorf("end the cancelling of a campaign: %w", err)
	}
	return nil
}

const (
	// watchEvery is how often a Watch reads the cancelled campaigns.
	watchEvery = time.Second
	// Noticed is when every Watch has noticed a campaign that was cancelled.
	Noticed = 5 * time.Second
)

// Watch knows the cancelled campaigns without asking Redis. It is safe for concurrent use.
type Watch struct {
	store *Store
	log   *slog.Logger
	now   atomic.Pointer[map[message.Flow]bool]
}

// NewWatch returns a Watch that knows none until Run.
func NewWatch(s *Store, log *slog.Logger) *Watch { return &Watch{store: s, log: log} }

// Run reads the cancelled campaigns every second, until ctx ends.
func (w *Watch) Run(ctx context.Context) error {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if all, err := w.store.All(ctx); err == nil {
			now := map[message.Flow]bool{}
			for _, c := range all {
				now[c.Flow] = true
			}
			w.now.Store(&now)
		} else if ctx.Err() == nil {
			w.log.Warn("cannot read cancelled campaigns, will retry", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// Cancelled reports whether a campaign was cancelled, as of the last reading.
func (w *Watch) Cancelled(f message.Flow) bool {
	now := w.now.Load()
	return now != nil && (*now)[f]
}
