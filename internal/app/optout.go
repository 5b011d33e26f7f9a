package app

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"sluice/internal/archive"
	"sluice/internal/config"
	"sluice/internal/content"
	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/secrets"
	"sluice/internal/store"
	"sluice/internal/suppression"
	"sluice/internal/templates"
)

// newSuppressions returns the suppression lists for a program, which has read which of them have entries. The catalogue
// knows the categories of templates.
func newSuppressions(ctx context.Context, p *Program, c config.Common, key, second config.Secret, persons *people.People, catalogue *templates.Catalogue) *suppression.Store {
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
		Applies: p.directory.Suppresses, Category: catalogue.Class, Publish: publisher(p.DB, message.Shards(c.Shards)),
		Words: suppression.NewWords(suppression.WordChanges(c.StopWords), suppression.WordChanges(c.StartWords)),
		Log:   p.Log,
	})
	if err := s.Load(ctx); err != nil {
		p.Log.Warn("cannot read which suppression lists have entries, will retry", "err", err)
	}
	persons.OnLearned(s.Learned)
	p.entries.AlsoReencrypt(s.Reencrypt)
	p.Background(s.Run)
	return s
}

// publisher returns a function that appends events about what Sluice did to the streams of their numbers, also on a full Redis.
func publisher(db *store.DB, shards message.Shards) func(ctx context.Context, all []message.Event) error {
	tx := db.Transactions(false)
	return func(ctx context.Context, all []message.Event) error {
		changes := make([]store.Change, len(all))
		for i, e := range all {
			line, err := json.Marshal(e)
			if err != nil {
				return err
			}
			key := events.MessageKey(shards.Of(e.Number))
			changes[i] = store.Change{Slot: key, Durable: true, Decide: func(_ []string, w *store.Writes) error {
				w.Append(key, events.Field, line)
				return nil
			}}
		}
		return errors.Join(tx.DoAll(ctx, 0, changes)...)
	}
}

// optOutTimeout is the time limit of Redis for the check of a recipient right before a request.
const optOutTimeout = 2 * time.Second

// allowed returns message.ErrOptedOut if the recipient of an attempt opted out after the message was fetched. It needs no round trip for
// messages that no suppression list concerns.
func (w *worker) allowed(a message.Attempt, object []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), optOutTimeout) // a stop must not end an attempt that has begun
	defer cancel()
	to, _ := content.Addressee(string(object))
	err := w.optOuts.Allows(ctx, a.Message, to)
	if err != nil && err != message.ErrOptedOut {
		w.Log.Warn("cannot read the suppression list before an attempt, the message is not sent, will retry", "message_id", a.ID, "err", err)
	}
	return err
}
