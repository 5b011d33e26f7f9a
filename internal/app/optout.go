package app

import (
	"context"

	"sluice/internal/archive"
	"sluice/internal/config"
	"sluice/internal/people"
	"sluice/internal/secrets"
	"sluice/internal/suppression"
)

// newSuppressions returns the suppression lists for a program, which has read which of them have entries.
func newSuppressions(ctx context.Context, p *Program, c config.Common, key, second config.Secret, persons *people.People) *suppression.Store {
	s := suppression.New(p.DB, suppression.Options{
		Hash: secrets.Hasher(string(key), archive.RecipientPurpose), Second: secrets.Hasher(string(second), archive.RecipientPurpose),
		Box: secrets.New(string(key), string(second)), People: persons,
		Clients: func(number string) []string {
			return append([]string{p.directory.Owner(number)}, p.directory.SharedWith(number)...)
		},
		Numbers: func(client string) []string {
			all, _ := p.directory.NumbersOf(client)
			return all
		},
		Applies: p.directory.Suppresses,
		Words:   suppression.NewWords(suppression.WordChanges(c.StopWords), suppression.WordChanges(c.StartWords)),
		Log:     p.Log,
	})
	if err := s.Load(ctx); err != nil {
		p.Log.Warn("cannot read which suppression lists have entries, will retry", "err", err)
	}
	persons.OnLearned(s.Learned)
	p.Background(s.Run)
	return s
}
