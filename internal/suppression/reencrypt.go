package suppression

import (
	"context"
	"fmt"
	"maps"
	"slices"
)

// reencryptGroup is how many entries are written together.
const reencryptGroup = 500

// Reencrypt encrypts the recipients of all entries with the first secrets key, and lets the entries be found by its hashes. It returns
// how many entries it changed: those that have the first key already stay as they are, so after an error it goes on where it
// stopped. An entry whose recipient was deleted cannot be found any more without the key with which it was written.
func (s *Store) Reencrypt(ctx context.Context) (n int, err error) {
	if !s.On() {
		return 0, nil
	}
	if err := s.Load(ctx); err != nil {
		return 0, err
	}
	unreadable := 0
	for _, client := range slices.Sorted(maps.Keys(*s.lists.Load())) {
		for cursor, more := uint64(0), true; more; more = cursor != 0 {
			var fields []string
			if fields, cursor, err = s.db.HScan(ctx, entriesKey(client), cursor, "", reencryptGroup).Result(); err != nil {
				return n, fmt.Errorf("read the suppression list of client %q: %w", client, err)
			}
			var changes []change
			for field := range slices.Chunk(fields, 2) {
				e := entryOf(field[1])
				if e.what.Recipient == "" || s.o.Box.Current(sealed, e.what.Recipient) {
					continue
				}
				recipient, err := s.o.Box.Decrypt(sealed, e.what.Recipient)
				if err != nil {
					unreadable++
					continue
				}
				changes = append(changes, change{client: client, join: true, at: e.at, names: []string{e.name}, recipient: recipient, details: e.what})
			}
			for group := range slices.Chunk(changes, reencryptGroup) {
				if err := s.nameRecipients(ctx, group); err != nil {
					return n, err
				}
				if _, err := s.write(ctx, group); err != nil {
					return n, err
				}
				n += len(group)
			}
		}
	}
	if unreadable > 0 {
		return n, fmt.Errorf("%d entries of suppression lists have neither of the secrets keys. Set the key that they have as the second one", unreadable)
	}
	return n, nil
}
