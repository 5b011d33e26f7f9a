package app

import (
	"cmp"
	"context"
	"log/slog"

	"sluice/internal/archive"
	"sluice/internal/config"
	"sluice/internal/console"
	"sluice/internal/frequency"
	"sluice/internal/holds"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/portfolio"
	"sluice/internal/secrets"
	"sluice/internal/signature"
	"sluice/internal/store"
)

// newPeople returns the people of an installation. They use the keyed hashes of the index of recipients, so without the index, or
// without a secrets key, each name is a person of its own. Then the other key, if there is one, names recipients for messaging limits.
func newPeople(db *store.DB, c config.Common, secret, other config.Secret, index bool, log *slog.Logger) *people.People {
	return people.New(db, people.Options{
		Hash: secrets.Hasher(string(cmp.Or(secret, other)), archive.RecipientPurpose), Alone: secret == "" || !index,
		Shards: message.Shards(c.Shards), Owners: holds.NewAccounts(db), Log: log,
	})
}

// personOf returns the person that has a recipient of a number; zero: unknown.
func personOf(ctx context.Context, p *people.People, number, recipient string) (portfolio.Person, error) {
	ids, err := p.Lookup(ctx, []people.Query{{Number: number, Identity: p.Identity(recipient)}})
	return portfolio.Person(ids[0]), err
}

// forPeople lets the console find and delete what is stored about people.
func forPeople(o *console.Options, persons *people.People, limits *portfolio.Ledger, book *ledger.Ledger, c config.Producer) error {
	o.People, o.Limits, o.Personal = persons, limits, personal{book, signature.New(string(c.PayloadKey))}
	if c.Archive.URL == "" {
		return nil
	}
	of, err := archive.NewRecipients(string(c.Archive.URL), secrets.Hasher(string(c.Archive.Key), archive.RecipientPurpose))
	if err == nil {
		o.Archived = of
	}
	return err
}

// cappedPerson finds and deletes the counts of messages to a person under frequency caps.
func (p *Program) cappedPerson(persons *people.People) console.Traces {
	caps := frequency.New(p.DB, persons, p.directory.FrequencyCaps)
	return func(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
		return caps.OfPerson(ctx, p.directory.Clients(), who, forget)
	}
}

// personal has the records of messages with their content.
type personal struct {
	*ledger.Ledger
	signer signature.Signer
}

// OfRecipients returns what is stored of the messages to recipients. A content with a wrong signature is left out.
func (p personal) OfRecipients(ctx context.Context, hashes []string) ([]message.Kept, error) {
	found, err := p.Ledger.OfRecipients(ctx, hashes)
	all := make([]message.Kept, len(found))
	for i, r := range found {
		all[i].Record = r.Record
		if object, err := p.signer.Verify(r.ID, []byte(r.Payload)); err == nil && len(object) > 0 {
			all[i].Object = object
		}
	}
	return all, err
}
