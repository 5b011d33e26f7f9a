package observed

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// metaLife is how long what Meta said is kept after the last reading of any number of the shard.
const metaLife = 7 * 24 * time.Hour

// Meta is what Meta says of a number.
type Meta struct {
	Token   *Token   `json:"token,omitempty" doc:"The access token of the number. Absent: unknown."`
	Profile *Profile `json:"profile,omitempty" doc:"The number itself. Absent: unknown."`
}

// Token is what is known of the access token of a number.
type Token struct {
	Valid   bool      `json:"valid" doc:"Whether Meta accepts it."`
	Expires time.Time `json:"expires,omitzero" doc:"When it expires. Absent: it does not expire, or it is not valid."`
	At      time.Time `json:"at" doc:"When Meta said it."`
}

// Profile is Meta's description of a number. The texts are Meta's, and Meta may add new ones; empty: unknown.
type Profile struct {
	Rate    int    `json:"rate,omitempty" doc:"How many messages per second Meta lets the number send. Absent: unknown."`
	Quality string `json:"quality_rating,omitempty" doc:"GREEN, YELLOW, RED, UNKNOWN or NA. Absent: unknown."`
	Name    string `json:"verified_name,omitempty" doc:"The name that recipients see. Absent: unknown."`
	Limit   string `json:"messaging_limit,omitempty" doc:"How many people the business may write to first in 24 hours, for example TIER_10K. Absent: unknown."`

	OnBizApp  bool   `json:"is_on_biz_app,omitempty" doc:"Whether the number is also used in the WhatsApp Business app. Then it sends at most 20 messages per second."`
	Account   string `json:"waba_id,omitempty" doc:"WhatsApp Business Account id. Absent: unknown."`
	Portfolio string `json:"portfolio_id,omitempty" doc:"Id of the business portfolio that owns the account. Absent: unknown."`

	At time.Time `json:"at" doc:"When Meta said it."`
}

func tokensKey(s message.Shard) string   { return store.Key(s, "meta:tokens") }
func profilesKey(s message.Shard) string { return store.Key(s, "meta:numbers") }

// SetTokens stores what is known of the tokens of numbers.
func (s *Store) SetTokens(ctx context.Context, tokens map[string]Token) error {
	return set(ctx, s, tokensKey, tokens)
}

// SetProfile stores Meta's description of a number.
func (s *Store) SetProfile(ctx context.Context, number string, p Profile) error {
	return set(ctx, s, profilesKey, map[string]Profile{number: p})
}

// set stores values by number, with two commands for each shard that has any.
func set[V any](ctx context.Context, s *Store, keyOf func(message.Shard) string, values map[string]V) error {
	pairs := map[string][]any{}
	for number, v := range values {
		text, err := json.Marshal(v)
		if err != nil {
			return fmt.Errorf("store what Meta says of numbers: %w", err)
		}
		key := keyOf(s.shards.Of(number))
		pairs[key] = append(pairs[key], number, text)
	}
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		for key, some := range pairs {
			p.HSet(ctx, key, some...)
			p.Expire(ctx, key, metaLife)
		}
	})
	if err != nil {
		return fmt.Errorf("store what Meta says of numbers: %w", err)
	}
	return nil
}

// Meta returns what Meta says of all numbers, with two commands for each shard.
func (s *Store) Meta(ctx context.Context) (map[string]Meta, error) {
	tokens, err := get[Token](ctx, s, tokensKey)
	if err != nil {
		return nil, err
	}
	profiles, err := s.Profiles(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]Meta, len(profiles))
	for number, p := range profiles {
		all[number] = Meta{Profile: &p}
	}
	for number, t := range tokens {
		m := all[number]
		m.Token = &t
		all[number] = m
	}
	return all, nil
}

// Profiles returns Meta's descriptions of all numbers, with one command for each shard.
func (s *Store) Profiles(ctx context.Context) (map[string]Profile, error) {
	return get[Profile](ctx, s, profilesKey)
}

// get reads the values of all numbers. One that cannot be read, as another version wrote it, is left out.
func get[V any](ctx context.Context, s *Store, keyOf func(message.Shard) string) (map[string]V, error) {
	replies, err := s.readAll(ctx, keyOf)
	if err != nil {
		return nil, fmt.Errorf("read what Meta says of numbers: %w", err)
	}
	all := map[string]V{}
	for _, reply := range replies {
		for number, text := range reply {
			var v V
			if json.Unmarshal([]byte(text), &v) == nil {
				all[number] = v
			}
		}
	}
	return all, nil
}
