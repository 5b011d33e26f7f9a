package schedules

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"sluice/internal/httpapi"
)

// Listed is a schedule as operators see it.
type Listed struct {
	Client string `json:"client,omitempty" doc:"The client that it belongs to. Absent: none."`
	schedule
}

func (l Listed) id() string { return l.Client + "/" + l.Name }

// Sender returns the number that sends.
func (l Listed) Sender() string { return l.Number }

// listed returns a schedule as operators see it.
func (s *Schedules) listed(ctx context.Context, id string, e entry) Listed {
	client, _, _ := strings.Cut(id, "/")
	return Listed{client, shownAs(id, e, s.now(ctx))}
}

// those returns the schedules of a client, or of all clients and of none if it is empty, that keep returns true for, by client and name. One
// that cannot be decrypted is left out, and logged: it sends nothing.
func (s *Schedules) those(ctx context.Context, client string, keep func(entry) bool) ([]Listed, error) {
	found := map[string]Listed{} // some come twice
	add := func(id, text string) error {
		e, err := s.all.open(id, text)
		if err != nil {
			s.logOf(id).Error("cannot read a schedule, it sends nothing", "err", err)
		} else if keep(e) {
			found[id] = s.listed(ctx, id, e)
		}
		return nil
	}
	var err error
	if client == "" {
		err = s.all.scan(ctx, "*", add)
	} else {
		err = s.all.each(ctx, client, add)
	}
	all := []Listed{}
	for _, l := range found {
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b Listed) int { return cmp.Or(cmp.Compare(a.Client, b.Client), cmp.Compare(a.Name, b.Name)) })
	return all, err
}

// List returns the schedules of a client, or of all clients and of none if it is empty, by client and name, without their messages.
func (s *Schedules) List(ctx context.Context, client string) ([]Listed, error) {
	all, err := s.those(ctx, client, func(entry) bool { return true })
	for i := range all {
		all[i].Request = nil
	}
	return all, err
}

// Find returns a schedule of a client, or of none, without its message, or why there is none.
func (s *Schedules) Find(ctx context.Context, client, name string) (l Listed, refused httpapi.Refusal) {
	id := client + "/" + name
	all, errs, err := s.all.get(ctx, []string{id})
	switch err = cmp.Or(err, errors.Join(errs...)); {
	case err != nil:
		return l, s.failed(err)
	case all[0].text == "":
		return l, httpapi.RefuseAt("name", "schedule_not_found")
	}
	l = s.listed(ctx, id, all[0])
	l.Request = nil
	return l, nil
}

// Remove removes a schedule. It may be repeated.
func (s *Schedules) Remove(ctx context.Context, client, name string) httpapi.Refusal {
	return s.change(ctx, client+"/"+name, func(e *entry) httpapi.Refusal {
		*e = entry{text: e.text}
		return nil
	})
}

// OfPerson returns the schedules whose recipient is a person, by client and name, and removes them if forget is true. It reads all schedules.
func (s *Schedules) OfPerson(ctx context.Context, is func(recipient string) bool, forget bool) ([]Listed, error) {
	if !s.o.Box.HasKey() {
		return nil, nil
	}
	toPerson := func(e entry) bool { return is(s.o.Recipient(e.Request)) }
	all, err := s.those(ctx, "", toPerson)
	if err != nil || !forget {
		return all, err
	}
	var removed []Listed
	for _, one := range all {
		gone := false
		err := s.all.put(ctx, one.id(), func(e *entry) bool {
			gone = e.text != "" && toPerson(*e) // it may have been changed since
			*e = entry{text: e.text}
			return gone
		})
		if err != nil {
			return removed, err
		}
		if gone {
			removed = append(removed, one)
			s.logOf(one.id()).Warn("schedule removed, because the data of its recipient was deleted")
		}
	}
	return removed, nil
}
