package dispatch

import (
	"crypto/sha256"
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/portfolio"
	"sluice/internal/queue"
)

// TestMessagingLimit: messages that the limit keeps wait apart, in their order, and others overtake them. Those that a hold keeps do
// not count. They come again when there is capacity, the urgent ones first.
func TestMessagingLimit(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	limits := portfolio.New(f.db, portfolio.Window)
	if err := limits.Learn(t.Context(), phone, "1", 100); err != nil { // 2 of them are reserved
		t.Fatal(err)
	}
	campaign, held, replies := many(110, phone, message.Marketing), many(115, phone, message.Marketing)[110:], many(3, phone, message.Service)
	codes := many(4, phone, message.Authentication)
	for i := range codes {
		codes[i].ID += "-code"
	}
	for i := range replies {
		replies[i].ID += "-reply"
	}
	record := func(tasks []queue.Task, c Candidate) {
		for i, task := range tasks {
			one := c
			one.Accepted = time.UnixMicro(int64(i + 1))
			if c.Person != (portfolio.Person{}) {
				sum := sha256.Sum256([]byte(task.ID))
				one.Person = portfolio.Person(sum[:8])
			}
			f.record(tasks[i:i+1], one)
		}
	}
	record(campaign, Candidate{Person: portfolio.Person{1}})
	record(held, Candidate{Person: portfolio.Person{1}, Template: "sale/en"})
	record(replies, Candidate{})
	record(codes, Candidate{Person: portfolio.Person{1}})
	if _, err := f.holds().Set(t.Context(), message.Hold{Number: phone, Template: "sale/en", Reason: "a test"}); err != nil {
		t.Fatal(err)
	}
	f.add(held...)
	f.add(campaign...)
	f.limit = limits
	c := f.stopClock()
	g, n := c.gate("w", 2000)
	got := take(t, g, n, 1000)
	if !slices.Equal(got, messageIDs(campaign[:98])) {
		t.Fatalf("taken %d: %q", len(got), got)
	}
	f.end(g, n, queue.Finished, got...)
	f.add(replies...)
	f.add(codes...)
	if got := take(t, g, n, 1000); !slices.Equal(got, messageIDs(slices.Concat(codes[:2], replies))) {
		t.Fatalf("after the limit was reached: %q", got)
	} else {
		f.end(g, n, queue.Finished, got...)
	}
	waits := queue.LimitedKey(shards.Of(phone), phone)
	if size := f.db.ZCard(t.Context(), waits).Val(); size != 14 || f.waiting(phone) != 14 {
		t.Errorf("%d wait, want 12 of the campaign and 2 codes; the backlog says %d", size, f.waiting(phone))
	}
	if g.tidyUp(t.Context(), n, true); f.db.ZCard(t.Context(), waits).Val() != 14 {
		t.Error("some came again without capacity")
	}
	if err := f.db.Del(t.Context(), "sluice:portfolio:{1}:people").Err(); err != nil {
		t.Fatal(err)
	}
	if err := limits.SetLimit(t.Context(), "1", 0); err != nil {
		t.Fatal(err)
	}
	g.tidyUp(t.Context(), n, true)
	if got := take(t, g, n, 1000); !slices.Equal(got, messageIDs(slices.Concat(codes[2:], campaign[98:]))) {
		t.Errorf("with capacity: %q", got)
	} else {
		f.end(g, n, queue.Finished, got...)
	}
	if f.db.Exists(t.Context(), waits).Val() != 0 {
		t.Error("something is left")
	}
}
