package doctor

import (
	"context"
	"fmt"
	"time"

	"sluice/internal/events"
	"sluice/internal/store"
)

// eventsWarn is the share of their memory that events may use without a warning.
const eventsWarn = 0.75

// events checks that events are kept as long as configured, and that their memory fits into Redis.
func (v *visit) events(ctx context.Context, db *store.DB, stream *events.Stream) {
	const check = "events"
	memory := v.Worker.Events.Memory
	if err := events.CheckMemory(ctx, db, memory); err != nil {
		v.add(check, "", found(Fail, err.Error(), "correct it: no worker starts with this setting"))
		return
	}
	k, err := stream.Kept(ctx)
	if err != nil {
		v.add(check, "", refused(err))
		return
	}
	const fix = "raise maxmemory and events.memory, or lower events.retention"
	uses := fmt.Sprintf("%s of %s", store.Size(k.Bytes), store.Size(k.Budget))
	switch {
	case k.At.IsZero():
		v.add(check, "", found(Warn, "no worker has measured the event streams yet", "start a worker with the role reconcile, and run doctor again after 10 s"))
	case k.Short():
		v.add(check, "", found(Warn, fmt.Sprintf("are kept for %s instead of %s, because they use their memory (%s)", k.Effective.Round(time.Second), k.Retention, uses), fix))
	case float64(k.Bytes) > eventsWarn*float64(k.Budget):
		v.add(check, "", found(Warn, fmt.Sprintf("use %s of memory. When they use all of it, the oldest are dropped before events.retention", uses), fix))
	default:
		v.add(check, "", found(OK, fmt.Sprintf("are kept for %s, and use less than 75 %% of their memory", k.Retention), ""))
	}
	v.fullEvents(ctx, db, k)
}

// fullEvents checks that Redis has memory for the messages too when events use all of the memory that is configured for them.
func (v *visit) fullEvents(ctx context.Context, db *store.DB, k events.Kept) {
	var used, limit int64
	for _, m := range db.Memory(ctx) {
		used, limit = used+m.Used, limit+m.Max
	}
	if v.Worker.Events.Memory == 0 || limit == 0 {
		return
	}
	if share := float64(used-k.Bytes+v.Worker.Events.Memory) / float64(limit); share > memoryFail {
		v.add("events memory", "", found(Warn,
			fmt.Sprintf("when events use all of events.memory, %.0f %% of maxmemory is in use. Above 75 %% the API accepts no messages", 100*share),
			"raise maxmemory, or lower events.memory"))
	}
}
