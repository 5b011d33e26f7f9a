// Package campaigns stores the settings of campaigns, counts their messages against the cap of a day, and cancels campaigns: a hold stops their
// messages, producers refuse further ones, and workers cancel those that wait.
package campaigns

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/holds"
	"sluice/internal/message"
	"sluice/internal/store"
)

// cancelledLife is how long a campaign stays cancelled, and settingsLife how long its settings are kept after their last change: as long as its
// counters after theirs.
const (
	cancelledLife = 400 * 24 * time.Hour
	settingsLife  = cancelledLife
)

// cancelledKey is the orders that cancelled the campaigns whose messages are refused: a hash of JSON by the names of their flows.
func cancelledKey() string { return store.Key(0, "campaigns:cancelled") }

// cancellingKey is the orders to cancel of which messages may still wait: a sorted set of "<when in Unix ms> <flow>" by when.
func cancellingKey() string { return store.Key(0, "campaigns:cancelling") }

// orderOf names an order in cancellingKey.
func orderOf(c message.CancelledCampaign) string {
	return strconv.FormatInt(c.At.UnixMilli(), 10) + " " + c.String()
}

// Store stores the settings of campaigns, and which are cancelled. It is safe for concurrent use.
type Store struct {
	db    *store.DB
	holds *holds.Store
	audit *audit.Log

	change, admit store.Script
	now           func() time.Time // by Redis's clock, about
}

// NewStore returns the settings and the cancelled campaigns of an installation.
func NewStore(db *store.DB, h *holds.Store, a *audit.Log) *Store {
	now := func() time.Time { return time.Now().Add(db.ClockOffset()).UTC() }
	return &Store{db, h, a, db.Script(settingsLua), db.Script(admitLua), now}
}

// hold returns the hold that stops a campaign.
func hold(c message.CancelledCampaign) message.Hold {
	return message.Hold{Client: c.Client, Campaign: c.Campaign, By: c.By, Key: c.Key, Reason: c.Reason}
}

// note writes an order into the audit log.
func (s *Store) note(ctx context.Context, verb string, c message.CancelledCampaign) error {
	return s.audit.Add(ctx, message.AuditEntry{Verb: verb, On: hold(c).On(), Actor: c.By, Key: c.Key, Reason: c.Reason})
}

// Cancel cancels a campaign, and returns when by Redis's clock. It may be repeated. The audit entry comes first: if it cannot be
// written, nothing changes. Then the hold stops the campaign, before anything else is known of the order.
func (s *Store) Cancel(ctx context.Context, c message.CancelledCampaign) (time.Time, error) {
	c.At = s.now().Truncate(time.Millisecond)
	about, err := json.Marshal(c)
	if err == nil {
		err = s.note(ctx, message.VerbCampaignCancel, c)
	}
	if err == nil {
		_, err = s.holds.Set(ctx, hold(c))
	}
	if err == nil {
		_, err = s.db.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HSet(ctx, cancelledKey(), c.String(), about)
			p.ZAdd(ctx, cancellingKey(), redis.Z{Score: float64(c.At.UnixMilli()), Member: orderOf(c)})
			return nil
		})
	}
	if err != nil {
		return c.At, fmt.Errorf("cancel a campaign: %w", err)
	}
	return c.At, nil
}

// Open lets messages of a cancelled campaign be accepted and sent again, by order of c.By and for c.Reason. It is false if the campaign
// is not cancelled. The hold ends first, so that a repeated call completes one that failed.
func (s *Store) Open(ctx context.Context, c message.CancelledCampaign) (bool, error) {
	was, err := s.Get(ctx, c.Flow)
	if err != nil || was == nil {
		return false, err
	}
	orders, err := s.Cancelling(ctx)
	if err == nil {
		err = s.note(ctx, message.VerbCampaignOpen, c)
	}
	if err == nil {
		_, err = s.holds.Release(ctx, hold(c))
	}
	if err == nil {
		_, err = s.db.TxPipelined(ctx, func(p redis.Pipeliner) error {
			p.HDel(ctx, cancelledKey(), c.String())
			for _, one := range orders {
				if one.Flow == c.Flow {
					p.ZRem(ctx, cancellingKey(), orderOf(one))
				}
			}
			return nil
		})
	}
	if err != nil {
		return false, fmt.Errorf("open a campaign: %w", err)
	}
	return true, nil
}

// Get returns the order that cancelled a campaign, with its time, actor and reason; nil: it is not cancelled.
func (s *Store) Get(ctx context.Context, f message.Flow) (*message.CancelledCampaign, error) {
	text, err := s.db.HGet(ctx, cancelledKey(), f.String()).Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("read a cancelled campaign: %w", err)
	}
	var c message.CancelledCampaign
	json.Unmarshal([]byte(text), &c) // one that cannot be read is cancelled all the same
	c.Flow = f
	return &c, nil
}

// Cancelling returns the orders of which messages may still wait, the first order first: only Flow and At.
func (s *Store) Cancelling(ctx context.Context) ([]message.CancelledCampaign, error) {
	members, err := s.db.ZRange(ctx, cancellingKey(), 0, -1).Result()
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

// Done ends an order of Cancelling, of which no message waits any more, and the hold that came with it. It is false if the campaign has
// been opened since: then a hold on it has another reason.
func (s *Store) Done(ctx context.Context, c message.CancelledCampaign) (bool, error) {
	_, err := s.db.ZScore(ctx, cancellingKey(), orderOf(c)).Result()
	if errors.Is(err, redis.Nil) {
		return false, nil
	}
	if err == nil {
		c.By, c.Reason = "sluice", "the campaign is cancelled, and no message is left"
		_, err = s.holds.Release(ctx, hold(c))
	}
	if err == nil {
		err = s.db.ZRem(ctx, cancellingKey(), orderOf(c)).Err() // last: after a kill another worker ends the hold
	}
	if err != nil {
		return false, fmt.Errorf("end the cancelling of a campaign: %w", err)
	}
	return true, nil
}

// Purge deletes the campaigns that were cancelled 400 days ago, and the settings that were last changed then of campaigns that are not known
// any more, because no message of them changed since.
func (s *Store) Purge(ctx context.Context, known func(context.Context, message.Flow) (bool, error)) error {
	return errors.Join(s.purgeSettings(ctx, known), s.purgeCancelled(ctx))
}

func (s *Store) purgeCancelled(ctx context.Context) error {
	all, err := s.db.HGetAll(ctx, cancelledKey()).Result()
	old := s.now().Add(-cancelledLife)
	for name, text := range all {
		var c message.CancelledCampaign
		if json.Unmarshal([]byte(text), &c) == nil && c.At.Before(old) && err == nil {
			err = s.db.HDel(ctx, cancelledKey(), name).Err()
		}
	}
	if err != nil {
		return fmt.Errorf("delete old cancelled campaigns: %w", err)
	}
	return nil
}
