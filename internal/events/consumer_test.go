package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// The code from here to the mark is in docs/events.md.

// consume calls handle with every event of the streams, until ctx ends. Each consumer of the group needs a
// different name.
func consume(ctx context.Context, rdb *redis.Client, group, name string, streams []string, handle func(event []byte) error) error {
	for _, s := range streams {
		err := rdb.XGroupCreateMkStream(ctx, s, group, "$").Err()
		if err != nil && !strings.HasPrefix(err.Error(), "BUSYGROUP") {
			return err
		}
	}
	each := func(stream string, entries []redis.XMessage) error {
		for _, entry := range entries {
			text, _ := entry.Values["events"].(string)
			for line := range strings.SplitSeq(text, "\n") {
				if err := handle([]byte(line)); err != nil {
					return err // without an acknowledgement the whole entry comes again
				}
			}
			if err := rdb.XAck(ctx, stream, group, entry.ID).Err(); err != nil {
				return err
			}
		}
		return nil
	}
	newest := slices.Repeat([]string{">"}, len(streams))
	for ctx.Err() == nil {
		// First the entries that another consumer read more than a minute ago and has not acknowledged.
		for _, s := range streams {
			entries, _, err := rdb.XAutoClaim(ctx, &redis.XAutoClaimArgs{
				Stream: s, Group: group, Consumer: name, MinIdle: time.Minute, Start: "0-0", Count: 100,
			}).Result()
			if err != nil {
				return err
			}
			if err := each(s, entries); err != nil {
				return err
			}
		}
		// Then new entries.
		found, err := rdb.XReadGroup(ctx, &redis.XReadGroupArgs{
			Group: group, Consumer: name, Streams: slices.Concat(streams, newest), Count: 100, Block: 5 * time.Second,
		}).Result()
		if err != nil && !errors.Is(err, redis.Nil) {
			return err
		}
		for _, f := range found {
			if err := each(f.Stream, f.Messages); err != nil {
				return err
			}
		}
	}
	return nil
}

// The mark: end of the code in docs/events.md.

// TestTheDocumentedConsumer: it gets every event, and after a failure the remaining ones.
func TestTheDocumentedConsumer(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	rdb := db.UniversalClient.(*redis.Client)
	streams := []string{events.MetaKey(shards.Of(numberA)), events.MetaKey(shards.Of(numberB))}
	for _, key := range streams {
		if err := db.XGroupCreateMkStream(t.Context(), key, "crm", "0").Err(); err != nil {
			t.Fatal(err)
		}
	}
	appendAll(t, s, append(statuses(numberA, 0, 150), statuses(numberB, 150, 160)...))
	got := map[string]bool{}
	broken := errors.New("broken")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	err := consume(ctx, rdb, "crm", "one", streams, func(line []byte) error {
		var e message.Event
		if err := json.Unmarshal(line, &e); err != nil {
			t.Errorf("%v in %s", err, line)
			return err
		}
		if e.Report.WAMID == "wamid.120" { // in the second entry
			return broken
		}
		got[e.Report.WAMID] = true
		return nil
	})
	if !errors.Is(err, broken) || len(got) != 120 {
		t.Fatalf("%v after %d events", err, len(got))
	}
	// Another consumer reclaims the entry after a minute. The test does not wait for the minute.
	for _, key := range streams {
		for _, p := range db.XPendingExt(t.Context(), &redis.XPendingExtArgs{Stream: key, Group: "crm", Start: "-", End: "+", Count: 100}).Val() {
			err := db.Do(t.Context(), "XCLAIM", key, "crm", "one", 0, p.ID, "IDLE", time.Hour.Milliseconds(), "JUSTID").Err()
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	var once sync.Once
	err = consume(ctx, rdb, "crm", "two", streams, func(line []byte) error {
		var e message.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return err
		}
		if got[e.Report.WAMID] = true; len(got) == 160 {
			once.Do(cancel)
		}
		return nil
	})
	if len(got) != 160 {
		t.Errorf("%v after %d events", err, len(got))
	}
	for n := range 160 {
		if !got[fmt.Sprintf("wamid.%d", n)] {
			t.Errorf("%d is missing", n)
		}
	}
}
