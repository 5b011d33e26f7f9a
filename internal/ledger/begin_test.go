package ledger_test

import (
	"fmt"
	"reflect"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/record"
)

// TestBeginOnWhatChanged: a worker that read the record before something happened to it begins only
// what it would begin had it read it later.
func TestBeginOnWhatChanged(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		meanwhile func(f fixture, id string)
		verdict   message.Verdict
		state     message.State
	}{
		"nothing":                  {func(fixture, string) {}, message.Go, message.Attempting},
		"cancelled":                {func(f fixture, id string) { f.Cancel(f.t.Context(), id) }, message.Done, message.Cancelled},
		"another worker's attempt": {func(f fixture, id string) { f.begun(id, 0, "v/1") }, message.Busy, message.Attempting},
		"another worker's attempt that Meta took": {func(f fixture, id string) {
			f.finished(f.begun(id, 0, "v/1"), message.Move{To: message.Submitted, WAMID: "wamid.1"})
		}, message.Done, message.Submitted},
		"another worker's attempt that is to be repeated": {func(f fixture, id string) {
			f.finished(f.begun(id, 0, "v/1"), message.Move{To: message.Queued})
		}, message.Go, message.Attempting},
		"another worker's attempt that is to be repeated later": {func(f fixture, id string) {
			f.finished(f.begun(id, 0, "v/1"), message.Move{To: message.Queued, In: time.Hour})
		}, message.Early, message.Queued},
		"a report":      {func(f fixture, id string) { f.apply(report(id, 1, "wamid.1", "delivered")) }, message.Done, message.Delivered},
		"its next task": {func(f fixture, id string) { f.moved(f.look(id), message.Move{To: message.Queued}) }, message.Done, message.Queued},
		"its deadline":  {func(f fixture, id string) { f.edit(id, func(r *record.Record) { r.ExpiresAt = r.AcceptedAt }) }, message.Done, message.Expired},
		"this worker's own attempt, by a lost answer": {func(f fixture, id string) { f.begun(id, 0, "w/1") }, message.Go, message.Attempting},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on(t, func(t *testing.T, f fixture) {
				id := f.accepted("k")
				known := f.read(id)
				tt.meanwhile(f, id)
				before := f.read(id)
				a := f.begunAs(id, 0, "w/1", &known)
				if a.Verdict != tt.verdict {
					t.Errorf("begin: %+v, want %s", a, tt.verdict)
				}
				after := f.read(id)
				if after.State != tt.state {
					t.Errorf("it is %s, want %s", after.State, tt.state)
				}
				if a.Verdict == message.Go {
					if after.Token != "w/1" || a.N != after.Attempt || string(a.Payload) == "" || string(a.Payload) != after.Payload || a.Accepted != after.Incarnation() {
						t.Errorf("%+v, and the record has %+v", a, after)
					}
					return
				}
				if a.N != 0 || a.Expired == "" && !reflect.DeepEqual(before.Record, after.Record) {
					t.Errorf("changed by %+v: %+v, was %+v", a, after.Record, before.Record)
				}
				f.wantConsistent("at the end") // an entry without effect has none for all readers
			})
		})
	}
}

// TestBeginOnALostRecord: what was appended to a record that is gone is taken away, and does not keep
// the message from being accepted again.
func TestBeginOnALostRecord(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		id := f.accepted("k")
		key := ledger.RecordPrefix(f.shard) + id
		known := f.read(id)
		f.db.Del(t.Context(), key)
		if a := f.begunAs(id, 0, "w/1", &known); a.Verdict != message.Done {
			t.Errorf("%+v", a)
		}
		if n := f.db.Exists(t.Context(), key).Val(); n != 0 {
			t.Errorf("left behind: %q", f.db.Get(t.Context(), key).Val())
		}

		// A worker that died right after it had appended takes nothing away.
		garbage := string(record.Begun(0, "w/1", time.Now()))
		f.db.Set(t.Context(), key, garbage, 0)
		if got, err := f.tryAccept(newMessage("k")); err != nil || got.Duplicate {
			t.Errorf("accepted over it: %+v, %v", got, err)
		}
		if r := f.read(id); r.State != message.Queued || r.Attempt != 0 || r.Version() <= len(garbage) {
			t.Errorf("%+v, %d bytes", r, r.Version())
		}
		if a := f.begunAs(id, 0, "w/2", &known); a.Verdict != message.Go || a.N != 1 {
			t.Errorf("begin of what was read of the first record: %+v", a)
		}
		f.wantConsistent("at the end")
	})
}

// TestScriptsFlushed: SCRIPT FLUSH in Redis does not stop the sending.
func TestScriptsFlushed(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, f fixture) {
		ids := []string{f.accepted("1"), f.accepted("2")}
		for i, id := range ids {
			if err := f.db.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			a := f.begun(id, 0, fmt.Sprint("w/", i))
			if a.Verdict != message.Go {
				t.Errorf("%+v", a)
			}
			f.db.ScriptFlush(t.Context())
			if again := f.begun(id, 0, a.Token); again.Verdict != message.Go || again.N != 1 {
				t.Errorf("a repeat: %+v", again)
			}
			f.db.ScriptFlush(t.Context())
			f.finished(a, message.Move{To: message.Submitted, WAMID: "wamid." + id})
		}
	})
}
