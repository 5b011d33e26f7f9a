package message_test

import (
	"slices"
	"testing"
	"time"

	"sluice/internal/message"
)

// TestRank holds the order of design for each pair that anything depends on.
func TestRank(t *testing.T) {
	t.Parallel()
	type at struct {
		state  message.State
		reason string
	}
	order := [][]at{ // of equal rank together, rising
		{{message.Queued, ""}},
		{{message.Attempting, ""}},
		{{message.InDoubt, message.ReasonNoAnswer}},
		{{message.Parked, ""}},
		{{message.Rejected, ""}, {message.Expired, ""}, {message.Cancelled, ""}, {message.Dead, ""}, {message.Failed, message.ReasonUndetermined}},
		{{message.Submitted, ""}},
		{{message.Sent, ""}},
		{{message.Failed, ""}},
		{{message.Delivered, ""}},
		{{message.Read, ""}},
		{{message.Played, ""}},
	}
	before := -1
	ranked := map[message.State]bool{}
	for _, group := range order {
		rank := group[0].state.Rank(group[0].reason)
		if rank <= before {
			t.Errorf("%s has rank %d, no more than what comes before it", group[0].state, rank)
		}
		before = rank
		for _, a := range group {
			ranked[a.state] = true
			if got := a.state.Rank(a.reason); got != rank {
				t.Errorf("%s (%q) has rank %d, %s has %d", a.state, a.reason, got, group[0].state, rank)
			}
		}
	}
	for _, s := range message.States() {
		if !ranked[s] {
			t.Errorf("%s is not in this test", s)
		}
	}
	if got := message.State("teleported").Rank(""); got >= 0 {
		t.Errorf("an unknown state has rank %d", got)
	}
}

func TestFinal(t *testing.T) {
	t.Parallel()
	open := []message.State{message.Queued, message.Attempting, message.InDoubt, message.Parked, message.Submitted, message.Sent}
	for _, s := range message.States() {
		if got, want := s.Final(), !slices.Contains(open, s); got != want {
			t.Errorf("%s: final is %t", s, got)
		}
	}
}

func TestAtMeta(t *testing.T) {
	t.Parallel()
	took := []message.State{message.Submitted, message.Sent, message.Delivered, message.Read, message.Played}
	for _, s := range message.States() {
		if got, want := s.AtMeta(), slices.Contains(took, s); got != want {
			t.Errorf("%s: Meta has it is %t", s, got)
		}
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	for i, c := range message.Classes() {
		if c.Order() != i || !c.Valid() {
			t.Errorf("%s: order %d, valid %t", c, c.Order(), c.Valid())
		}
	}
	if c := message.Class("urgent"); c.Valid() || c.Order() != len(message.Classes()) {
		t.Errorf("%s: order %d, valid %t", c, c.Order(), c.Valid())
	}
	for content, want := range map[message.Content]message.Class{
		{Type: "template"}: message.Utility, {Type: "text"}: message.Service, {Type: "interactive"}: message.Service, {}: message.Service,
		{Type: "text", Category: "authentication"}: message.Authentication, {Type: "image", Category: "utility"}: message.Utility,
		{Type: "text", Category: "service"}: message.Service,
	} {
		if got := message.DefaultClass(content); got != want {
			t.Errorf("default class of %+v is %s, want %s", content, got, want)
		}
	}
}

func TestDefaultPolicy(t *testing.T) {
	t.Parallel()
	for c, want := range map[message.Class]message.Policy{
		message.Authentication: {Deadline: 10 * time.Minute, InDoubtWindow: 45 * time.Second, InDoubtPolicy: message.Resend, ErrorWindow: 10 * time.Second, RepeatWindow: 15 * time.Minute},
		message.Service:        {Deadline: 24 * time.Hour, InDoubtWindow: 2 * time.Minute, InDoubtPolicy: message.Park, ErrorWindow: 30 * time.Second, RepeatWindow: 15 * time.Minute},
		message.Utility:        {Deadline: 24 * time.Hour, InDoubtWindow: 15 * time.Minute, InDoubtPolicy: message.Park, ErrorWindow: 30 * time.Second, RepeatWindow: 15 * time.Minute},
		message.Marketing:      {Deadline: 168 * time.Hour, InDoubtWindow: 24 * time.Hour, InDoubtPolicy: message.Close, ErrorWindow: 30 * time.Second, RepeatWindow: 15 * time.Minute},
	} {
		if got := message.DefaultPolicy(c); got != want {
			t.Errorf("%s: %+v, want %+v", c, got, want)
		}
	}
}

func TestKindInDoubt(t *testing.T) {
	t.Parallel()
	doubts := []message.Kind{message.ServerError, message.NoAnswer}
	for _, k := range message.Kinds() {
		if got, want := k.InDoubt(), slices.Contains(doubts, k); got != want {
			t.Errorf("%s: doubt is %t", k, got)
		}
	}
}

func TestStatusReportState(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]message.State{
		"sent": message.Sent, "delivered": message.Delivered, "read": message.Read, "played": message.Played, "failed": message.Failed,
		"deleted": "", "teleported": "", "": "", "SENT": "",
	} {
		got, known := message.StatusReport{Status: status}.State()
		if got != want || known != (want != "") {
			t.Errorf("%q is evidence of %q, %t, want %q", status, got, known, want)
		}
	}
}

// TestApplyResultsAreClosed guards the metric's labels: all named, each once.
func TestApplyResultsAreClosed(t *testing.T) {
	t.Parallel()
	all := message.ApplyResults()
	for _, f := range []message.ApplyResult{
		message.Applied, message.Repeated, message.Outdated, message.Unmatched, message.OtherEnvironment, message.NoRecord, message.Duplicate, message.UnknownStatus,
	} {
		if !slices.Contains(all, f) {
			t.Errorf("%s is missing", f)
		}
	}
	slices.Sort(all)
	if len(slices.Compact(all)) != 8 {
		t.Errorf("%v", all)
	}
}
