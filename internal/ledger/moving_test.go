package ledger_test

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
	"sluice/internal/store"
)

const otherNumber = "106540352242999"

// TestMove: each step of a move can be repeated, and a move that ended after any step is found and finished. The message of the other
// number exists once, with one task.
func TestMove(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		for _, steps := range []int{1, 2, 3} { // before the worker died
			m := newMessage("key")
			m.ID, m.Campaign = message.NewID(number, string(rune('a'+steps))), "spring"
			m.Content.Type, m.Content.Template, m.Content.Language = "template", "sale", "en_US"
			f.acceptedAs(m)
			away := func() record.Record {
				t.Helper()
				r, moving, err := f.MoveAway(t.Context(), m.ID, otherNumber)
				if err != nil || !moving {
					t.Fatalf("moving %t: %v", moving, err)
				}
				return r
			}
			cancel := func(want message.State) {
				t.Helper()
				if st, err := f.Cancel(t.Context(), m.ID); st != want || (err == nil) != (want != "") {
					t.Errorf("after step %d: %s, %v, want %q", steps, st, err, want)
				}
			}
			accept := func(r record.Record) {
				t.Helper()
				err := f.AcceptMoved(t.Context(), &r, full, record.Successor{Payload: m.Payload}, func(w *store.Writes, made record.Record) error {
					w.RPush(store.Key(message.DefaultShards.Of(otherNumber), tasks), made.ID)
					return nil
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			r := away()
			cancel("") // nothing is there that could be cancelled
			if steps > 1 {
				accept(r)
			}
			if steps > 2 {
				if err := f.EndMove(t.Context(), m.ID); err != nil {
					t.Fatal(err)
				}
			}

			ids, err := f.Moving(t.Context(), "", 10)
			if own, e := f.Moving(t.Context(), number, 10); err != nil || e != nil || slices.Contains(ids, m.ID) != (steps < 3) || !slices.Equal(ids, own) {
				t.Errorf("after step %d these are moving: %v, of the number %v, %v %v", steps, ids, own, err, e)
			}
			if _, list, err := f.Inspect(t.Context(), m.ID); err != nil || (len(list) == 1 && list[0].List == message.ListMoving) != (steps < 3) {
				t.Errorf("after step %d: %v, %v", steps, list, err)
			}
			if steps < 3 {
				r, moving, err := f.ReadMoving(t.Context(), m.ID)
				if err != nil || !moving || r.MovedTo != away().MovedTo {
					t.Fatalf("moving %t: %v", moving, err)
				}
				accept(r)
				accept(r)
				if err := f.EndMove(t.Context(), m.ID); err != nil {
					t.Fatal(err)
				}
			}
			if err := f.EndMove(t.Context(), m.ID); err != nil {
				t.Fatal(err)
			}
			if _, moving, err := f.ReadMoving(t.Context(), m.ID); moving || err != nil {
				t.Errorf("moving %t: %v", moving, err)
			}
			old, next := f.get(m.ID), f.get(r.MovedTo)
			if old.State != message.Cancelled || old.Reason != message.ReasonMoved || next.State != message.Queued || next.MovedFrom != m.ID || next.Ref != m.Ref {
				t.Errorf("%+v\n%+v", old, next)
			}
			n := 0
			for _, task := range f.db.LRange(t.Context(), store.Key(message.DefaultShards.Of(otherNumber), tasks), 0, -1).Val() {
				if task == next.ID {
					n++
				}
			}
			if n != 1 {
				t.Errorf("%d tasks", n)
			}
			cancel(message.Cancelled)
			if next := f.get(r.MovedTo); next.State != message.Cancelled || next.Reason != message.ReasonCaller {
				t.Errorf("%+v", next)
			}
			if found, err := f.ByRecipient(t.Context(), []string{otherNumber}, full); err != nil || len(found) != steps {
				t.Errorf("found by the recipient: %d, %v", len(found), err)
			}
			campaigns, err := f.Campaigns(t.Context(), "")
			if err == nil {
				err = f.CampaignProgress(t.Context(), campaigns)
			}
			if err != nil || len(campaigns) != 1 || len(campaigns[0].Counts) != 1 || campaigns[0].Counts[0].Number != otherNumber || campaigns[0].Counts[0].Count != steps {
				t.Errorf("the campaign counts %+v, %v", campaigns, err)
			}
		}
	})
}

// TestAMoveOutlivesARetention: if no worker runs for long, the content of a message that is being moved is still there.
func TestAMoveOutlivesARetention(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("key")
		m.Content.Type, m.Content.Template, m.Content.Language = "template", "sale", "en_US"
		m.ExpiresAt = time.Now().Add(90 * day)
		f.acceptedAs(m)
		if _, moving, err := f.MoveAway(t.Context(), m.ID, otherNumber); err != nil || !moving {
			t.Fatalf("moving %t: %v", moving, err)
		}
		f.purges(0)
		f.ages(8) // a cancelled message ends after 7
		f.purges(0)
		if _, moving, err := f.ReadMoving(t.Context(), m.ID); err != nil || !moving {
			t.Fatalf("moving %t: %v", moving, err)
		}
		if err := f.EndMove(t.Context(), m.ID); err != nil {
			t.Fatal(err)
		}
		if r, err := f.Read(t.Context(), m.ID); err == nil && !r.Tombstone() || err != nil && !errors.Is(err, message.ErrNotFound) {
			t.Errorf("its record has not ended: %+v, %v", r, err)
		}
	})
}

// TestAMessageInDoubtIsNotMoved: nor one whose attempt is under way, and one that is not there.
func TestAMessageInDoubtIsNotMoved(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		m := newMessage("key")
		m.Content.Type, m.Content.Template, m.Content.Language = "template", "sale", "en_US"
		m.Payload = json.RawMessage(`{"type":"template"}`)
		f.acceptedAs(m)
		a := f.begun(m.ID, 0, "w/1")
		for _, want := range []message.State{message.Attempting, message.InDoubt} {
			if _, moving, err := f.MoveAway(t.Context(), m.ID, otherNumber); moving || err != nil {
				t.Errorf("moving %t: %v", moving, err)
			}
			f.wantState(m.ID, want)
			if want == message.Attempting {
				f.finished(a, inDoubt)
			}
		}
		if _, moving, err := f.MoveAway(t.Context(), message.NewID(number, "missing"), otherNumber); moving || err != nil {
			t.Errorf("moving %t: %v", moving, err)
		}
	})
}
