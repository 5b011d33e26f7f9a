package repository_test

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/admission"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/redistest"
	"sluice/internal/repository"
	"sluice/internal/store"
)

const number = "106540352242922"

// fixture is the messages of a Redis of the test's own.
type fixture struct {
	*repository.Messages
	t  *testing.T
	db *store.DB
}

// newFixture returns a fixture on whose servers attempts may begin.
func newFixture(t *testing.T) fixture {
	t.Helper()
	db, err := store.New(t.Context(), redistest.Client(t))
	if err != nil {
		t.Fatal(err)
	}
	records := ledger.New(db, ledger.Options{Ended: repository.DropTask})
	for _, s := range message.DefaultShards.All() {
		run, err := records.CurrentEpoch(t.Context(), s)
		if err == nil {
			err = records.BeginEpoch(t.Context(), s, run.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return fixture{repository.New(records, queue.NewClient(db, message.DefaultShards)), t, db}
}

// accept accepts a message, and returns its id.
func (f fixture) accept(key string) string {
	f.t.Helper()
	m := message.Message{
		ID: message.NewID(number, key), From: number, Class: message.Utility, Key: key,
		ExpiresAt: time.Now().Add(time.Hour),
		Payload:   json.RawMessage(`{"type":"text","text":{"body":"hello"}}`),
		Content:   message.Content{Type: "text", To: "+4915123456789"},
	}
	if err := admission.NewLoader(f.db, message.DefaultShards).Load(f.t.Context(), []message.Message{m}); err != nil {
		f.t.Fatal(err)
	}
	return m.ID
}

// attempt lets the first attempt of a message end with a move, and returns the message.
func (f fixture) attempt(id string, m message.Move) message.Open {
	f.t.Helper()
	a, err := f.Begin(f.t.Context(), id, 0, "w/1", nil)
	if err == nil {
		_, _, err = f.Finish(f.t.Context(), a, m)
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return f.look(id)
}

func (f fixture) look(id string) message.Open {
	f.t.Helper()
	o, err := f.ReadOpen(f.t.Context(), id)
	if err != nil {
		f.t.Fatal(err)
	}
	return o
}

// tasks returns asynq's tasks of the number that are in a state: pending or scheduled.
func (f fixture) tasks(state string) []string {
	f.t.Helper()
	key := "asynq:{" + message.DefaultShards.Of(number).String() + "}:" + number + ":utility}:" + state
	var ids []string
	var err error
	if state == "scheduled" {
		ids, err = f.db.ZRange(f.t.Context(), key, 0, -1).Result()
	} else {
		ids, err = f.db.LRange(f.t.Context(), key, 0, -1).Result()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	return ids
}

// TestResolveOnAFullRedis: a full Redis refuses the task, and then the record does not change.
func TestResolveOnAFullRedis(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	o := f.attempt(f.accept("1"), message.Move{To: message.InDoubt, In: time.Minute})
	f.db.ConfigSet(t.Context(), "maxmemory", "1")
	if done, err := f.Move(t.Context(), o, message.Move{To: message.Queued}); done || !redis.IsOOMError(err) {
		t.Errorf("%t, %v", done, err)
	}
	if got := f.look(o.ID).State; got != message.InDoubt {
		t.Errorf("state %s", got)
	}
}

// TestMove: a message that is to be sent again gets its next task with its new state, at once or later; another
// one loses its task. A message that something happened to meanwhile is not moved.
func TestMove(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	inDoubt := message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute}
	now, later, cancelled := f.accept("now"), f.accept("later"), f.accept("cancelled")
	seen := f.attempt(now, inDoubt)
	for i, want := range []bool{true, false} {
		if done, err := f.Move(t.Context(), seen, message.Move{To: message.Queued}); done != want || err != nil {
			t.Errorf("call %d: %t, %v", i, done, err)
		}
	}
	if err := f.Requeue(t.Context(), f.attempt(later, inDoubt), message.Move{To: message.Queued, In: time.Hour}); err != nil {
		t.Error(err)
	}
	if done, err := f.Move(t.Context(), f.look(cancelled), message.Move{To: message.Cancelled, Reason: message.ReasonResolved}); !done || err != nil {
		t.Errorf("cancel: %t, %v", done, err)
	}
	if got := f.tasks("pending"); !slices.Contains(got, now+".1") || slices.Contains(got, cancelled) {
		t.Errorf("pending %q: want the next task of %s and none of %s", got, now, cancelled)
	}
	if got := f.tasks("scheduled"); !slices.Equal(got, []string{later + ".1"}) {
		t.Errorf("scheduled %q: want the next task of %s", got, later)
	}
	if o := f.look(later); o.State != message.Queued || time.Until(o.NextAt) < 50*time.Minute {
		t.Errorf("%+v", o)
	}
}

// TestWithoutTask: of queued messages those are found whose task is gone, whatever else is gone.
func TestWithoutTask(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	kept, lost, ended := f.accept("kept"), f.accept("lost"), f.accept("ended")
	if _, err := f.Cancel(t.Context(), ended); err != nil {
		t.Fatal(err)
	}
	tasks := queue.NewClient(f.db, message.DefaultShards)
	drop := store.Change{Slot: ledger.RecordPrefix(message.DefaultShards.Of(number)), Decide: func(_ []string, w *store.Writes) error {
		repository.DropTask(w, message.DefaultShards.Of(number), f.look(lost))
		return nil
	}}
	if err := f.Transactions().Do(t.Context(), 0, drop); err != nil {
		t.Fatal(err)
	}
	gone, err := repository.New(f.Ledger, tasks).WithoutTask(t.Context(), []message.Open{f.look(kept), f.look(ended), f.look(lost)})
	if err != nil || len(gone) != 1 || gone[0].ID != lost {
		t.Errorf("%+v, %v, want %s", gone, err, lost)
	}
}
