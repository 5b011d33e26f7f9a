package reconcile_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/reconcile"
)

// written reads the inbound messages of these tests: the account is the id of the message, and At is when it was
// written.
func written(e message.Event) (string, time.Time) {
	if e.At == 0 {
		return e.WABA, time.Time{}
	}
	return e.WABA, time.Unix(e.At, 0)
}

// TestInboundMessagesAreCounted: recent messages to known numbers, also to other apps, are counted once each, after the status reports
// are applied. An error of the counter does not fail the events.
func TestInboundMessagesAreCounted(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 25, 12, 0, 0, 700e6, time.UTC)
	for name, broken := range map[string]error{"counted": nil, "not to be counted": errors.New("broken")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			serial := 0
			inbound := func(number string) message.Event {
				serial++
				return message.Event{Type: message.EventInbound, Number: number, WABA: fmt.Sprint(serial), At: now.Unix()}
			}
			aged := func(ago time.Duration) message.Event {
				e := inbound(number)
				e.At = now.Add(-ago).Unix()
				return e
			}
			l := &fakeLedger{wake: make(chan struct{}, 1)}
			var logs bytes.Buffer
			got := map[string]int{}
			calls := 0
			r := reconcile.New(oneBatch{0, []message.Event{
				inbound(number), inbound("555"), inbound("42"), inbound(""), statusEvent(number, "wamid.1", "sent", ""), inbound(number),
				{Type: message.EventUpdate, Number: number},
				inbound(number),
				{Type: message.EventInbound, Number: number, WABA: fmt.Sprint(serial), At: now.Unix()},
				aged(3 * time.Second), aged(time.Hour), aged(-time.Hour),
				{Type: message.EventInbound, Number: number, WABA: "x"},
				aged(2 * time.Second),
				{Type: message.EventStandby, Number: number, WABA: "standby", At: now.Unix()}, // to another app: it uses the number's throughput too
			}}, l, reconcile.Options{
				Mark: mark, Known: func(n string) bool { return n == number || n == "42" },
				Log:     slog.New(slog.NewJSONHandler(&logs, nil)),
				Written: written,
				Now:     func(context.Context) time.Time { return now },
				Inbound: func(ctx context.Context, n string, count int) error {
					calls++
					got[n] += count
					return broken
				},
			})
			if err := r.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			if want := map[string]int{number: 5, "42": 1}; !maps.Equal(got, want) || calls != len(want) {
				t.Errorf("counted %v in %d calls, want %v in one call each", got, calls, want)
			}
			if len(l.applied) != 1 {
				t.Errorf("applied %+v", l.applied)
			}
			if logged := strings.Contains(logs.String(), number); logged != (broken != nil) {
				t.Errorf("the log: %s", &logs)
			}
		})
	}
}

// TestInboundMessagesWaitForTheLedger: messages are not counted before the status reports are applied, because
// after an error the events come again.
func TestInboundMessagesWaitForTheLedger(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	l := &fakeLedger{answer: func([]message.MarkedReport) ([]message.ApplyResult, error) { return nil, broken }}
	r := reconcile.New(oneBatch{0, []message.Event{
		{Type: message.EventInbound, Number: number, WABA: "1", At: time.Now().Unix()}, statusEvent(number, "wamid.1", "sent", ""),
	}}, l, reconcile.Options{Mark: mark, Written: written, Inbound: func(context.Context, string, int) error {
		t.Error("counted")
		return nil
	}})
	if err := r.Run(t.Context()); !errors.Is(err, broken) {
		t.Errorf("Run: %v", err)
	}
}
