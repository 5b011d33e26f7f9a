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

func TestLagGauges(t *testing.T) {
	t.Parallel()
	var broken error
	g := Lags(func(context.Context) ([]events.Lag, error) {
		return []events.Lag{{Group: "crm", Entries: 3, Age: time.Minute}, {Group: "sluice", Entries: -1}}, broken
	})
	err := testutil.CollectAndCompare(g, strings.NewReader(`
# HELP sluice_stream_lag_entries Entries of the event streams that a consumer group has not read, or read and not acknowledged. Absent while Redis does not know it, and for sluice. group: see sluice_stream_lag_seconds. All workers report the same value: take the maximum.
# TYPE sluice_stream_lag_entries gauge
sluice_stream_lag_entries{group="crm"} 3
# HELP sluice_stream_lag_seconds Age of the oldest entry of the event streams that a consumer group has not read, or read and not acknowledged. 0: there is none. group: its name; sluice: Sluice itself, which applies what Meta reports; other: all groups after the first 20 by name. All workers report the same value: take the maximum.
# TYPE sluice_stream_lag_seconds gauge
sluice_stream_lag_seconds{group="crm"} 60
sluice_stream_lag_seconds{group="sluice"} 0
`))
	if err != nil {
		t.Error(err)
	}
	if broken = errors.New("no answer"); testutil.CollectAndCount(g) != 0 {
		t.Error("series without an answer")
	}
}
