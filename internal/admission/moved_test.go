package admission_test

import (
	"context"
	"encoding/json"
	"slices"
	"testing"
	"time"

	"sluice/internal/admission"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/signature"
	"sluice/internal/store"
)

// TestRepeatedAtAnotherNumber: a request at the number that sends the messages of a removed one is a duplicate of the same request at the
// removed number. Another request with that key is not, and one that the present number has accepted before is its own duplicate.
func TestRepeatedAtAnotherNumber(t *testing.T) {
	t.Parallel()
	f := newFixture(t, redistest.Start(t).Client())
	const second, third = "106540352242923", "106540352242924"
	a := admission.NewAcceptor(f.db, f.records, queue.NewClient(f.db, message.DefaultShards), message.DefaultShards, signature.New("0123456789abcdef", ""))
	at := func(number, key, hash string, earlier ...message.Earlier) message.Message {
		m := newMessage(key)
		m.ID, m.From, m.Hash, m.Earlier = message.NewID(number, key), number, hash, earlier
		m.Content.Type, m.Content.Template, m.Content.Language = "template", "sale", "en_US"
		m.Payload = json.RawMessage(`{"type":"template"}`)
		return m
	}
	move := func(id, to string) string {
		t.Helper()
		r, moving, err := f.records.MoveAway(t.Context(), id, to)
		if err != nil || !moving {
			t.Fatalf("moving %t: %v", moving, err)
		}
		err = f.records.AcceptMoved(t.Context(), &r, "+15551234567", record.Successor{Payload: []byte(r.Payload)}, func(*store.Writes, record.Record) error { return nil })
		if err != nil {
			t.Fatal(err)
		}
		return r.MovedTo
	}
	accept := func(m message.Message) message.Acceptance {
		t.Helper()
		got, err := a.Accept(t.Context(), m)
		if err != nil {
			t.Fatal(err)
		}
		return got
	}
	first, own := at(number, "moved", "hash"), at(third, "own", "hash of its own")
	stays := at(number, "stays", "hash")
	accept(first)
	accept(own)
	accept(stays)
	moved := move(move(first.ID, second), third)

	both := func(key, hash string) []message.Earlier {
		return []message.Earlier{{ID: message.NewID(second, key), Hash: hash + " of second"}, {ID: message.NewID(number, key), Hash: hash}}
	}
	repeated := at(third, "moved", "hash of third", both("moved", "hash")...)
	asked := []message.Message{
		repeated,
		at(third, "moved", "other", both("moved", "another request")...),
		at(third, "own", "hash of its own", both("own", "hash")...),
		at(third, "stays", "hash of third", both("stays", "hash")...),
		at(third, "new", "hash", both("new", "hash")...),
		at(third, "new too", "hash"),
	}
	other := repeated
	other.Client = "globex"
	other.ID = message.NewID(third, "globex\x00moved")
	asked = append(asked, other)
	want := []string{moved, "", own.ID, stays.ID, "", "", ""}
	if ids, err := a.Repeats(t.Context(), asked); err != nil || !slices.Equal(ids, want) {
		t.Errorf("%q, %v, want %q", ids, err, want)
	}
	for i, r := range a.AcceptAll(t.Context(), asked) {
		if id := want[i]; r.Err != nil || r.Duplicate != (id != "") || id != "" && r.ID != id || r.State != message.Queued {
			t.Errorf("%d: %+v, want %q", i, r, id)
		}
	}

	ctx, cancel := context.WithDeadline(t.Context(), time.Now())
	defer cancel()
	if r := a.AcceptAll(ctx, []message.Message{repeated})[0]; r.Err == nil {
		t.Errorf("what became of the earlier request cannot be read: %+v", r)
	}
}
