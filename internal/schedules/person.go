package schedules

import (
	"context"
	"maps"
	"slices"
	"strings"
)

// ClientSchedule is a schedule with its client.
type ClientSchedule struct {
	Client string `json:"client,omitempty" doc:"The client whose schedule it is. Absent: it is of no client."`
	schedule
}

// OfPerson returns the schedules whose recipient is a person, by client and name, and removes them if forget is true. It reads all
// schedules. One that cannot be decrypted is left out: it sends nothing.
func (s *Schedules) OfPerson(ctx context.Context, is func(recipient string) bool, forget bool) ([]ClientSchedule, error) {
	if !s.o.Box.HasKey() {
		return nil, nil
	}
	now, found := s.now(ctx), map[string]ClientSchedule{}
	err := s.all.scan(ctx, "*", func(id, text string) error {
		e, err := s.all.open(id, text)
		if err != nil {
			log := s.logOf(id)
			log.Error("cannot read a schedule, it sends nothing", "err", err)
			return nil
		}
		if is(s.o.Recipient(e.Request)) {
			client, _, _ := strings.Cut(id, "/")
			found[id] = ClientSchedule{client, shownAs(id, e, now)}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]ClientSchedule, 0, len(found))
	for _, id := range slices.Sorted(maps.Keys(found)) {
		removed := !forget
		if forget {
			err := s.all.put(ctx, id, func(e *entry) bool {
				removed = e.text != "" && is(s.o.Recipient(e.Request)) // it may have been changed since
				*e = entry{text: e.text}
				return removed
			})
			if err != nil {
				return nil, err
			}
		}
		if removed {
			all = append(all, found[id])
		}
	}
	if forget {
		for _, one := range all {
			log := s.logOf(one.Client + "/" + one.Name)
			log.Warn("schedule removed, because the data of its recipient was deleted")
		}
	}
	return all, nil
}
