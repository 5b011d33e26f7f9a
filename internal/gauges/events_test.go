package gauges

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/internal/events"
)

func TestEvents(t *testing.T) {
	t.Parallel()
	var k events.Kept
	var broken error
	g := Events(func(context.Context) (events.Kept, error) { return k, broken })
	if n := testutil.CollectAndCount(g); n != 0 {
		t.Errorf("%d series before the first measurement", n)
	}
	k = events.Kept{At: time.Now(), Bytes: 5, Budget: 7, Retention: time.Hour, Effective: time.Minute}
	err := testutil.CollectAndCompare(g, strings.NewReader(`
# HELP sluice_events_bytes Redis memory that events use. All workers report the same value: take the maximum.
# TYPE sluice_events_bytes gauge
sluice_events_bytes 5
# HELP sluice_events_budget_bytes Redis memory that events may use: events.memory, or a quarter of maxmemory. All workers report the same value: take the maximum.
# TYPE sluice_events_budget_bytes gauge
sluice_events_budget_bytes 7
# HELP sluice_events_retention_configured_seconds How long events must be kept: events.retention. All workers report the same value: take the maximum.
# TYPE sluice_events_retention_configured_seconds gauge
sluice_events_retention_configured_seconds 3600
# HELP sluice_events_retention_seconds How long events are kept now. It is less than sluice_events_retention_configured_seconds while events are dropped before their time, for lack of memory. All workers report the same value: take the maximum.
# TYPE sluice_events_retention_seconds gauge
sluice_events_retention_seconds 60
`))
	if err != nil {
		t.Error(err)
	}
	if broken = errors.New("no answer"); testutil.CollectAndCount(g) != 0 {
		t.Error("series without an answer")
	}
}
