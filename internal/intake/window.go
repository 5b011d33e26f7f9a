package intake

import (
	"context"
	"time"

	"sluice/internal/message"
)

// outside reports which messages are free-form and have a recipient whose customer service window is closed; nil: none is. Scheduled messages,
// and those that wait for another one, are checked before they are sent only. So are all while Redis does not say.
func (in *Intake) outside(ctx context.Context, now time.Time, all ...*message.Message) []bool {
	if in.o.OutsideWindow == nil {
		return nil
	}
	asked, of := immediate(all, now)
	if len(asked) == 0 {
		return nil
	}
	found, err := in.o.OutsideWindow(ctx, asked)
	if err != nil || found == nil {
		return nil
	}
	outside := make([]bool, len(all))
	for i, is := range found {
		outside[of[i]] = is
	}
	return outside
}

// immediate returns the service messages to people that would be sent at once, and the place of each.
func immediate(all []*message.Message, now time.Time) (some []*message.Message, of []int) {
	for i, m := range all {
		if m.Content.Service() && !m.Content.Group && !m.SendAt.After(now) && m.After.ID == "" {
			some, of = append(some, m), append(of, i)
		}
	}
	return some, of
}

// replace gives a free-form message its fallback template, and reports whether it could.
func (in *Intake) replace(m *message.Message) bool {
	f := m.Fallback
	if f.Content == nil || len(f.Problems) > 0 {
		return false
	}
	c := *f.Content
	c.Instead = m.Content.Type
	m.Content, m.Payload, m.Fallback = c, f.Payload, message.Fallback{}
	in.o.WindowClosed(true)
	return true
}

// refuseOutside refuses a free-form message outside the customer service window that has no fallback template, or one of which Meta sends
// no messages now.
func (in *Intake) refuseOutside(m *message.Message) refusal {
	in.o.WindowClosed(false)
	return append(refusal{problem(recipientPath(m), "service_window_closed")}, m.Fallback.Problems...)
}
