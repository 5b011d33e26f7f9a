package directory

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"sluice/internal/config"
)

// move says that messages of a number were moved to another number. It outlives the number, so that the repeat of a
// request at the other number sends nothing twice.
type move struct {
	From string `json:"from"`
	To   string `json:"to"`
	State
}

// Kind returns kindMove.
func (move) Kind() Kind { return kindMove }

// ID returns both numbers.
func (m move) ID() string { return m.From + ">" + m.To }

// movesFor is how long a move counts: a message may be scheduled 90 days ahead, and Sluice remembers its key for some weeks
// after its end.
const movesFor = 150 * 24 * time.Hour

// movedTo returns the numbers whose messages were moved to each number, also over other numbers.
func (c contents) movedTo(now time.Time) map[string][]string {
	direct := map[string][]string{}
	for _, id := range slices.Sorted(maps.Keys(c.entries[kindMove])) {
		one := c.entries[kindMove][id]
		if m, ok := one.entry.(move); ok && !one.removed && now.Sub(time.UnixMicro(one.revision)) < movesFor {
			direct[m.To] = append(direct[m.To], m.From)
		}
	}
	all := map[string][]string{}
	for to := range direct {
		from := slices.Clone(direct[to])
		for i := 0; i < len(from); i++ {
			for _, more := range direct[from[i]] {
				if more != to && !slices.Contains(from, more) {
					from = append(from, more)
				}
			}
		}
		all[to] = from
	}
	return all
}

// moves returns the stored moves of messages away from a number.
func (c contents) moves(from string) (all []string) {
	for id, one := range c.entries[kindMove] {
		if m, ok := one.entry.(move); ok && !one.removed && m.From == from {
			all = append(all, id)
		}
	}
	return all
}

// mayMoveTo finds what is wrong with a move of the messages of a number to another one.
func (s *Store) mayMoveTo(ctx context.Context, all index, n Number, to string) ([]config.Mistake, error) {
	wrong := func(format string, args ...any) ([]config.Mistake, error) {
		return []config.Mistake{{Place: "to", Err: fmt.Errorf(format, args...)}}, nil
	}
	other, known := all[KindNumber][to].(Number)
	switch {
	case to == "":
		return wrong("the number that takes the messages is missing: give the phone number id of another number of the account")
	case to == n.PhoneNumberID:
		return wrong("phone number id %s is the number that is removed: give another number of the account", to)
	case !known:
		return wrong("phone number id %s is not configured: add the number first, or give another number of the account", to)
	case other.Leaving != "":
		return wrong("phone number id %s is being removed itself: give another number of the account", to)
	case other.Client != n.Client:
		return wrong("phone number id %s does not belong to the client of the number that is removed: give a number of the same client", to)
	}
	for _, client := range n.SharedWith {
		if !slices.Contains(other.SharedWith, client) {
			return wrong("phone number id %s is not shared with client %s, which may have messages: share it first, or give another number of the account", to, client)
		}
	}
	if s.o.Accounts == nil {
		return wrong("the accounts of numbers are not known here")
	}
	accounts, err := s.o.Accounts(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range []string{n.PhoneNumberID, to} {
		if accounts[id] == "" {
			return wrong("the WhatsApp Business Account of phone number id %s is not known yet: Sluice learns it from Meta within a minute, so repeat the command then", id)
		}
	}
	if theirs, ours := accounts[to], accounts[n.PhoneNumberID]; theirs != ours {
		return wrong("phone number id %s belongs to the WhatsApp Business Account %s, and the number that is removed to %s: give another number of the account", to, theirs, ours)
	}
	return nil, nil
}

// takes returns a number whose messages are being moved to a number; empty: there is none.
func (x index) takes(to string) string {
	for _, id := range slices.Sorted(maps.Keys(x[KindNumber])) {
		if n, ok := x[KindNumber][id].(Number); ok && n.LeavingTo == to {
			return id
		}
	}
	return ""
}

// MovedTo returns the numbers whose messages were moved to a number. The caller must not change the list.
func (d *Directory) MovedTo(number string) []string { return d.now.Load().moved[number] }

// LeavingTo returns the number that takes the messages of a number that is being removed; empty: none does.
func (d *Directory) LeavingTo(number string) string {
	if n := d.now.Load().numbers[number]; n != nil {
		return n.leavingTo
	}
	return ""
}
