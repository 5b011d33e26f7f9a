package gauges

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/backlog"
	"sluice/internal/ledger"
	"sluice/internal/message"
)

// fakeHolds are holds that keep some messages by number.
type fakeHolds struct {
	list []message.Hold
	held map[string]int
}

func (f *fakeHolds) List(context.Context) ([]message.Hold, error) { return f.list, nil }

func (f *fakeHolds) CountHeld(_ context.Context, holds []message.Hold) ([]int, map[string]int, error) {
	if len(holds) != len(f.list) {
		return nil, nil, errors.New("other holds than the store has")
	}
	byHold := make([]int, len(holds))
	for i := range byHold {
		byHold[i] = 10 + i
	}
	return byHold, f.held, nil
}

// existing are the metrics that TestGauges compares: all but those of TestHolds.
var existing = []string{
	"sluice_dead_letters", "sluice_holds_unreadable", "sluice_messages_open", "sluice_number_effective_rate_messages_per_second",
	"sluice_number_held_messages", "sluice_number_rate_limit_messages_per_second", "sluice_number_unconfigured_messages", "sluice_queue_depth",
	"sluice_queue_eta_seconds", "sluice_queue_oldest_age_seconds", "sluice_relay_targets",
}

func TestGauges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		var broken error
		var held fakeHolds
		g := New(Options{
			Rates: func(_ context.Context, numbers []string) ([]backlog.Number, error) {
				reads++
				return []backlog.Number{{
					Number: numbers[0], Configured: 80, Rate: 80, Full: 80,
					Waiting: []backlog.Waiting{
						{Class: message.Authentication, Active: 2},
						{Class: message.Marketing, Pending: 160 * reads, Oldest: time.Now().Add(-time.Minute)},
					},
				}}, broken
			},
			Unknown: func(_ context.Context, known func(string) bool) ([]backlog.Number, error) {
				if known("8") || !known("7") {
					t.Error("a number is taken for another")
				}
				return []backlog.Number{{Number: "8", Waiting: []backlog.Waiting{{Pending: 3, Delayed: 2}, {Active: 1}}}}, nil
			},
			Backlog: func(context.Context) (ledger.Backlog, error) {
				return ledger.Backlog{Waiting: 5, InDoubt: 1, Parked: 4, Dead: 5}, nil
			},
			CauseOf: func(message.Hold) string { return "refused" },
			Targets: func(context.Context) (int, error) { return 2, nil },
			Holds:   &held, Numbers: func() []string { return []string{"7"} }, Log: slog.New(slog.DiscardHandler),
		})
		want := `
# HELP sluice_dead_letters Messages in the dead-letter list. They can be sent again with sluice replay.
# TYPE sluice_dead_letters gauge
sluice_dead_letters 5
# HELP sluice_holds_unreadable Holds that are in force although they cannot be read: their reason and their operator are lost. sluice holds lists them, and sluice release ends them.
# TYPE sluice_holds_unreadable gauge
sluice_holds_unreadable 0
# HELP sluice_messages_open Messages that have not ended, by state. attempting: a worker has fetched the message and sends it within seconds. queued: all other waiting messages, scheduled and held ones included.
# TYPE sluice_messages_open gauge
sluice_messages_open{state="attempting"} 2
sluice_messages_open{state="in_doubt"} 1
sluice_messages_open{state="parked"} 4
sluice_messages_open{state="queued"} 3
# HELP sluice_number_effective_rate_messages_per_second Messages per second that the number sends at most now. It is lower than the rate limit after Meta refused messages because the number was too fast.
# TYPE sluice_number_effective_rate_messages_per_second gauge
sluice_number_effective_rate_messages_per_second{phone_number_id="7"} 80
# HELP sluice_number_held_messages Messages of the number that a hold keeps from being sent. sluice holds lists the holds.
# TYPE sluice_number_held_messages gauge
sluice_number_held_messages{phone_number_id="7"} 0
# HELP sluice_number_rate_limit_messages_per_second Messages per second that the number may send: the configured rate limit, or the one set with sluice rate.
# TYPE sluice_number_rate_limit_messages_per_second gauge
sluice_number_rate_limit_messages_per_second{phone_number_id="7"} 80
# HELP sluice_number_unconfigured_messages Messages that wait for a phone number id that no worker has in its configuration. They are not sent.
# TYPE sluice_number_unconfigured_messages gauge
sluice_number_unconfigured_messages{phone_number_id="8"} 6
# HELP sluice_queue_depth Messages in the queue that wait for a send slot, or for the end of a hold on the number. Scheduled messages, retries, and messages of held templates and tags are not counted.
# TYPE sluice_queue_depth gauge
sluice_queue_depth{class="authentication",phone_number_id="7"} 0
sluice_queue_depth{class="marketing",phone_number_id="7"} 160
# HELP sluice_queue_eta_seconds Time until a message that is accepted now is sent: until the messages before it have left, at the effective rate. +Inf: the number is held.
# TYPE sluice_queue_eta_seconds gauge
sluice_queue_eta_seconds{class="authentication",phone_number_id="7"} 0
sluice_queue_eta_seconds{class="marketing",phone_number_id="7"} 2
# HELP sluice_queue_oldest_age_seconds How long the oldest message in the queue has waited, without messages of campaigns with a rate or a cap per day. 0: none waits.
# TYPE sluice_queue_oldest_age_seconds gauge
sluice_queue_oldest_age_seconds{class="authentication",phone_number_id="7"} 0
sluice_queue_oldest_age_seconds{class="marketing",phone_number_id="7"} 60
# HELP sluice_relay_targets Relay targets. sluice relay list lists them.
# TYPE sluice_relay_targets gauge
sluice_relay_targets 2
`
		compare := func(want string) {
			t.Helper()
			if err := testutil.CollectAndCompare(g, strings.NewReader(want), existing...); err != nil {
				t.Error(err)
			}
		}
		compare(want)
		time.Sleep(fresh - time.Nanosecond)
		compare(want)
		if reads != 1 {
			t.Errorf("%d reads within %v", reads, fresh)
		}
		time.Sleep(time.Nanosecond)
		compare(strings.NewReplacer("} 160", "} 320", "marketing\",phone_number_id=\"7\"} 2\n", "marketing\",phone_number_id=\"7\"} 4\n").Replace(want))

		held = fakeHolds{[]message.Hold{{Number: "7", Template: "a/en"}}, map[string]int{"7": 8}}
		time.Sleep(fresh)
		moved := strings.NewReplacer("} 160", "} 480", "marketing\",phone_number_id=\"7\"} 2\n", "marketing\",phone_number_id=\"7\"} 6\n", `held_messages{phone_number_id="7"} 0`, `held_messages{phone_number_id="7"} 8`)
		compare(moved.Replace(want))
		held = fakeHolds{[]message.Hold{{Reason: "The stored hold cannot be read. It stays in force until it is released."}}, map[string]int{"7": 640}}
		time.Sleep(fresh)
		compare(strings.NewReplacer("} 160", "} 640", "unreadable 0", "unreadable 1", "eta_seconds{class=\"authentication\",phone_number_id=\"7\"} 0", "eta_seconds{class=\"authentication\",phone_number_id=\"7\"} +Inf",
			"marketing\",phone_number_id=\"7\"} 2\n", "marketing\",phone_number_id=\"7\"} +Inf\n", `held_messages{phone_number_id="7"} 0`, `held_messages{phone_number_id="7"} 640`).Replace(want))
		broken = errors.New("away")
		time.Sleep(fresh)
		compare("")
		if problems, err := testutil.CollectAndLint(New(g.Options)); err != nil || len(problems) != 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// TestHolds: holds and what they keep, by what they are on and why they are there. All series exist from the start.
func TestHolds(t *testing.T) {
	t.Parallel()
	g := New(Options{
		Numbers: func() []string { return []string{"7", "9"} }, Causes: []string{"operator", "refused"},
		CauseOf: func(h message.Hold) string {
			if h.By == "ann" {
				return "operator"
			}
			return "refused"
		},
	})
	got := map[string]float64{}
	add := func(d *prometheus.Desc, v float64, labels ...string) {
		name := map[*prometheus.Desc]string{holdsDesc: "holds", keptDesc: "held", unreadDesc: "unreadable", wholeDesc: "whole"}[d]
		got[strings.Join(append([]string{name}, labels...), " ")] = v
	}
	g.addHolds(add, nil, nil)
	if len(got) != 1+2*5*3 {
		t.Errorf("%d series without a hold: %v", len(got), got)
	}
	g.addHolds(add, []message.Hold{
		{By: "ann"},
		{Number: "7", By: "sluice"},
		{Number: "8", By: "sluice"},
		{Number: "7", Template: "a/en", By: "sluice"},
		{Number: "7", Tag: "spring", By: "ann"},
		{Tag: "spring", Reason: "The stored hold cannot be read. It stays in force until it is released."},
		{Client: "shop", Campaign: "spring", By: "ann"},
	}, []int{1, 2, 4, 8, 16, 32, 64})
	for name, want := range map[string]float64{
		"holds all operator": 1, "held all operator": 1,
		"holds number refused": 2, "held number refused": 6,
		"holds template refused": 1, "held template refused": 8,
		"holds tag operator": 1, "held tag operator": 16,
		"holds tag unreadable": 1, "held tag unreadable": 32, "unreadable": 1,
		"holds campaign operator": 1, "held campaign operator": 64,
		"holds number operator": 0, "held tag refused": 0,
		"whole 7 operator": 1, "whole 7 refused": 1, "whole 9 operator": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	if len(got) != 1+2*5*3+3 {
		t.Errorf("%d series: %v", len(got), got)
	}
}
