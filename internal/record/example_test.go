package record_test

import (
	"fmt"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// A message is accepted, an attempt begins, Meta takes it, and its statuses come in the wrong order.
func ExampleRecord_Decide() {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	r := record.New(message.Message{
		ID: message.NewID("106540352242922", "order-1001"), From: "106540352242922", Class: message.Utility,
		Payload: []byte(`{"to":"+15551234567","type":"text","text":{"body":"It has shipped."}}`), ExpiresAt: at.Add(time.Hour),
	}, "", at)
	fmt.Println(r.State)

	const token = "worker-1/1"
	r, begin := r.Begin(r.Task, token, at.Add(time.Second))
	fmt.Println(r.State, begin.Verdict)

	r, d := r.Decide(record.Input{Kind: record.Outcome, At: at.Add(2 * time.Second), Attempt: 1, Token: token, Move: message.Move{To: message.Submitted, WAMID: "wamid.A"}})
	fmt.Println(r.State, d.Applied)

	r, d = r.Decide(record.Input{Kind: record.Status, At: at.Add(3 * time.Second), Attempt: 1, Move: message.Move{To: message.Delivered, WAMID: "wamid.A"}})
	fmt.Println(r.State, d.Applied)

	r, d = r.Decide(record.Input{Kind: record.Status, At: at.Add(4 * time.Second), Attempt: 1, Move: message.Move{To: message.Sent, WAMID: "wamid.A"}})
	fmt.Println(r.State, d.Applied)
	// Output:
	// queued
	// attempting go
	// submitted true
	// delivered true
	// delivered false
}
