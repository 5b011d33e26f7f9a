package suppression

import (
	"context"
	"strings"

	"sluice/internal/message"
)

// Note stores what Meta reports about whether people want marketing messages, in any order and repeated: the latest counts. It concerns all
// clients that send from the number, because the person cannot know which of them wrote.
func (s *Store) Note(ctx context.Context, all []message.Preference) error {
	var changes []change
	var asked []Query
	var of []int // the change of each
	for _, p := range all {
		if p.Source == message.SuppressedByWord {
			stop, known := s.o.Words.meaning(p.Said)
			if !known {
				continue
			}
			p.Stop = stop
		}
		recipients := recipientsOf(p.Who)
		if len(recipients) == 0 {
			continue
		}
		if !s.On() {
			if s.warned.CompareAndSwap(false, true) {
				s.log.Error("a person opted out of marketing messages, and there is no secrets key to store it: set secrets_key_file or SLUICE_SECRETS_KEY", "phone_number_id", p.Who.Number)
			}
			continue
		}
		for _, client := range s.o.Clients(p.Who.Number) {
			for _, r := range recipients {
				asked, of = append(asked, Query{client, p.Who.Number, r}), append(of, len(changes))
			}
			changes = append(changes, change{client: client, out: p.Stop, at: p.At, recipient: recipients[0], details: details{Source: p.Source, Number: p.Who.Number}})
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := s.name(ctx, changes, asked, of); err != nil {
		return err
	}
	if err := s.publish(ctx, changes); err != nil {
		return err
	}
	_, err := s.write(ctx, changes)
	return err
}

// Learned joins names of people that Meta reports together: an entry under one of them is then under all. After a change of the
// phone number the entry has the new one. It needs no round trip while no list of the numbers has entries.
func (s *Store) Learned(ctx context.Context, all []message.Identities) error {
	lists := *s.lists.Load()
	if !s.On() || len(lists) == 0 {
		return nil
	}
	var changes []change
	var asked []Query
	var of []int // the change of each
	for _, who := range all {
		recipients := recipientsOf(who)
		for _, client := range s.o.Clients(who.Number) {
			if !lists[client] || len(recipients) < 2 && who.FormerPhone == "" {
				continue
			}
			for _, r := range recipients {
				asked, of = append(asked, Query{client, who.Number, r}), append(of, len(changes))
			}
			c := change{client: client, join: true}
			if who.FormerPhone != "" && len(who.Phones) > 0 {
				c.recipient = recipients[0]
			}
			changes = append(changes, c)
		}
	}
	if len(changes) == 0 {
		return nil
	}
	if err := s.name(ctx, changes, asked, of); err != nil {
		return err
	}
	entries, err := s.entries(ctx, changes)
	if err != nil {
		return err
	}
	var known []change
	for i, c := range changes {
		e := entries[i]
		if e.at.IsZero() {
			continue
		}
		if c.at, c.details = e.at, e.what; c.Recipient == "" {
			c.recipient = "" // it was deleted
		}
		known = append(known, c)
	}
	_, err = s.write(ctx, known)
	return err
}

// recipientsOf returns the names of a person to which messages can go, and the parent user id; the best one to show first.
func recipientsOf(who message.Identities) (all []string) {
	for _, phone := range who.Phones {
		all = append(all, "+"+strings.TrimPrefix(phone, "+"))
	}
	for _, id := range []string{who.User, who.Parent} {
		if id != "" {
			all = append(all, id)
		}
	}
	return all
}
