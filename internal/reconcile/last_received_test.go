package reconcile_test

import (
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/redistest"
)

// TestLastReceived: Redis has the time of the last webhook, and when Meta created the last status of a number.
func TestLastReceived(t *testing.T) {
	t.Parallel()
	s := newSetup(t, redistest.Client(t))
	now := time.Now().Truncate(time.Millisecond)
	at := func(ago time.Duration) int64 { return now.Add(-ago).UnixMilli() }
	status := func(ago, made time.Duration) message.Event {
		return message.Event{Type: message.EventStatus, At: at(ago), Number: number, Report: &message.StatusReport{
			Number: number, WAMID: "wamid.A", Status: "sent", At: now.Add(-made),
		}}
	}
	s.add(t,
		message.Event{Type: message.EventMessage, At: at(0), Number: number}, // an event of Sluice proves nothing about webhooks
		message.Event{Type: message.EventInbound, At: at(10 * time.Second), Number: number},
		status(20*time.Second, time.Hour), // it comes late
		status(30*time.Second, time.Minute),
	)
	s.run(t, nil)
	poll.Until(t, "the last webhook came 10 s ago, and the last status was created a minute ago", func() bool {
		c, err := s.stream.Channel(t.Context(), number)
		if err != nil {
			t.Fatal(err)
		}
		return c.LastWebhook.Equal(now.Add(-10*time.Second)) && c.LastStatus.Equal(now.Add(-time.Minute))
	})
	// Older times change nothing, and a time ahead of Redis's clock counts as now.
	err := s.stream.NoteReceived(t.Context(), map[message.Shard]message.LastReceived{shards.Of(number): {
		Any: now.Add(time.Hour), Statuses: map[string]time.Time{number: now.Add(-2 * time.Minute)},
	}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := s.stream.Channel(t.Context(), number)
	last, made := c.LastWebhook, c.LastStatus
	if err != nil || last.After(time.Now().Add(time.Second)) || last.Before(now) || !made.Equal(now.Add(-time.Minute)) {
		t.Errorf("the last webhook came at %s, the last status was created at %s, %v; now is %s", last, made, err, now)
	}
	if c, err := s.stream.Channel(t.Context(), "1"); err != nil || !c.LastWebhook.Equal(last) || !c.LastStatus.IsZero() || c.Reported {
		t.Errorf("for a number without a status: %+v, %v", c, err)
	}
}
