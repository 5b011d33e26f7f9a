package suppression

import (
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

//go:embed forget.lua
var forgetLua string

// OfPerson returns the latest entry of a person in each list, by the names that package people returns for the person.
func (s *Store) OfPerson(ctx context.Context, names []string) ([]message.Suppression, error) {
	if !s.On() || len(names) == 0 {
		return nil, nil
	}
	if err := s.Load(ctx); err != nil {
		return nil, err
	}
	var asked []Query
	var of [][]string
	for _, client := range slices.Sorted(maps.Keys(*s.lists.Load())) {
		asked, of = append(asked, Query{Client: client}), append(of, names)
	}
	entries, err := s.read(ctx, asked, of)
	if err != nil {
		return nil, err
	}
	var found []message.Suppression
	for i, e := range entries {
		if !e.at.IsZero() {
			found = append(found, s.shown(asked[i].Client, e))
		}
	}
	return found, nil
}

// ForgetPerson deletes the recipients and the reasons of the entries of a person, and returns how many had some. The person stays
// suppressed: the keyed hashes are kept, because a deleted entry would let messages through that the person does not want.
func (s *Store) ForgetPerson(ctx context.Context, names []string) (int, error) {
	if !s.On() || len(names) == 0 {
		return 0, nil
	}
	if err := s.Load(ctx); err != nil {
		return 0, err
	}
	args := make([]any, len(names))
	for i, n := range names {
		args[i] = n
	}
	var replies []*redis.Cmd
	err := s.db.Pipe(ctx, func(p redis.Pipeliner) {
		replies = nil
		for client := range *s.lists.Load() {
			replies = append(replies, s.forget.Add(ctx, p, []string{entriesKey(client), namesKey(client)}, args...))
		}
	})
	if err != nil {
		return 0, fmt.Errorf("delete recipients from suppression lists: %w", err)
	}
	n := 0
	for _, r := range replies {
		some, _ := r.Int()
		n += some
	}
	return n, nil
}
