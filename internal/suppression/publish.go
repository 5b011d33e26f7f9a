package suppression

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"sluice/internal/message"
)

// entries returns the present entry of each change; zero: there is none.
func (s *Store) entries(ctx context.Context, changes []change) ([]entry, error) {
	wanted, names := make([]Query, len(changes)), make([][]string, len(changes))
	for i, c := range changes {
		wanted[i], names[i] = Query{Client: c.client}, c.names
	}
	return s.read(ctx, wanted, names)
}

// publish publishes an event for each change, except an import, that lets a person opt out or in. It comes before the change is written: if
// the process dies in between, Meta's event is applied again, and published again.
func (s *Store) publish(ctx context.Context, changes []change) error {
	if s.o.Publish == nil || len(changes) == 0 || changes[0].Source == message.SuppressedByImport {
		return nil
	}
	entries, err := s.entries(ctx, changes)
	if err != nil {
		return err
	}
	type key struct{ client, name string }
	changed := map[key]entry{} // by earlier ones of the changes
	now := time.Now()
	var news []message.Event
	for i, c := range changes {
		before := entries[i]
		for _, name := range c.names {
			if e, ok := changed[key{c.client, name}]; ok && !e.at.Before(before.at) {
				before = e
			}
		}
		at := c.at
		if at.IsZero() {
			at = now
		} else if later := at.Compare(before.at); later < 0 || later == 0 && !c.out {
			continue // it is not stored, as put.lua says
		}
		for _, name := range c.names {
			changed[key{c.client, name}] = entry{out: c.out, at: at}
		}
		if c.out == before.out {
			continue
		}
		out := message.OptOut{Change: message.OptedIn, Recipient: message.Mask(c.recipient), Client: c.client, Source: c.Source, Key: c.By, Since: at.UTC()}
		if c.out {
			out.Change = message.OptedOut
		}
		news = append(news, message.Event{
			Version: message.EventVersion, Type: message.EventSuppression, At: now.UnixMilli(),
			Number: cmp.Or(c.Number, s.numbersOf(c.client)[0]), OptOut: &out,
		})
	}
	if len(news) == 0 {
		return nil
	}
	if err := s.o.Publish(ctx, news); err != nil {
		return fmt.Errorf("publish who opted out or in: %w", err)
	}
	return nil
}
