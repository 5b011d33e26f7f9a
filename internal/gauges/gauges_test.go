package gauges

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
)

func TestGauges(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		var broken error
		g := New(Options{
			Rates: func(_ context.Context, numbers []string) ([]queue.Pace, error) {
				reads++
				return []queue.Pace{{
					Number: numbers[0], Configured: 80, Rate: 80, Full: 80,
					Waiting: []queue.Waiting{
						{Class: message.Authentication, Active: 2},
						{Class: message.Marketing, Pending: 160 * reads, Oldest: time.Now().Add(-time.Minute)},
					},
				}}, broken
			},
			Unknown: func(_ context.Context, known func(string) bool) ([]queue.Pace, error) {
				if known("8") || !known("7") {
					t.Error("a number is taken for another")
				}
				return []queue.Pace{{Number: "8", Waiting: []queue.Waiting{{Pending: 3, Delayed: 2}, {Active: 1}}}}, nil
			},
			Backlog: func(context.Context) (ledger.Backlog, error) {
				return ledger.Backlog{Waiting: 5, InDoubt: 1, Parked: 4, Dead: 5}, nil
			},
			Numbers: []string{"7"}, Log: slog.New(slog.DiscardHandler),
		})
		want := `
# HELP sluice_messages_dead Messages that were given up and that can be sent again.
# TYPE sluice_messages_dead gauge
sluice_messages_dead 5
# HELP sluice_messages_open Open messages by state. attempting: a worker has fetched them, to send them within moments; known to a second. queued: all others that wait, also for their time or with a hold.
# TYPE sluice_messages_open gauge
sluice_messages_open{state="attempting"} 2
sluice_messages_open{state="in_doubt"} 1
sluice_messages_open{state="parked"} 4
sluice_messages_open{state="queued"} 3
# HELP sluice_number_effective_rate How fast it goes after Meta's refusals, in messages a second.
# TYPE sluice_number_effective_rate gauge
sluice_number_effective_rate{number="7"} 80
# HELP sluice_number_rate_limit_messages_per_second How fast the number may go by configuration or by order, a climb counted in.
# TYPE sluice_number_rate_limit_messages_per_second gauge
sluice_number_rate_limit_messages_per_second{number="7"} 80
# HELP sluice_number_unconfigured_messages Messages that wait for a number that is not configured: nothing is sent for it.
# TYPE sluice_number_unconfigured_messages gauge
sluice_number_unconfigured_messages{number="8"} 6
# HELP sluice_queue_depth Messages that wait for their number's next slot; those that wait for their time do not count.
# TYPE sluice_queue_depth gauge
sluice_queue_depth{class="authentication",number="7"} 0
sluice_queue_depth{class="marketing",number="7"} 160
# HELP sluice_queue_eta_seconds How long until a message accepted now would leave.
# TYPE sluice_queue_eta_seconds gauge
sluice_queue_eta_seconds{class="authentication",number="7"} 0
sluice_queue_eta_seconds{class="marketing",number="7"} 2
# HELP sluice_queue_oldest_age_seconds How long the first of them has waited; 0: there is none.
# TYPE sluice_queue_oldest_age_seconds gauge
sluice_queue_oldest_age_seconds{class="authentication",number="7"} 0
sluice_queue_oldest_age_seconds{class="marketing",number="7"} 60
`
		compare := func(want string) {
			t.Helper()
			if err := testutil.CollectAndCompare(g, strings.NewReader(want)); err != nil {
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
		compare(strings.NewReplacer("} 160", "} 320", "marketing\",number=\"7\"} 2\n", "marketing\",number=\"7\"} 4\n").Replace(want))
		broken = errors.New("away")
		time.Sleep(fresh)
		compare("")
		if problems, err := testutil.CollectAndLint(New(g.Options)); err != nil || len(problems) != 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}
