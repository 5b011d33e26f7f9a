package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"testing"

	"sluice/internal/message"
	"sluice/internal/reconcile"
)

// TestPeople: who events of known numbers are about is learned before the statuses are applied. An error delays them only if the
// names of a person changed, because no later webhook says that.
func TestPeople(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change string
		err    error
		wanted bool
	}{
		"learned":               {"", nil, true},
		"a change is learned":   {"wamid.9", nil, true},
		"Redis is away":         {"", errors.New("away"), true},
		"Redis is away, change": {"wamid.9", errors.New("away"), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l := &fakeLedger{wake: make(chan struct{}, 1)}
			var logs bytes.Buffer
			var learned []string
			r := reconcile.New(oneBatch{0, []message.Event{statusEvent(number, "wamid.1", "sent", ""), statusEvent("555", "wamid.2", "sent", ""), {Type: message.EventUpdate, Number: number}}}, l, reconcile.Options{
				Mark: mark, Known: func(n string) bool { return n == number }, Log: slog.New(slog.NewJSONHandler(&logs, nil)),
				Identities: func(e message.Event) (message.Identities, bool) {
					return message.Identities{Number: e.Number, User: "DE.1", Change: tt.change}, e.Report != nil
				},
				People: func(_ context.Context, all []message.Identities) error {
					for _, who := range all {
						learned = append(learned, who.Number)
					}
					if len(l.applied) > 0 {
						t.Error("learned after the statuses")
					}
					return tt.err
				},
			})
			err := r.Run(t.Context())
			if !slices.Equal(learned, []string{number}) || (err == nil) != tt.wanted || (len(l.applied) == 1) != tt.wanted {
				t.Errorf("learned %q, applied %d, %v", learned, len(l.applied), err)
			}
			if logged := strings.Contains(logs.String(), "one person"); logged != (tt.err != nil && tt.wanted) || strings.Contains(logs.String(), "DE.1") {
				t.Errorf("the log: %s", &logs)
			}
		})
	}
}

// TestWindows: which customer service windows opened is stored before statuses are applied, and the events come again if it cannot be stored: else
// messages would be refused that Meta takes. Events of other numbers say nothing.
func TestWindows(t *testing.T) {
	t.Parallel()
	for _, failure := range []error{nil, errors.New("away")} {
		l := &fakeLedger{wake: make(chan struct{}, 1)}
		var opened []string
		r := reconcile.New(oneBatch{0, []message.Event{statusEvent(number, "wamid.1", "sent", ""), {Type: message.EventInbound, Number: number}, {Type: message.EventInbound, Number: "555"}}}, l, reconcile.Options{
			Mark: mark, Known: func(n string) bool { return n == number },
			WindowReports: func(e message.Event) []message.WindowReport {
				if e.Type != message.EventInbound {
					return nil
				}
				return []message.WindowReport{{Number: e.Number}}
			},
			Windows: func(_ context.Context, all []message.WindowReport) error {
				for _, one := range all {
					opened = append(opened, one.Number)
				}
				return failure
			},
		})
		err := r.Run(t.Context())
		if !slices.Equal(opened, []string{number}) || !errors.Is(err, failure) || (len(l.applied) == 1) != (failure == nil) {
			t.Errorf("%v: opened %q, applied %d, %v", failure, opened, len(l.applied), err)
		}
	}
}
