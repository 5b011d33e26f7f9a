package record_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// story is a message whose steps are given in words.
type story struct {
	t      *testing.T
	r      record.Record
	at     time.Time
	finals []string
	texts  []string
}

func (s *story) publish(f *message.Final) {
	if f == nil {
		return
	}
	if f.Certain != (f.Result != message.ResultUnknown) {
		s.t.Errorf("%+v", f)
	}
	s.finals = append(s.finals, string(f.Result)+" "+string(f.State))
	s.texts = append(s.texts, f.Text)
}

func (s *story) input(in record.Input) {
	s.t.Helper()
	var d record.Decision
	in.At = s.at
	if s.r, d = decide(s.t, s.r, in); !d.Applied {
		s.t.Fatalf("not applied: %+v to %+v", in, s.r)
	}
	for _, c := range d.Changes {
		s.publish(c.Final)
	}
}

func (s *story) outcome(m message.Move) {
	s.t.Helper()
	s.input(record.Input{Kind: record.Outcome, Move: m, Attempt: s.r.Attempt, Token: s.r.Token})
}

func (s *story) seen(m message.Move) {
	s.t.Helper()
	s.input(record.Input{Kind: record.Seen, Move: m, From: s.r.State, Attempt: s.r.Attempt, Task: s.r.Task})
}

// do does one step. A report may end in the number of its attempt; without one Meta returned no marker.
func (s *story) do(step string) {
	s.t.Helper()
	s.at = s.at.Add(time.Second)
	var attempt int
	if what, n, is := strings.Cut(step, " of "); is {
		fmt.Sscan(n, &attempt)
		step = what
	}
	report := func(to message.State, code int) {
		s.t.Helper()
		m := message.Move{To: to, WAMID: fmt.Sprint("wamid.", attempt), Code: code}
		if attempt == 0 {
			m.WAMID = s.r.WAMID
		}
		if to == message.Failed {
			m = s.r.Failure(m, attempt, code == 131042)
		}
		s.input(record.Input{Kind: record.Status, Move: m, Attempt: attempt})
	}
	switch step {
	case "begin":
		var b record.Begin
		if s.r, b = s.r.Begin(s.r.Task, fmt.Sprint("w/", s.at.Unix()), s.at); b.Verdict != message.Go {
			s.t.Fatalf("begin: %+v", b)
		}
	case "withdrawn":
		s.outcome(message.Move{To: message.Queued})
	case "not taken":
		s.outcome(message.Move{To: message.Queued, Code: 131016, Counts: true})
	case "no answer":
		s.outcome(message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer})
	case "server error":
		s.outcome(message.Move{To: message.InDoubt, Reason: message.ReasonServerError})
	case "taken":
		s.outcome(message.Move{To: message.Submitted, WAMID: fmt.Sprint("wamid.", s.r.Attempt)})
	case "rejected":
		s.outcome(message.Move{To: message.Rejected, Code: 131026, Keep: true})
	case "named not sent":
		s.outcome(message.Move{To: message.Rejected, Reason: message.ReasonNamedNotSent, Keep: true})
	case "used up":
		s.outcome(message.Move{To: message.Dead, Code: 131016, Reason: message.ReasonAttempts, Keep: true})
	case "tampered":
		s.outcome(message.Move{To: message.Dead, Reason: message.ReasonTampered, Keep: true})
	case "unknown code":
		s.outcome(message.Move{To: message.Dead, Code: 999, Reason: "code 999", Keep: true})
	case "worker died":
		s.seen(message.Move{To: message.InDoubt, Reason: message.ReasonWorkerDied})
	case "again":
		s.seen(message.Move{To: message.Queued, Reason: message.ReasonServerError})
	case "task lost":
		s.seen(message.Move{To: message.Queued, Reason: message.ReasonTaskLost})
	case "park":
		s.seen(message.Move{To: message.Parked, Reason: s.r.Reason})
	case "close":
		s.seen(message.Move{To: message.Failed, Reason: message.ReasonUndetermined})
	case "expire":
		s.seen(message.Move{To: message.Expired, Reason: message.ReasonDeadline, Keep: true})
	case "cancel":
		s.seen(message.Move{To: message.Cancelled, Reason: message.ReasonCaller})
	case "says sent":
		s.seen(message.Move{To: message.Submitted, Reason: message.ReasonResolved})
	case "says not sent":
		s.seen(message.Move{To: message.Queued, Reason: message.ReasonResolved})
	case "says not sent too late":
		s.seen(message.Move{To: message.Expired, Reason: message.ReasonResolved, Keep: true})
	case "says cancel":
		s.seen(message.Move{To: message.Cancelled, Reason: message.ReasonResolved})
	case "replay":
		s.seen(message.Move{To: message.Queued, Reason: message.ReasonReplayed})
	case "sent", "delivered", "read", "played":
		report(message.State(step), 0)
	case "failed":
		report(message.Failed, 131053)
	case "refused later":
		report(message.Failed, 131042)
	case "lost": // Redis is set back to before the attempt
		s.r.Attempt, s.r.Token, s.r.State, s.r.Proven = s.r.Attempt-1, "", message.Queued, 0
	case "remembered":
		after, loss, d := s.r.Restore(message.RememberedAttempt{N: s.r.Attempt + 1, Token: "w/r"}, s.at)
		if s.r = after; loss != record.IntentLost || d.Applied || after.State != message.Attempting {
			s.t.Fatalf("restore: %d, %+v", loss, after)
		}
	case "removed":
		s.publish(s.r.Unended())
		s.r = s.r.ToTombstone(s.at.Add(time.Hour))
	default:
		s.t.Fatalf("no step %q", step)
	}
}

// ends are all ways in which a life ends, each with the final events of the message.
var ends = []struct{ steps, finals string }{
	// Delivered: the first report of it counts.
	{"begin, taken, sent of 1, delivered of 1, read of 1, played of 1", "delivered delivered"},
	{"begin, taken, read of 1, removed, played of 1", "delivered read"},
	{"begin, taken, played of 1", "delivered played"},
	{"begin, delivered of 1, removed", "delivered delivered"},
	{"begin, no answer, delivered of 1", "delivered delivered"},
	{"begin, no answer, park, delivered of 1", "delivered delivered"},
	{"begin, no answer, again, delivered of 1", "delivered delivered"},

	// Before any attempt.
	{"expire", "not_delivered expired"},
	{"cancel, removed", "not_delivered cancelled"},
	{"task lost, expire, removed", "not_delivered expired"},

	// All attempts are proven not taken.
	{"begin, withdrawn, expire", "not_delivered expired"},
	{"begin, not taken, begin, not taken, expire", "not_delivered expired"},
	{"begin, not taken, cancel", "not_delivered cancelled"},
	{"begin, rejected", "not_delivered rejected"},
	{"begin, not taken, begin, rejected", "not_delivered rejected"},
	{"begin, named not sent", "not_delivered rejected"},
	{"begin, not taken, begin, used up", "not_delivered dead"},
	{"begin, tampered", "not_delivered dead"},
	{"begin, unknown code", "not_delivered dead"},
	{"begin, worker died, rejected", "not_delivered rejected"}, // its owner was not dead, and knows

	// Meta reports that it failed.
	{"begin, taken, failed of 1", "not_delivered failed"},
	{"begin, taken, sent of 1, failed of 1", "not_delivered failed"},
	{"begin, taken, failed", "not_delivered failed"},
	{"begin, failed of 1", "not_delivered failed"},
	{"begin, no answer, failed of 1", "not_delivered failed"},
	{"begin, not taken, begin, taken, failed of 2", "not_delivered failed"},
	{"begin, taken, refused later of 1", "not_delivered dead"},

	// An attempt may have been taken.
	{"begin, no answer, close", "unknown failed"},
	{"begin, worker died, close", "unknown failed"},
	{"begin, no answer, park, close", "unknown failed"},
	{"begin, no answer, park, cancel", "unknown cancelled"},
	{"begin, no answer, says cancel", "unknown cancelled"},
	{"begin, server error, again, expire", "unknown expired"},
	{"begin, server error, again, cancel", "unknown cancelled"},
	{"begin, server error, again, begin, rejected", "unknown rejected"},
	{"begin, server error, again, begin, not taken, begin, used up", "unknown dead"},
	{"begin, not taken, begin, server error, again, begin, rejected", "unknown rejected"},
	{"begin, no answer, again, begin, taken, failed of 2", "unknown failed"},
	{"begin, no answer, again, begin, taken, refused later of 2", "unknown dead"},
	{"begin, not taken, begin, taken, failed", "unknown failed"}, // of which attempt?
	{"begin, no answer, park, says not sent, expire", "unknown expired"},
	{"begin, no answer, park, says not sent too late", "unknown expired"},
	{"begin, no answer, park, says not sent, begin, rejected", "unknown rejected"},

	// Meta took it and reports no end.
	{"begin, taken, removed", "unknown submitted"},
	{"begin, taken, sent of 1, removed", "unknown sent"},
	{"begin, no answer, park, says sent, removed", "unknown submitted"},
	{"begin, taken, removed, delivered of 1", "unknown submitted"},

	// A better status comes after the end: the final event stays.
	{"begin, no answer, close, sent of 1, delivered of 1", "unknown failed"},
	{"begin, no answer, close, delivered of 1, read of 1", "unknown failed"},
	{"begin, no answer, close, sent of 1, removed, read of 1", "unknown failed"},
	{"begin, no answer, park, cancel, failed of 1", "unknown cancelled"},
	{"begin, taken, failed of 1, delivered of 1", "not_delivered failed"},

	// An operator sends it again: another life.
	{"expire, replay, begin, taken, delivered of 1", "not_delivered expired, delivered delivered"},
	{"expire, replay, expire, replay, cancel", "not_delivered expired, not_delivered expired, not_delivered cancelled"},
	{"begin, rejected, replay, begin, rejected", "not_delivered rejected, not_delivered rejected"},
	{"begin, used up, replay, begin, taken, delivered of 2", "not_delivered dead, delivered delivered"},
	{"begin, taken, refused later of 1, replay, begin, taken, failed of 2", "not_delivered dead, not_delivered failed"},
	{"begin, taken, failed of 1, replay, expire", "not_delivered failed, not_delivered expired"},
	{"begin, server error, again, expire, replay, begin, rejected", "unknown expired, unknown rejected"},
	{"begin, server error, again, expire, replay, delivered of 1", "unknown expired, delivered delivered"},

	// Redis lost the latest writes.
	{"begin, lost, remembered, rejected", "not_delivered rejected"},
	{"begin, not taken, begin, not taken, begin, lost, remembered, rejected", "unknown rejected"}, // the proofs are lost too
	{"begin, rejected, remembered, delivered of 2", "not_delivered rejected, delivered delivered"},
	{"begin, rejected, delivered of 2", "not_delivered rejected, delivered delivered"},
	{"begin, taken, delivered of 1, read of 2", "delivered delivered"},
}

// TestFinal: each life of a message has one final event, which says what is certain.
func TestFinal(t *testing.T) {
	t.Parallel()
	covered := map[string]bool{}
	for _, tt := range ends {
		t.Run(tt.steps, func(t *testing.T) {
			s := story{t: t, r: fresh(), at: t0}
			for step := range strings.SplitSeq(tt.steps, ", ") {
				s.do(step)
			}
			if got := strings.Join(s.finals, ", "); got != tt.finals {
				t.Errorf("%s, want %s", got, tt.finals)
			}
			t.Log(strings.Join(s.texts, "\n"))
			for _, f := range s.finals {
				covered[f] = true
			}
		})
	}
	// No end is missing: a final state has a result, and delivered states have no other.
	for _, state := range message.States() {
		for _, result := range []message.Result{message.ResultDelivered, message.ResultNotDelivered, message.ResultUnknown} {
			arrived := slices.Contains([]message.State{message.Delivered, message.Read, message.Played}, state)
			want := state.Final() && arrived == (result == message.ResultDelivered) ||
				result == message.ResultUnknown && (state == message.Submitted || state == message.Sent) // at the end of the record
			if covered[string(result)+" "+string(state)] != want {
				t.Errorf("%s %s: in the table it is %t", result, state, !want)
			}
		}
	}
}

// TestAppendFinal: a final event that is written by hand is what encoding/json makes of it.
func TestAppendFinal(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(3, 4))
	for range 2000 {
		var r record.Record
		r.Context = message.Context{ID: nastyString(rng), From: nastyString(rng), To: nastyString(rng), Ref: nastyString(rng)}
		f := message.Final{
			Result: message.ResultUnknown, Certain: rng.IntN(2) == 0, State: message.Failed, Reason: nastyString(rng),
			Code: rng.IntN(2) * 131000, Text: nastyString(rng),
		}
		want, err := json.Marshal(message.Event{
			Version: message.EventVersion, Type: message.EventFinal, At: t0.UnixMilli(), Number: r.From, Final: &f, Message: &r.Context,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := r.AppendFinal([]byte("before"), t0, &f); string(got) != "before"+string(want) {
			t.Fatalf("\n got %s\nwant before%s", got, want)
		}
	}
}
