package ledger_test

import (
	"testing"
	"time"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/redistest"
)

// remembered is what a worker remembers of an attempt.
func remembered(a message.Attempt, m *message.Move) message.Memory {
	return message.Memory{ID: a.ID, N: a.N, Token: a.Token, Since: time.Now(), Move: m}
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
	doubtful := f.accepted("a doubt lost")
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
	memories := []message.Memory{
		remembered(f.begun(waiting, 0, "w/1"), nil),
		remembered(done, wamid("kept")),
		remembered(gone, nil),
	}
	a := f.begun(answered, 0, "w/2")
	f.finished(a, *wamid("answered"))
	memories = append(memories, remembered(a, wamid("answered")))
	d := f.begun(doubtful, 0, "w/3")
	doubt := message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: time.Minute}
	f.finished(d, doubt)
	memories = append(memories, remembered(d, &doubt))
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
	run, err := f.Meet(ctx, f.shard, time.Minute)
	if err != nil || run.Met || run.Wait < 50*time.Second {
		t.Fatalf("%+v, %v", run, err)
	}
	for _, want := range []message.Lost{{Intents: 3, Outcomes: 1, Records: 1}, {Records: 1}} { // to repeat it changes nothing
		if got, err := f.Assert(ctx, f.shard, memories); err != nil || got != want {
			t.Fatalf("%+v, %v, want %+v", got, err, want)
		}
		f.wantState(waiting, message.Attempting)
		f.wantState(answered, message.Submitted)
		f.wantState(doubtful, message.InDoubt)
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
	if err := f.Trust(ctx, f.shard, run.ID); err != nil {
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
