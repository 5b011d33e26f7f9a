package audit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/audit"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestLatest: entries of all shards come back with the time of Redis, the latest first, also those that an older version
// wrote.
func TestLatest(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	log := audit.New(db, message.DefaultShards)
	latest := func(limit int) []message.AuditEntry {
		t.Helper()
		entries, err := log.Latest(t.Context(), limit)
		if err != nil {
			t.Fatal(err)
		}
		return entries
	}
	if entries := latest(10); len(entries) != 0 {
		t.Errorf("an empty log: %+v", entries)
	}
	for s, id := range map[message.Shard]string{3: "1000-0", 0: "2000-0"} {
		err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: audit.Key(s), ID: id, Values: []any{"deed", `{"verb":"hold","on":"` + s.String() + `"}`}}).Err()
		if err != nil {
			t.Fatal(err)
		}
	}
	err = db.Transactions(false).Do(t.Context(), 0, store.Change{Slot: audit.Key(5), Decide: func(_ []string, w *store.Writes) error {
		audit.Append(w, 5, `{"verb":"not-sent","on":"s05"}`)
		return nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	added := message.AuditEntry{Verb: message.VerbReplay, On: "number 1", Actor: "bert", Key: "console", Reason: "why"}
	if err := log.Add(t.Context(), added); err != nil {
		t.Fatal(err)
	}
	entries := latest(3)
	if len(entries) != 3 || entries[2].On != "s00" || !entries[2].At.Equal(time.UnixMilli(2000)) {
		t.Fatalf("%+v, want 3, the last of them that of shard 0", entries)
	}
	for i := range entries[:2] {
		if since := time.Since(entries[i].At).Abs(); since > time.Minute {
			t.Errorf("%+v: time is %s off", entries[i], since)
		}
		entries[i].At = time.Time{}
	}
	for _, want := range []message.AuditEntry{added, {Verb: message.VerbNotSent, On: "s05"}} {
		if !slices.Contains(entries[:2], want) {
			t.Errorf("%+v has no %+v", entries[:2], want)
		}
	}
}

// TestUnreadableEntries: an entry that cannot be read is listed as such, and the others all the same.
func TestUnreadableEntries(t *testing.T) {
	t.Parallel()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	for id, values := range map[string][]any{
		"1000-0": {audit.Field, `{"verb":"hold"`},
		"2000-0": {audit.Field, `{"verb":"hold","on":"all"}`},
		"3000-0": {"one", "two", "three", "four"},
		"4000-0": {audit.Field, `{"verb":7}`},
	} {
		shard := message.Shard(id[0] - '0')
		if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: audit.Key(shard), ID: id, Values: values}).Err(); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := audit.New(db, message.DefaultShards).Latest(t.Context(), 10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.At.Format("05")+" "+e.Verb+" "+e.On)
	}
	want := []string{"04 unreadable " + audit.Key(4) + " 4000-0", "03 unreadable " + audit.Key(3) + " 3000-0", "02 hold all", "01 unreadable " + audit.Key(1) + " 1000-0"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}
