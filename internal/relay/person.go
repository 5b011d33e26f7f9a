package relay

import (
	"context"
	"maps"
	"slices"

	"sluice/internal/events"
	"sluice/internal/message"
)

// OfPerson returns the dead letters of all targets that name a person, and deletes them if forget is true. It reads all dead letters. Events
// that wait for another try are not among them: the target still gets them.
func (t *Targets) OfPerson(ctx context.Context, who message.PersonNames, forget bool) ([]message.PersonEntry, error) {
	targets, err := t.all(ctx)
	if err != nil {
		return nil, err
	}
	var all []message.PersonEntry
	for _, name := range slices.Sorted(maps.Keys(targets)) {
		for _, shard := range t.shards.All() {
			some, err := events.EntriesOfPerson(ctx, t.db, deadKey(shard, name), message.PersonEntry{What: "relay_dead_letter", Target: name}, who, forget)
			if err != nil {
				return nil, err
			}
			all = append(all, some...)
		}
	}
	return all, nil
}
