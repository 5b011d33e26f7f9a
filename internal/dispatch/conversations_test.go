package dispatch

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// TestConversationsOfOtherApps: messages in the conversation of another app wait apart, and delay no others to the same person. They
// try again at their time, one of a person, and all when the conversation has no other owner.
func TestConversationsOfOtherApps(t *testing.T) {
	t.Parallel()
	f := setupRecords(t)
	c := f.stopClock()
	person := ratelimit.Recipient{'a'}
	replies, sale := many(3, phone, message.Service), many(2, phone, message.Marketing)
	f.add(replies...)
	f.add(sale...)
	again := c.base.Add(10 * time.Minute)
	for i := range replies {
		f.record(replies[i:i+1], Candidate{Verdict: Elsewhere, Recipient: person, At: again, Accepted: time.UnixMicro(int64(i + 1))})
	}
	f.record(sale, Candidate{Recipient: person})
	g, n := c.gate("w", 2000)
	taken := func(want ...string) {
		t.Helper()
		var got []string
		for range 1 + len(want) { // after tasks that could not be sent, several are fetched for a slot
			some := take(t, g, n, 100)
			f.end(g, n, queue.Finished, some...)
			got = append(got, some...)
		}
		if !slices.Equal(got, want) {
			t.Errorf("taken %q, want %q", got, want)
		}
	}
	taken(messageIDs(sale)...)
	wait := func(people int) {
		t.Helper()
		r, err := f.rates(1).Read(t.Context(), phone)
		if err != nil || r.Elsewhere != people || f.waiting(phone) != 3*people {
			t.Errorf("%d people, %d messages wait, %v", r.Elsewhere, f.waiting(phone), err)
		}
	}
	wait(1)
	if missing, err := f.client.Missing(t.Context(), replies); err != nil || len(missing) > 0 {
		t.Errorf("missing %v, %v", missing, err)
	}
	g.tidyUp(t.Context(), n, true)
	taken()
	at := func(d time.Duration) {
		c.set(d)
		n.setClock(t, c.base.Add(d))
		g.tidyUp(t.Context(), n, true)
	}
	at(10 * time.Minute)
	taken() // the first of the person was tried
	wait(1)
	f.record(replies, Candidate{Recipient: person})
	at(10*time.Minute + time.Second)
	taken()
	err := f.db.Pipe(t.Context(), func(p redis.Pipeliner) {
		queue.ReleaseConversation(t.Context(), p, n.shard, phone, person, c.base)
	})
	if err != nil {
		t.Fatal(err)
	}
	g.tidyUp(t.Context(), n, true)
	taken(messageIDs(replies)...)
	wait(0)
	if keys := append(f.db.Keys(t.Context(), "sluice:*:waits:*").Val(), f.db.Keys(t.Context(), "sluice:*:conversations:*").Val()...); len(keys) != 0 {
		t.Errorf("left: %q", keys)
	}
}
