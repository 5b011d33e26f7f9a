package ledger_test

import (
	"context"
	"fmt"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/store"
)

// A message is accepted with its first task. A worker begins an attempt and records its outcome. Then a status
// arrives.
func Example() {
	ctx := context.Background()
	server, err := miniredis.Run() // a program calls store.Open with the URL of its Redis
	if err != nil {
		panic(err)
	}
	defer server.Close()
	db, err := store.New(ctx, redis.NewClient(&redis.Options{Addr: server.Addr(), DisableIdentity: true}))
	if err != nil {
		panic(err)
	}
	defer db.Close()
	records := ledger.New(db, ledger.Options{})

	const sender = "106540352242922"
	shard := message.DefaultShards.Of(sender)
	m := message.Message{
		ID: message.NewID(sender, "order-1001"), From: sender, Class: message.Utility, Hash: "of the request",
		ExpiresAt: time.Now().Add(time.Hour), Payload: []byte(`{"type":"text","text":{"body":"It has shipped."}}`),
		Content: message.Content{Type: "text", To: "+15551234567"},
	}
	order := ledger.Accepting{Message: m, Enqueue: func(w *store.Writes, _ time.Time) error {
		w.RPush(store.Key(shard, "tasks"), m.ID) // package queue adds a real task
		return nil
	}}
	for _, r := range records.Accept(ctx, []ledger.Accepting{order, order}) {
		fmt.Println(r.State, "duplicate:", r.Duplicate, r.Err)
	}

	epoch, err := records.CurrentEpoch(ctx, shard) // see Watch of package send
	if err == nil {
		err = records.BeginEpoch(ctx, shard, epoch.ID)
	}
	if err != nil {
		panic(err)
	}
	a, err := records.Begin(ctx, m.ID, 0, "worker-1/1", nil)
	fmt.Println(a.Verdict, "attempt", a.N, err)

	state, _, err := records.Finish(ctx, a, message.Move{To: message.Submitted, WAMID: "wamid.A"})
	fmt.Println(state, err)

	status := message.MarkedReport{StatusReport: message.StatusReport{Number: sender, WAMID: "wamid.A", Status: "delivered"}}
	results, err := records.Apply(ctx, shard, []message.MarkedReport{status, status}, nil)
	fmt.Println(results, err)

	r, err := records.Get(ctx, m.ID)
	fmt.Println(r.State, "after", len(r.Timeline), "steps", err)
	// Output:
	// queued duplicate: false <nil>
	// queued duplicate: true <nil>
	// go attempt 1 <nil>
	// submitted <nil>
	// [applied repeat] <nil>
	// delivered after 4 steps <nil>
}
