package repository

import (
	"testing"

	"sluice/internal/config"
	"sluice/internal/dispatch"
	"sluice/internal/frequency"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
)

// TestMovedCountsOnce: a message that was counted and then moved to another number is within the cap that it has used, and another one is not.
func TestMovedCountsOnce(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	persons := people.New(db, people.Options{Hash: secrets.Hasher("a key", "recipient index"), Shards: 2, Owners: noAccounts{}})
	c := &Candidates{caps: frequency.New(db, persons, func(string) []config.FrequencyCap { return []config.FrequencyCap{{Messages: 1, Within: "24h"}} })}
	for _, tt := range []struct {
		id, from, moved string
		want            dispatch.Verdict
	}{
		{"a", "106540352242922", "", dispatch.Sendable},
		{"b", "1", "a", dispatch.Sendable},
		{"c", "1", "", dispatch.Suppressed},
	} {
		r := record.Record{Payload: `MAC{"to":"+16505551234"}`}
		r.ID, r.From, r.MovedFrom, r.Client, r.Class = tt.id, tt.from, tt.moved, "acme", message.Marketing
		out := []dispatch.Candidate{{Recipient: ratelimit.Recipient{1}}}
		if err := c.capped(t.Context(), []record.Record{r}, out); err != nil || out[0].Verdict != tt.want {
			t.Errorf("%s: verdict %d, want %d, %v", tt.id, out[0].Verdict, tt.want, err)
		}
	}
}
