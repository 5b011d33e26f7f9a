package events_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/events"
	"sluice/internal/message"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// An event that always fails must not delay others for long, and must not be lost.
func TestPoisonGoesToTheDeadStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		for n := range 50 {
			appendAll(t, s, statuses(numberA, n, n+1))
		}
		got := newSeen()
		var tries atomic.Int32
		read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
			for _, e := range batch {
				if e.Report.WAMID == "wamid.7" {
					if len(batch) == 1 {
						tries.Add(1)
					}
					return false, fmt.Errorf("apply: %w", message.ErrUnreadable)
				}
			}
			return got.handle(ctx, shard, batch, also)
		})
		if all := got.until(t, 49); !slices.Equal(all, slices.Concat(wamids(0, 7), wamids(8, 50))) {
			t.Errorf("got %v", all)
		}
		applied(t, s)
		dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
		original := db.XRangeN(t.Context(), events.MetaKey(shards.Of(numberA)), "-", "+", 8).Val()[7]
		if len(dead) != 1 || dead[0].Values["id"] != original.ID || dead[0].Values[events.Field] != original.Values[events.Field] {
			t.Errorf("dead letter %v, want it made of %v", dead, original)
		}
		if n := tries.Load(); n != 5 {
			t.Errorf("tried %d times, want 5", n)
		}
	})
}

// Only the failing events of an entry become dead letters.
func TestPoisonAmongOthersInAnEntry(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, statuses(numberA, 0, 20))
	got := newSeen()
	read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		for _, e := range batch {
			if id := e.Report.WAMID; id == "wamid.7" || id == "wamid.9" {
				return false, fmt.Errorf("apply: %w", message.ErrUnreadable)
			}
		}
		return got.handle(ctx, shard, batch, also)
	})
	applied(t, s)
	want := slices.DeleteFunc(wamids(0, 20), func(id string) bool { return id == "wamid.7" || id == "wamid.9" })
	if all := got.all(); !slices.Equal(all, want) {
		t.Errorf("got %v", all)
	}
	dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
	if len(dead) != 1 {
		t.Fatalf("dead: %v", dead)
	}
	text := dead[0].Values[events.Field].(string)
	if strings.Count(text, "\n") != 1 || !strings.Contains(text, `"wamid.7"`) || !strings.Contains(text, `"wamid.9"`) {
		t.Errorf("dead: %v", dead)
	}
}

// Faults of Redis or of Sluice make no event a dead letter: all events are applied when the fault is gone.
func TestAnOutageDeadLettersNothing(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	s := events.New(db, shards, events.Options{})
	appendAll(t, s, statuses(numberA, 0, 20))
	got := newSeen()
	faults := []error{
		context.DeadlineExceeded, errors.New("a fault of Sluice"), reply("NOAUTH Authentication required."), reply("LOADING Redis is loading the dataset in memory"),
		reply("ERR max number of clients reached"), reply("NOSCRIPT No matching script."),
	}
	var n atomic.Int32
	read(t, s, "one", func(ctx context.Context, shard message.Shard, batch []message.Event, also map[string]string) (bool, error) {
		if i := int(n.Add(1)) - 1; i < len(faults) {
			return false, fmt.Errorf("apply: %w", faults[i])
		}
		return got.handle(ctx, shard, batch, also)
	})
	if all := got.until(t, 20); !slices.Equal(all, wamids(0, 20)) {
		t.Errorf("got %v", all)
	}
	if n := db.XLen(t.Context(), events.DeadKey(shards.Of(numberA))).Val(); n != 0 {
		t.Errorf("%d dead letters", n)
	}
}

// reply is an error reply of Redis.
type reply string

func (r reply) Error() string { return string(r) }

func (reply) RedisError() {}

// The content of an entry causes only failing scripts and undecodable data.
func TestEntryFault(t *testing.T) {
	t.Parallel()
	var n int
	unreadable := json.Unmarshal([]byte(`"x"`), &n)
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{message.ErrUnreadable, true},
		{unreadable, true},
		{json.Unmarshal([]byte(`{`), &n), true},
		{reply("WRONGTYPE Operation against a key holding the wrong kind of value"), true},
		{reply("ERR user_script:3: attempt to compare nil with number script: 1f, on @user_script:3."), true},
		{reply("OOM command not allowed when used memory > 'maxmemory'. script: 1f, on @user_script:3."), false},
		{reply("ERR Script attempted to access a non local key in a cluster node script: 1f, on @user_script:3."), false},
		{reply("ERR max number of clients reached"), false},
		{reply("NOREPLICAS Not enough good replicas to write."), false},
		{io.EOF, false},
		{errors.New("a fault of Sluice"), false},
	} {
		if got := events.EntryFault(fmt.Errorf("apply: %w", tt.err)); got != tt.want {
			t.Errorf("%v: fault of the entry %v, want %v", tt.err, got, tt.want)
		}
	}
}

// Unreadable lines become dead letters at once. The other events of the entry are applied.
func TestUnreadableEntriesGoToTheDeadStream(t *testing.T) {
	on(t, func(t *testing.T, db *store.DB) {
		s := events.New(db, shards, events.Options{})
		key := events.MetaKey(shards.Of(numberA))
		add(t, db, key, "*", events.Field, "{")
		add(t, db, key, "*", "other", "field")
		appendAll(t, s, statuses(numberA, 0, 2))
		add(t, db, key, "*", events.Field, line(numberA, 2)+"\n[1]\n"+line(numberA, 3))
		appendAll(t, s, statuses(numberA, 4, 6))
		got := newSeen()
		read(t, s, "one", got.handle)
		if all := got.until(t, 6); !slices.Equal(all, wamids(0, 6)) {
			t.Errorf("got %v", all)
		}
		applied(t, s)
		dead := db.XRange(t.Context(), events.DeadKey(shards.Of(numberA)), "-", "+").Val()
		if len(dead) != 3 || dead[0].Values[events.Field] != "{" || dead[1].Values["other"] != "field" ||
			dead[2].Values[events.Field] != "[1]" || dead[1].Values["why"] != "unreadable" {
			t.Errorf("dead: %v", dead)
		}
	})
}

// Events of a later version wait for a worker that can read them: their statuses would be lost.
func TestEventsOfALaterVersionWait(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	log := make(lines, 1000)
	s := events.New(db, shards, events.Options{Log: slog.New(slog.NewTextHandler(log, nil))})
	appendAll(t, s, statuses(numberA, 0, 5))
	later := fmt.Sprintf(`{"v":%d,"kind":"status","phone_number_id":%q}`, message.EventVersion+1, numberA)
	db.XAdd(t.Context(), &redis.XAddArgs{Stream: events.MetaKey(shards.Of(numberA)), Values: []any{events.Field, later}})
	appendAll(t, s, statuses(numberA, 5, 6))
	got := newSeen()
	read(t, s, "one", got.handle)
	if all := got.until(t, 5); !slices.Equal(all, wamids(0, 5)) {
		t.Errorf("got %v", all)
	}
	for !strings.Contains(<-log, "upgrade the workers") {
	}
	if all := got.until(t, 5); len(all) != 5 || db.XLen(t.Context(), events.DeadKey(shards.Of(numberA))).Val() != 0 {
		t.Errorf("got %v, and the dead-letter stream is not empty", all)
	}
}

// lines are the lines of a log.
type lines chan string

func (l lines) Write(line []byte) (int, error) {
	l <- string(line)
	return len(line), nil
}
