package app

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/directory"
	"sluice/internal/quiethours"
)

// quietHours returns the rules of the quiet hours of all numbers and clients. zones are the configured time zones of recipients.
func (p *Program) quietHours(zones map[string]string) *quiethours.Rules {
	return quiethours.New(p.directory.QuietHours, p.directory.Display, zones)
}

// quietSettled is how long after a change of quiet hours messages look at the clock again: then each worker knows the change. It is also the pause
// before another try.
const quietSettled = 3 * time.Second

// watchQuietHours lets the delayed messages of a number look at the clock again when its quiet hours change: those that wait for the end of
// the former ones would come too late.
func (w *worker) watchQuietHours() func(context.Context) error {
	known, changed := w.allQuietHours(), make(chan struct{}, 1)
	w.directory.Subscribe(func(directory.Changes) {
		select {
		case changed <- struct{}{}:
		default:
		}
	})
	return func(ctx context.Context) error {
		var again <-chan time.Time
		for {
			select {
			case <-ctx.Done():
				return nil
			case <-changed:
				again = time.After(quietSettled)
				continue
			case <-again:
				again = nil
			}
			now := w.allQuietHours()
			for number, hours := range now {
				was, is := known[number]
				if !is || was == hours {
					continue
				}
				if err := w.tasks.Soon(ctx, number); err != nil {
					w.Log.Warn("cannot look again at the messages that wait for the end of quiet hours, will retry", "phone_number_id", number, "err", err)
					now[number], again = was, time.After(quietSettled)
				}
			}
			known = now
		}
	}
}

// allQuietHours returns for each number, as a text, the quiet hours of its own and of the clients that may send from it.
func (w *worker) allQuietHours() map[string]string {
	all := map[string]string{}
	for _, number := range w.directory.Numbers() {
		text := ""
		for _, client := range append([]string{w.directory.Owner(number)}, w.directory.SharedWith(number)...) {
			text += fmt.Sprint(w.directory.QuietHours(client, number))
		}
		all[number] = text
	}
	return all
}
