package app_test

import (
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/app"
	"sluice/internal/cloudapi"
	"sluice/internal/config"
	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	formerKey = "0123456789abcdef"
	newKey    = "fedcba9876543210"
)

// reconciler is the configuration of a worker that applies statuses, of an installation with one shard.
func reconciler(redisURL, environment, key, second string) config.Worker {
	return config.Worker{
		Common: config.Common{
			Environment: environment, Shards: 1, Ops: "127.0.0.1:0", Numbers: []config.Number{{ID: number, Rate: 80}},
			Redis: config.Redis{URL: config.Secret(redisURL), Durability: config.Relaxed}, Graph: config.Graph{BaseURL: "http://127.0.0.1:1", Version: "v25.0"},
		},
		Roles: []string{config.RoleReconcile}, MarkerKey: config.Secret(key), SecondMarkerKey: config.Secret(second),
		Tokens: config.FixedTokens(map[string]string{number: "token"}), KeyLife: 720 * time.Hour,
		Retry: config.Retry{Base: time.Second, Max: time.Minute, Attempts: 5},
	}
}

// book returns a ledger with one shard, and its store.
func book(t *testing.T, redisURL string) (*ledger.Ledger, *store.DB) {
	t.Helper()
	db, err := store.Open(t.Context(), redisURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return ledger.New(db, ledger.Options{Shards: 1}), db
}

func accept(t *testing.T, book *ledger.Ledger, key string) (id string) {
	t.Helper()
	m := message.Message{
		ID: message.NewID(number, key), From: number, Class: message.Utility, Key: key, Hash: "hash", ExpiresAt: time.Now().Add(time.Hour),
		Payload: []byte(`{"type":"text"}`), Content: message.Content{Type: "text", To: "+15551234567"},
	}
	r := book.Accept(t.Context(), []ledger.Accepting{{Message: m, Enqueue: func(*store.Writes, time.Time) error { return nil }}})
	if r[0].Err != nil {
		t.Fatal(r[0].Err)
	}
	return m.ID
}

// becomes waits until is returns true for the record of a message.
func becomes(t *testing.T, book *ledger.Ledger, id string, is func(record.Record) bool) {
	t.Helper()
	poll.Until(t, "the record is as expected", func() bool {
		r, err := book.Read(t.Context(), id)
		return err == nil && is(r)
	})
}

// TestAnotherInstallationDoesNotStart: a second installation on the same Redis would not read the markers of
// the first one. While an operator changes the key, workers read the markers of both keys.
func TestAnotherInstallationDoesNotStart(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	worker := func(environment, key, second string) (*app.Program, error) {
		return app.NewWorker(t.Context(), reconciler(url, environment, key, second), slog.New(slog.DiscardHandler))
	}
	first, err := worker("prod", formerKey, newKey)
	if err != nil {
		t.Fatal(err)
	}
	run(t, first)
	for _, other := range [][2]string{{"staging", formerKey}, {"prod", newKey}} {
		if _, err := worker(other[0], other[1], ""); !errors.Is(err, ledger.ErrInstallation) {
			t.Errorf("%s: %v", other[0], err)
		}
	}
	second, err := worker("prod", newKey, formerKey)
	if err != nil {
		t.Fatal(err)
	}
	run(t, second)

	records, db := book(t, url)
	for name, key := range map[string]string{"the former": formerKey, "the new": newKey} {
		id := accept(t, records, name)
		marker := cloudapi.NewMarks("prod", []byte(key)).Make(id, 1, 0)
		event := fmt.Sprintf(`{"v":2,"type":"status","at":%d,"phone_number_id":%q,"report":{"phone_number_id":%q,"wamid":"wamid.%s","status":"delivered","marker":%q}}`,
			time.Now().UnixMilli(), number, number, strings.Fields(name)[1], marker)
		if err := db.XAdd(t.Context(), &redis.XAddArgs{Stream: events.MetaKey(message.Shard(0)), Values: []any{events.Field, event}}).Err(); err != nil {
			t.Fatal(err)
		}
		becomes(t, records, id, func(r record.Record) bool { return r.State == message.Delivered })
	}
}

// TestWorkersKeepKeys: a worker replaces a record whose life is over with a tombstone, for the configured time.
func TestWorkersKeepKeys(t *testing.T) {
	t.Parallel()
	url := redistest.Start(t).URL()
	records, db := book(t, url)
	id := accept(t, records, "k")
	if st, err := records.Cancel(t.Context(), id); err != nil || st != message.Cancelled {
		t.Fatal(st, err)
	}
	r, err := records.Read(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	ended := time.Now().Add(-8 * 24 * time.Hour)
	r.Timeline[len(r.Timeline)-1].At = ended
	hour := time.Now().Unix() / 3600
	_, err = db.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		s := message.Shard(0)
		p.Set(t.Context(), ledger.RecordPrefix(s)+id, r.Encode(), 0)
		p.RPush(t.Context(), store.Key(s, "ended:"+strconv.FormatInt(hour-1, 10)), id)
		p.Set(t.Context(), store.Key(s, "forgotten"), hour-2, 0)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	c := reconciler(url, "prod", formerKey, "")
	c.Roles = []string{config.RoleSend}
	p, err := app.NewWorker(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	run(t, p)
	becomes(t, records, id, func(r record.Record) bool { return r.Tombstone() })
	left, err := records.Read(t.Context(), id)
	if want := ended.Add((7 + 30) * 24 * time.Hour); err != nil || left.KeyUntil.Sub(want).Abs() > time.Second {
		t.Errorf("its key is remembered until %s, %v; want %s", left.KeyUntil, err, want)
	}
}
