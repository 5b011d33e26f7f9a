package campaigns

import (
	"context"
	"crypto/rand"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

var (
	//go:embed admit.lua
	admitLua string
	//go:embed settings.lua
	settingsLua string
)

// settingsKey is the settings of campaigns: a hash of JSON by the names of their flows.
func settingsKey() string { return store.Key(0, "campaigns:settings") }

// revisionKey is a text that differs after each change of settings, so that a Watch reads only what changed.
func revisionKey() string { return store.Key(0, "campaigns:revision") }

// sentKey is the messages of a campaign that its cap counts on a day: a set of their ids. It is in no shard: a campaign is sent from numbers of
// several.
func sentKey(f message.Flow, day string) string {
	return "sluice:campaign:sent:{" + f.String() + "}:" + day
}

// sentLife is how long after its day a set of sentKey is kept.
const sentLife = time.Hour

// Settings returns the settings of a campaign; nil: none are set.
func (s *Store) Settings(ctx context.Context, f message.Flow) (*message.CampaignSettings, error) {
	settings, _, err := s.settings(ctx, f)
	if err != nil || !settings.Set() {
		return nil, err
	}
	return &settings, nil
}

// settings returns the settings of a campaign, and their stored text; empty: there are none.
func (s *Store) settings(ctx context.Context, f message.Flow) (message.CampaignSettings, string, error) {
	settings := message.CampaignSettings{Flow: f}
	text, err := s.db.HGet(ctx, settingsKey(), f.String()).Result()
	if err == nil {
		json.Unmarshal([]byte(text), &settings) // those that cannot be read are set again; until then a Watch lets nothing go
	}
	if err != nil && !errors.Is(err, redis.Nil) {
		return settings, "", fmt.Errorf("read the settings of a campaign: %w", err)
	}
	settings.Flow = f
	return settings, text, nil
}

// Change changes settings of a campaign, and returns them as they are then. What the change does not name stays. The audit entry comes
// first: if it cannot be written, nothing changes. All programs follow within 2 s.
func (s *Store) Change(ctx context.Context, c message.CampaignChange) (message.CampaignSettings, error) {
	entry := message.AuditEntry{Verb: message.VerbCampaignSet, On: c.Describe(), Actor: c.By, Key: c.Key, Reason: c.Reason}
	if err := s.audit.Add(ctx, entry); err != nil {
		return message.CampaignSettings{}, fmt.Errorf("change the settings of a campaign: %w", err)
	}
	for {
		was, text, err := s.settings(ctx, c.Flow)
		if err != nil {
			return was, err
		}
		settings, next := c.Apply(was, s.now()), ""
		if settings.Set() {
			encoded, err := json.Marshal(settings)
			if err != nil {
				return settings, err
			}
			next = string(encoded)
		}
		stored, err := s.store(ctx, c.Flow.String(), text, next)
		if err != nil {
			return settings, fmt.Errorf("change the settings of a campaign: %w", err)
		}
		if stored {
			return settings, nil
		}
	}
}

// store stores the text of the settings of a flow by its name, if they still have a text; empty: there are none. It returns whether it did.
func (s *Store) store(ctx context.Context, name, was, next string) (bool, error) {
	n, err := s.db.Run(ctx, s.change, []string{settingsKey(), revisionKey()}, name, was, next, rand.Text()).Int()
	return n == 1, err
}

// Counted returns how many messages of a campaign its cap has counted today, and when the day ends.
func (s *Store) Counted(ctx context.Context, settings message.CampaignSettings) (int, time.Time, error) {
	day, end := settings.Day(s.now())
	n, err := s.db.SCard(ctx, sentKey(settings.Flow, day)).Result()
	if err != nil {
		return 0, end, fmt.Errorf("read how many messages a campaign has sent today: %w", err)
	}
	return int(n), end, nil
}

// purgeSettings deletes the settings that were last changed 400 days ago, of campaigns that are not known any more.
func (s *Store) purgeSettings(ctx context.Context, known func(context.Context, message.Flow) (bool, error)) error {
	all, err := s.db.HGetAll(ctx, settingsKey()).Result()
	old := s.now().Add(-settingsLife)
	for name, text := range all {
		var settings message.CampaignSettings
		if err != nil || json.Unmarshal([]byte(text), &settings) != nil || !settings.At.Before(old) {
			continue
		}
		var is bool
		if is, err = known(ctx, message.FlowOf(name)); err == nil && !is {
			_, err = s.store(ctx, name, text, "")
		}
	}
	if err != nil {
		return fmt.Errorf("delete old settings of campaigns: %w", err)
	}
	return nil
}
