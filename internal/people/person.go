package people

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// Person is all that is stored about the names of a person, in all scopes.
type Person struct {
	// Identities are the keyed hashes of the person's names, that of the recipient first. A phone number that the person has left
	// is not among them: it may belong to another person.
	Identities []ID
	// IDs is what Lookup returns for the names, and what it returned before Meta reported them together.
	IDs []ID
	// Scopes is in how many portfolios, accounts or numbers more than one of the names is known.
	Scopes int
}

// Find returns the person that has a recipient in hand: a phone number or a user id. It reads the whole table, about a second
// for a million entries, because the table leads from names to persons only.
func (p *People) Find(ctx context.Context, recipient string) (Person, error) {
	return p.find(ctx, recipient, false)
}

// Forget deletes what Find returns from the table. The next report of Meta about the person is learned again.
func (p *People) Forget(ctx context.Context, recipient string) (Person, error) {
	return p.find(ctx, recipient, true)
}

func (p *People) find(ctx context.Context, recipient string, forget bool) (Person, error) {
	own := p.Identity(recipient).Hash
	if own == (ID{}) || !p.On() {
		return Person{}, nil
	}
	// A name is the person itself in each scope where it has no entry.
	of := map[scope]ID{}
	bucket, err := p.db.HGetAll(ctx, tableKey(p.o.Shards, entryKey{hash: own}.bucket())).Result()
	if err != nil {
		return Person{}, fmt.Errorf("read people: %w", err)
	}
	for field, text := range bucket {
		if k, ok := keyOf(field); ok && k.hash == own {
			of[k.scope] = entryOf(text).person
		}
	}
	found, people := map[ID]bool{own: true}, map[scope]ID{}
	_, err = p.walk(ctx, func(k entryKey, e entry) bool {
		person, there := of[k.scope]
		if !there {
			person = own
		}
		if e.person != person {
			return false
		}
		found[k.hash], people[k.scope] = true, person
		return forget
	})
	if err != nil {
		return Person{}, err
	}
	// The person may be named by a phone number that it left: messages to that number are no longer the person's.
	var keys []entryKey
	for scope, person := range people {
		keys = append(keys, entryKey{person, scope})
	}
	named, err := p.read(ctx, keys)
	if err != nil {
		return Person{}, err
	}
	for i, k := range keys {
		if !named[i].known() || named[i].person == k.hash {
			found[k.hash] = true
		}
	}
	ids := maps.Clone(found)
	for _, person := range people {
		ids[person] = true
	}
	delete(found, own)
	return Person{append([]ID{own}, slices.Collect(maps.Keys(found))...), slices.Collect(maps.Keys(ids)), len(people)}, nil
}
