package ledger_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/poll"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// remembered is what a worker remembers of an attempt.
func remembered(a message.Attempt, m *message.Move) message.RememberedAttempt {
	return message.RememberedAttempt{ID: a.ID, N: a.N, Token: a.Token, Since: time.Now(), Move: m}
}

// TestRewind: a Redis that is thrown back takes no attempt until a worker has met it, and what
// the worker remembers ends where it would have ended.
func TestRewind(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	f := newFixture(t, server.Client())
	ctx := t.Context()
	wamid := func(i string) *message.Move { return &message.Move{To: message.Submitted, WAMID: "wamid." + i} }

	// Before the moment to which Redis will be thrown back.
	waiting := f.accepted("intent lost")
	answered := f.accepted("intent and answer lost")
	unclear := f.accepted("an in-doubt outcome lost")
	underway := f.attempting("answer lost")
	done := f.attempting("all kept")
	f.finished(done, *wamid("kept"))
	never := f.accepted("not begun")

	kept := map[string]string{}
	for _, k := range f.db.Keys(ctx, "*").Val() {
		kept[k] = f.db.Dump(ctx, k).Val()
	}

	// What is lost.
	lost := f.accepted("accepted and lost")
	gone := f.begun(lost, 0, "w/9")
	memories := []message.RememberedAttempt{
		remembered(f.begun(waiting, 0, "w/1"), nil),
		remembered(done, wamid("kept")),
		remembered(gone, nil),
	}
	a := f.begun(answered, 0, "w/2")
	f.finished(a, *wamid("answered"))
	memories = append(memories, remembered(a, wamid("answered")))
	d := f.begun(unclear, 0, "w/3")
	inDoubt := message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute}
	f.finished(d, inDoubt)
	memories = append(memories, remembered(d, &inDoubt))
	f.finished(underway, *wamid("underway"))
	memories = append(memories, remembered(underway, wamid("underway")))

	server.Kill()
	server.Restart()
	f.db.FlushAll(ctx)
	for k, v := range kept {
		if err := f.db.Restore(ctx, k, 0, v).Err(); err != nil {
			t.Fatal(err)
		}
	}

	if a := f.begun(never, 0, "w/5"); a.Verdict != message.Restarted {
		t.Fatalf("begin on a server that nobody met: %s", a.Verdict)
	}
	run, err := f.CurrentEpoch(ctx, f.shard)
	if err != nil || run.Ready {
		t.Fatalf("%+v, %v", run, err)
	}
	for _, want := range []message.LostWrites{{Intents: 3, Outcomes: 1, Records: 1}, {Records: 1}} { // to repeat it changes nothing
		if got, err := f.Replay(ctx, f.shard, memories); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		f.wantState(waiting, message.Attempting)
		f.wantState(answered, message.Submitted)
		f.wantState(unclear, message.InDoubt)
		f.wantState(underway.ID, message.Submitted)
		f.wantState(done.ID, message.Submitted)
		f.wantState(never, message.Queued)
		if b := f.backlog(); b != (ledger.Backlog{Waiting: 2, InDoubt: 1}) {
			t.Errorf("%+v", b)
		}
	}
	if a := f.begun(never, 0, "w/5"); a.Verdict != message.Restarted {
		t.Fatalf("begin on a server that is not trusted: %s", a.Verdict)
	}
	if err := f.BeginEpoch(ctx, f.shard, run.ID); err != nil {
		t.Fatal(err)
	}
	if a := f.begun(never, 0, "w/5"); a.Verdict != message.Go {
		t.Fatalf("begin on a trusted server: %s", a.Verdict)
	}
	// The attempt under way ends as any other.
	if st := f.finished(message.Attempt{ID: waiting, N: 1, Token: "w/1"}, *wamid("late")); st != message.Submitted {
		t.Errorf("%s", st)
	}
}

// restarted kills a server, and restarts it on its data.
func (f fixture) restarted(server *redistest.Server) {
	f.t.Helper()
	server.Kill()
	server.Restart()
	poll.Until(f.t, "Redis answers", func() bool { return f.db.Ping(f.t.Context()).Err() == nil })
}

// trusts meets the server of the shard and trusts it.
func (f fixture) trusts() {
	f.t.Helper()
	run, err := f.CurrentEpoch(f.t.Context(), f.shard)
	for range 100 { // a client that does not know the new master of a shard yet loads the script on the old one
		if !store.IsUnknownScript(errors.Unwrap(err)) {
			break
		}
		run, err = f.CurrentEpoch(f.t.Context(), f.shard)
	}
	if err == nil {
		err = f.BeginEpoch(f.t.Context(), f.shard, run.ID)
	}
	if err != nil {
		f.t.Fatal(err)
	}
}

// onServer runs a test on a Redis that it may restart, by transactions and by scripts.
func onServer(t *testing.T, f func(t *testing.T, f fixture, server *redistest.Server)) {
	for name, query := range map[string]string{"by transactions": "", "by scripts": "?transactions=script"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Start(t)
			f(t, openFixture(t, server.URL()+query), server)
		})
	}
}

// TestARestartBetweenReadingAndBeginning: nothing begins, and nothing is changed, for the server may
// have lost what its record would have said.
func TestARestartBetweenReadingAndBeginning(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, f fixture, server *redistest.Server) {
		fresh, own := f.accepted("fresh"), f.accepted("own")
		known := f.read(fresh)
		mine := f.begun(own, 0, "w/2")
		before := f.db.Get(t.Context(), ledger.RecordPrefix(f.shard)+fresh).Val()
		f.restarted(server)
		for _, known := range []*record.Record{&known, nil} {
			if a := f.begunAs(fresh, 0, "w/1", known); a.Verdict != message.Restarted || a.N != 0 {
				t.Errorf("%+v", a)
			}
		}
		if after := f.db.Get(t.Context(), ledger.RecordPrefix(f.shard)+fresh).Val(); after != before {
			t.Errorf("the record became %q, was %q", after, before)
		}
		if a := f.begun(own, 0, "w/2"); a.Verdict != message.Restarted || a.N != mine.N || a.Token != "w/2" {
			t.Errorf("whoever asks whether its attempt stands: %+v", a)
		}
		f.trusts()
		if a := f.begunAs(fresh, 0, "w/1", &known); a.Verdict != message.Go {
			t.Errorf("%+v", a)
		}
		if a := f.begun(own, 0, "w/2"); a.Verdict != message.Go || a.N != 1 {
			t.Errorf("%+v", a)
		}
	})
}

// TestALostIntentIsMissed: two workers had the task of the message, one of them sent it, and Redis lost that.
// The other, which asks first, leaves nothing that would hide the loss.
func TestALostIntentIsMissed(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, f fixture, server *redistest.Server) {
		ctx := t.Context()
		other := ready(t, f.db) // another worker
		id := f.accepted("k")
		known := f.read(id)
		kept := f.db.Dump(ctx, ledger.RecordPrefix(f.shard)+id).Val()
		sent := f.begun(id, 0, "w/1") // and its request is on the way
		f.restarted(server)
		f.db.RestoreReplace(ctx, ledger.RecordPrefix(f.shard)+id, 0, kept)

		a, err := other.Begin(ctx, id, 0, "v/1", &known)
		if err != nil || a.Verdict != message.Restarted {
			t.Fatalf("%+v, %v", a, err)
		}
		if a.N > 0 {
			other.Finish(ctx, a, message.Move{To: message.Queued})
		}
		lost, err := f.Replay(ctx, f.shard, []message.RememberedAttempt{remembered(sent, nil)})
		if err != nil || lost.Intents != 1 {
			t.Errorf("%+v, %v", lost, err)
		}
		f.trusts()
		run, err := other.CurrentEpoch(ctx, f.shard)
		if err == nil {
			err = other.BeginEpoch(ctx, f.shard, run.ID)
		}
		if err != nil {
			t.Fatal(err)
		}
		if a, err := other.Begin(ctx, id, 0, "v/2", nil); err != nil || a.Verdict != message.Busy {
			t.Errorf("the other sends it a second time: %+v, %v", a, err)
		}
		if st := f.finished(sent, message.Move{To: message.Submitted, WAMID: "wamid.1"}); st != message.Submitted {
			t.Errorf("%s", st)
		}
	})
}

// TestBeginEpochDuringARestart: a worker that met a server which restarts before it trusts it trusts nothing.
func TestBeginEpochDuringARestart(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, f fixture, server *redistest.Server) {
		ctx := t.Context()
		id := f.accepted("k")
		first := f.heartbeat("w", 1, 0, "")
		other := f.heartbeat("v", 1, 0, "")
		if !first.Ready || first.Wait != 0 || other.ID != first.ID {
			t.Fatalf("%+v, %+v", first, other)
		}
		f.restarted(server)
		for i := range int64(2) { // before and after the first heartbeat in it
			if err := f.BeginEpoch(ctx, f.shard, first.ID); err == nil {
				t.Error("trusted a server that is gone")
			}
			if a := f.begun(id, 0, "w/1"); a.Verdict != message.Restarted {
				t.Errorf("%+v", a)
			}
			second := f.heartbeat("w", 2+i, 1+i, "")
			if second.Ready || second.ID == first.ID || second.Wait < message.DeadAfter/2 || second.Kept != 1+i {
				t.Errorf("nobody may begin before all have replayed: %+v", second)
			}
		}
		late, err := f.CurrentEpoch(ctx, f.shard)
		if err != nil || late.Wait > message.DeadAfter {
			t.Errorf("whoever comes later waits longer: %+v, %v", late, err)
		}
		f.restarted(server) // once more, before the first is trusted
		if err := f.BeginEpoch(ctx, f.shard, late.ID); err == nil {
			t.Error("trusted a server that is gone")
		}
	})
}

// TestAttemptsWaitForTheReplayOfOthers: in another epoch nothing begins before every worker that lived before it has replayed.
func TestAttemptsWaitForTheReplayOfOthers(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, f fixture, server *redistest.Server) {
		ctx := t.Context()
		f.heartbeat("w", 1, 0, "")
		f.heartbeat("v", 1, 0, "")
		f.heartbeat("left", 1, 0, "")
		if err := f.Leave(ctx, "left"); err != nil {
			t.Fatal(err)
		}
		f.restarted(server)
		run := f.heartbeat("w", 2, 1, "")
		if run = f.heartbeat("w", 3, 2, run.ID); run.Wait <= 0 {
			t.Errorf("the other has not replayed: %+v", run)
		}
		if run = f.heartbeat("new", 1, 0, ""); run.Wait <= 0 {
			t.Errorf("a new worker does not wait for the others: %+v", run)
		}
		f.heartbeat("v", 2, 1, "")
		if run = f.heartbeat("v", 3, 2, run.ID); run.Wait != 0 {
			t.Errorf("all have replayed, and it waits: %+v", run)
		}
	})
}

// TestASetBackServerIsNoticed: the same process lost writes, as after DEBUG RELOAD, FLUSHALL and a restore, or after
// copying older data from another server. A worker whose heartbeat is missing notices it, and no attempt begins then.
func TestASetBackServerIsNoticed(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, f fixture, server *redistest.Server) {
		ctx := t.Context()
		idle := ready(t, f.db) // another worker, with a heartbeat only before and after
		id := f.accepted("k")
		first := f.heartbeat("w", 1, 0, "")
		f.heartbeat("idle", 1, 0, "")
		kept := map[string]string{}
		for _, k := range f.db.Keys(ctx, "*").Val() {
			kept[k] = f.db.Dump(ctx, k).Val()
		}
		f.heartbeat("w", 2, 1, "")
		f.heartbeat("w", 3, 2, "")
		if a := f.begun(f.accepted("other"), 0, "w/1"); a.Verdict != message.Go {
			t.Fatalf("%+v", a)
		}
		f.db.FlushAll(ctx)
		for k, v := range kept {
			if err := f.db.Restore(ctx, k, 0, v).Err(); err != nil {
				t.Fatal(err)
			}
		}
		run := f.heartbeat("w", 4, 3, "")
		if run.Ready || run.ID == first.ID || run.Kept != 1 || run.Wait <= 0 {
			t.Errorf("%+v", run)
		}
		if a := f.begun(id, 0, "w/2"); a.Verdict != message.Restarted {
			t.Errorf("%+v", a)
		}
		if a, err := idle.Begin(ctx, id, 0, "idle/1", nil); err != nil || a.Verdict != message.Restarted {
			t.Errorf("who did not notice begins an attempt: %+v, %v", a, err)
		}
		if again := f.heartbeat("w", 5, 4, ""); again.ID != run.ID || again.Kept != 4 {
			t.Errorf("noticed a second time: %+v", again)
		}
	})
}

// TestAServerThatComesBack: a worker that could not send its heartbeats does not begin attempts on the server that
// answers next, even if it is the same process: another one may have replaced it for a time.
func TestAServerThatComesBack(t *testing.T) {
	t.Parallel()
	onServer(t, func(t *testing.T, f fixture, server *redistest.Server) {
		id := f.accepted("k")
		run := f.heartbeat("w", 1, 0, "")
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if r := f.Heartbeat(gone, []message.Heartbeat{{Shard: f.shard, Worker: "w", N: 2, Answered: 1}})[0]; r.Err == nil {
			t.Fatal("a heartbeat that nobody sent was answered")
		}
		if a := f.begun(id, 0, "w/1"); a.Verdict != message.Restarted {
			t.Errorf("%+v", a)
		}
		if r := f.heartbeat("w", 3, 1, ""); r.ID != run.ID || r.Ready || r.Wait != 0 {
			t.Errorf("%+v", r)
		}
		if err := f.BeginEpoch(t.Context(), f.shard, run.ID); err != nil {
			t.Error(err)
		}
		if a := f.begun(id, 0, "w/1"); a.Verdict != message.Go {
			t.Errorf("%+v", a)
		}
	})
}
