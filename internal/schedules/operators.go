package schedules

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"sluice/internal/httpapi"
)

// Listed is a schedule as operators see it, without its message.
type Listed struct {
	Client string `json:"client,omitempty" doc:"The client that it belongs to. Absent: none."`
	schedule
}

// listed returns a schedule as operators see it.
func (s *Schedules) listed(ctx context.Context, id string, e entry) Listed {
	client, _, _ := strings.Cut(id, "/")
	l := Listed{client, shownAs(id, e, s.now(ctx))}
	l.Request = nil
	return l
}

// Sender returns the number that sends.
func (l Listed) Sender() string { return l.Number }

// List returns the schedules of a client, or of all clients and of none if it is empty, by client and name. One that cannot be decrypted is left out,
// and logged.
func (s *Schedules) List(ctx context.Context, client string) ([]Listed, error) {
	found := map[string]Listed{} // some come twice
	add := func(id, text string) error {
		e, err := s.all.open(id, text)
		if err != nil {
			s.logOf(id).Error("cannot read a schedule, it sends nothing", "err", err)
			return nil
		}
		found[id] = s.listed(ctx, id, e)
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

// Find returns a schedule of a client, or of none, or why there is none.
func (s *Schedules) Find(ctx context.Context, client, name string) (l Listed, refused httpapi.Refusal) {
	id := client + "/" + name
	all, errs, err := s.all.get(ctx, []string{id})
	switch err = cmp.Or(err, errors.Join(errs...)); {
	case err != nil:
		return l, s.failed(err)
	case all[0].text == "":
		return l, httpapi.RefuseAt("name", "schedule_not_found")
	}
	return s.listed(ctx, id, all[0]), nil
}

// Remove removes a schedule. It may be repeated.
func (s *Schedules) Remove(ctx context.Context, client, name string) httpapi.Refusal {
	return s.change(ctx, client+"/"+name, func(e *entry) httpapi.Refusal {
		*e = entry{text: e.text}
		return nil
	})
}
