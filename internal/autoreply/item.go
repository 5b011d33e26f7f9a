package autoreply

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/events"
	"sluice/internal/message"
)

// item is a message to answer.
type item struct {
	number   string
	event    message.Event
	in       cloudapi.Inbound
	settings start
	reply    *reply // nil: not decided yet
}

// take begins to handle the messages of an entry, under working. It waits for free slots until ctx ends: then the rest is left to a later
// reading.
func (r *Replier) take(ctx, working context.Context, e events.GroupEntry) {
	key := e.Stream + " " + e.ID
	r.mu.Lock()
	again := r.open[key]
	r.open[key] = true
	r.mu.Unlock()
	if again { // it is being handled, and was reclaimed for its age
		return
	}
	items := r.items(e)
	left, failed := &atomic.Int64{}, &atomic.Bool{}
	left.Store(int64(len(items)) + 1)
	end := func(ok bool) {
		if !ok {
			failed.Store(true)
		}
		if left.Add(-1) > 0 {
			return
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		if delete(r.open, key); failed.Load() {
			r.left = true
		} else {
			r.done = append(r.done, e)
		}
	}
	for _, it := range items {
		select {
		case r.slots <- struct{}{}:
		case <-ctx.Done():
			end(false)
			continue
		}
		r.running.Go(func() {
			defer func() { <-r.slots }()
			end(r.handle(ctx, working, it))
		})
	}
	end(true)
}

// items returns the messages of an entry that may need an answer.
func (r *Replier) items(e events.GroupEntry) (all []*item) {
	decoded, err := events.Decode(e.XMessage)
	if err != nil {
		r.o.Log.Error("cannot read event to answer", "stream", e.Stream, "entry", e.ID, "err", err)
	}
	ms, _, _ := strings.Cut(e.ID, "-")
	stored, _ := strconv.ParseInt(ms, 10, 64) // Redis made the id
	for _, ev := range decoded {
		settings, has := r.starts[ev.Number]
		if !has || stored < settings.since {
			continue
		}
		if in, ok := cloudapi.InboundOf(ev); ok {
			all = append(all, &item{number: ev.Number, event: ev, in: in, settings: settings})
		}
	}
	return all
}

// handle answers a message under working, and reports whether it is done. It repeats what fails for up to tryFor, until ctx ends.
func (r *Replier) handle(ctx, working context.Context, it *item) bool {
	began := time.Now()
	for failures := 1; ; failures++ {
		err := r.answer(working, it)
		if err == nil {
			return true
		}
		r.missed(it.number, missedUnavailable, err)
		if time.Since(began) > tryFor {
			return false
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(pauses.After(failures)):
		}
	}
}

// missed counts why a message got no answer, or why a step to it failed, and logs it: once a minute for a number and a reason.
func (r *Replier) missed(number, reason string, err error) {
	r.metrics.missed[reason].Inc()
	r.mu.Lock()
	key := number + " " + reason
	silent := time.Since(r.said[key]) < time.Minute
	if !silent {
		r.said[key] = time.Now()
	}
	r.mu.Unlock()
	if silent {
		return
	}
	if err == nil {
		r.o.Log.Warn("automatic reply missing", "phone_number_id", number, "reason", reason)
		return
	}
	r.o.Log.Warn("automatic reply missing", "phone_number_id", number, "reason", reason, "err", err)
}
