package send

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
)

func TestDecide(t *testing.T) {
	t.Parallel()
	const schedule = 7 * time.Second
	policy := message.Policy{InDoubtWindow: 2 * time.Minute, ErrorWindow: 30 * time.Second}
	tests := []struct {
		name     string
		out      message.Outcome
		failures int
		want     message.Move
	}{
		{
			"accepted",
			message.Outcome{Kind: message.Accepted, WAMID: "wamid.1"},
			0,
			message.Move{To: message.Submitted, WAMID: "wamid.1"},
		},
		{
			"accepted, unreadable",
			message.Outcome{Kind: message.Accepted, Reason: "answer_unreadable"},
			9,
			message.Move{To: message.Submitted, Reason: "answer_unreadable"},
		},
		{
			"throttled",
			message.Outcome{Kind: message.Throttled, Code: 130429, Reason: "code 130429"},
			0,
			message.Move{To: message.Queued, Code: 130429, Reason: "code 130429", In: schedule},
		},
		{
			"throttled, the budget long used up",
			message.Outcome{Kind: message.Throttled},
			99,
			message.Move{To: message.Queued, In: schedule},
		},
		{
			"throttled, told how long",
			message.Outcome{Kind: message.Throttled, RetryAfter: time.Minute},
			0,
			message.Move{To: message.Queued, In: time.Minute},
		},
		{
			"throttled, the number too fast",
			message.Outcome{Kind: message.Throttled, Limit: message.LimitNumber},
			0,
			message.Move{To: message.Queued, In: schedule},
		},
		{
			"throttled, one recipient gets too much",
			message.Outcome{Kind: message.Throttled, Limit: message.LimitPair},
			0,
			message.Move{To: message.Queued, In: 64 * time.Second},
		},
		{
			"throttled, one recipient gets too much, told how long",
			message.Outcome{Kind: message.Throttled, Limit: message.LimitPair, RetryAfter: time.Hour},
			0,
			message.Move{To: message.Queued, In: time.Hour},
		},
		{
			"held, and nothing with it, once too often",
			message.Outcome{Kind: message.Held, Code: 190, Reason: "code 190"},
			99,
			message.Move{To: message.Dead, Code: 190, Reason: message.ReasonAttempts, Keep: true},
		},
		{
			"held, and nothing with it",
			message.Outcome{Kind: message.Held, Code: 132068, Reason: "code 132068"},
			0,
			message.Move{To: message.Queued, Code: 132068, Reason: "code 132068", In: schedule, Counts: true},
		},
		{
			"refused without a code",
			message.Outcome{Kind: message.Held, Reason: "http 413", Hold: message.HoldNumber, Unknown: true},
			0,
			message.Move{To: message.Queued, Reason: "http 413", In: schedule, Counts: true},
		},
		{
			"refused without a code, once too often",
			message.Outcome{Kind: message.Held, Reason: "http 413", Hold: message.HoldNumber, Unknown: true},
			2,
			message.Move{To: message.Dead, Reason: message.ReasonAttempts, Keep: true},
		},
		{
			"held, and nothing with it, told how long",
			message.Outcome{Kind: message.Held, Code: 132069, Reason: "code 132069", RetryAfter: time.Hour},
			99,
			message.Move{To: message.Queued, Code: 132069, Reason: "code 132069", In: time.Hour},
		},
		{
			"refused with an unknown code",
			message.Outcome{Kind: message.Refused, Code: 987654, Reason: "code 987654", Unknown: true},
			0,
			message.Move{To: message.Dead, Code: 987654, Reason: "code 987654", Keep: true},
		},
		{
			"no connection, the budget long used up",
			message.Outcome{Kind: message.Transient, Reason: "dial"},
			99,
			message.Move{To: message.Queued, Reason: "dial", In: schedule},
		},
		{
			"transient",
			message.Outcome{Kind: message.Transient, Code: 133016, Reason: "code 133016"},
			0,
			message.Move{To: message.Queued, Code: 133016, Reason: "code 133016", In: schedule, Counts: true},
		},
		{
			"transient, told how long",
			message.Outcome{Kind: message.Transient, Code: 1, RetryAfter: time.Second},
			0,
			message.Move{To: message.Queued, Code: 1, In: schedule, Counts: true},
		},
		{
			"transient, one try left",
			message.Outcome{Kind: message.Transient, Code: 1},
			1,
			message.Move{To: message.Queued, Code: 1, In: schedule, Counts: true},
		},
		{
			"transient, the last try",
			message.Outcome{Kind: message.Transient, Code: 133016, Reason: "code 133016"},
			2,
			message.Move{To: message.Dead, Code: 133016, Reason: message.ReasonAttempts, Keep: true},
		},
		{
			"refused",
			message.Outcome{Kind: message.Refused, Code: 131026, Reason: "code 131026"},
			0,
			message.Move{To: message.Rejected, Code: 131026, Reason: "code 131026", Keep: true},
		},
		{
			"tampered with",
			message.Outcome{Kind: message.Refused, Reason: message.ReasonTampered},
			0,
			message.Move{To: message.Dead, Reason: message.ReasonTampered, Keep: true},
		},
		{
			"server error",
			message.Outcome{Kind: message.ServerError, Code: 131000, Reason: "code 131000"},
			99,
			message.Move{To: message.InDoubt, Code: 131000, Reason: message.ReasonServerError, In: 30 * time.Second},
		},
		{
			"server error, told how long",
			message.Outcome{Kind: message.ServerError, RetryAfter: time.Minute},
			0,
			message.Move{To: message.InDoubt, Reason: message.ReasonServerError, In: time.Minute},
		},
		{
			"no answer",
			message.Outcome{Kind: message.NoAnswer, Reason: "timeout"},
			99,
			message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: 2 * time.Minute},
		},
		{
			"a kind nobody knows",
			message.Outcome{Kind: "odd"},
			0,
			message.Move{To: message.InDoubt, Reason: message.ReasonNoAnswer, In: 2 * time.Minute},
		},
	}
	var seen []message.Kind
	for _, tt := range tests {
		seen = append(seen, tt.out.Kind)
		var asked int
		s := &Sender{o: Options{
			Policy: func(number string, c message.Class) message.Policy {
				if number != "1" || c != message.Service {
					t.Errorf("%s: policy of %s, %s", tt.name, number, c)
				}
				return policy
			},
			Backoff:  func(n int) time.Duration { asked = n; return schedule },
			Attempts: 3,
		}}
		a := message.Attempt{N: 4, Message: message.Context{From: "1", Class: message.Service}, Failures: tt.failures}
		if got := s.decide(a, tt.out, effect{}); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
		// What Meta said is recorded whatever follows.
		tt.out.Detail = message.ErrorDetail{Message: "(#1) said", Details: "more", Subcode: 7, Trace: "Az8"}
		if got := s.decide(a, tt.out, effect{}); got.Detail != tt.out.Detail || got.Code != tt.out.Code {
			t.Errorf("%s: %+v, Meta said %+v", tt.name, got, tt.out.Detail)
		}
		if asked != 4 {
			t.Errorf("%s: the schedule was asked for attempt %d", tt.name, asked)
		}
		// A message that Meta may have taken must not be sent again before the wait for a status is over.
		if st := tt.want.To; tt.out.Kind.InDoubt() && st != message.InDoubt {
			t.Errorf("%s: an in-doubt message goes to %s", tt.name, st)
		}
	}
	for _, k := range message.Kinds() {
		if !slices.Contains(seen, k) {
			t.Errorf("%s is not in this test", k)
		}
	}
}

func TestDecideBacksOffAfterServerErrors(t *testing.T) {
	t.Parallel()
	s := &Sender{o: Options{
		Policy:  func(string, message.Class) message.Policy { return message.DefaultPolicy(message.Authentication) },
		Backoff: func(n int) time.Duration { return time.Duration(n) * 6 * time.Second },
	}}
	for n, want := range map[int]time.Duration{1: 10 * time.Second, 2: 12 * time.Second, 10: time.Minute} {
		if got := s.decide(message.Attempt{N: n}, message.Outcome{Kind: message.ServerError}, effect{}).In; got != want {
			t.Errorf("attempt %d: %s, want %s", n, got, want)
		}
	}
}

// TestPairBackoff: 4^X seconds, X from 0, as Meta asks; and never so long that it overflows.
func TestPairBackoff(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]time.Duration{
		1: time.Second, 2: 4 * time.Second, 3: 16 * time.Second, 4: 64 * time.Second, 5: 256 * time.Second,
		6: 1024 * time.Second, 7: 4096 * time.Second, 8: 4096 * time.Second, 1000: 4096 * time.Second,
	} {
		if got := pairBackoff(n); got != want {
			t.Errorf("after attempt %d: %s, want %s", n, got, want)
		}
	}
}

// TestDecideOutsideWindow: when Meta says that the customer service window is closed, the message gets its fallback template, unless an earlier
// attempt may have been delivered.
func TestDecideOutsideWindow(t *testing.T) {
	t.Parallel()
	s := &Sender{o: Options{
		Policy: func(string, message.Class) message.Policy { return message.Policy{} }, Backoff: func(int) time.Duration { return time.Minute }, Attempts: 1,
	}}
	out := message.Outcome{Kind: message.Refused, Code: 131047, Reason: "code 131047", Outside: true}
	want := message.Move{To: message.Queued, Code: 131047, Reason: message.ReasonFallback, Fallback: true}
	if got := s.decide(message.Attempt{N: 1, Fallback: true}, out, effect{}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	want = message.Move{To: message.Rejected, Code: 131047, Reason: "code 131047", Keep: true}
	if got := s.decide(message.Attempt{N: 1}, out, effect{}); got != want {
		t.Errorf("without a fallback template: %+v, want %+v", got, want)
	}
}
