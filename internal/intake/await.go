package intake

import (
	"context"
	"net/http"
	"sync"
	"time"

	"sluice/internal/httpapi"
	"sluice/internal/message"
)

const (
	// maxWait is how long ?wait=submitted waits.
	maxWait = 10 * time.Second
	// The record of an awaited message is read after firstPoll, and then after pauses that grow up to maxPoll.
	firstPoll = 40 * time.Millisecond
	maxPoll   = 500 * time.Millisecond
)

// waitOf reads the parameter wait of a request to send.
func waitOf(r *http.Request) (wait bool, refused refusal) {
	if r.URL.RawQuery == "" {
		return false, nil
	}
	switch r.URL.Query().Get("wait") {
	case "":
		return false, nil
	case "submitted":
		return true, nil
	}
	return false, refuseAt("wait", "wait_invalid")
}

// follow waits up to maxWait until Meta has accepted the message, or waiting longer has no use (see settled). It
// returns the last record that it read; zero: none.
func (in *Intake) follow(w http.ResponseWriter, r *http.Request, id string) message.Record {
	ctx, cancel := context.WithTimeout(r.Context(), maxWait)
	defer cancel()
	// If the connection does not support deadlines, the deadline of the server applies.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(maxWait + storeTimeout))
	return in.watch.until(ctx, in.stopped, id)
}

// settled reports whether Meta has accepted the message, or will not accept it without an operator.
func settled(r message.Record) bool {
	return r.State == message.Parked || r.State.Final() || r.State.Rank(r.Reason) >= message.Submitted.Rank("")
}

// watch polls messages for the callers that await them. All callers share its round trips: at most one per
// firstPoll, and none without callers.
type watch struct {
	progress func(ctx context.Context, ids []string) ([]message.Record, error)

	mu      sync.Mutex
	waiting map[*waiter]struct{}
	running bool
}

// waiter is one caller.
type waiter struct {
	id    string
	due   time.Time
	pause time.Duration
	last  message.Record // the record at the last poll
	done  chan struct{}  // closed when last is settled
}

func newWatch(progress func(context.Context, []string) ([]message.Record, error)) *watch {
	return &watch{progress: progress, waiting: map[*waiter]struct{}{}}
}

// until returns the record of a message when it is settled. When ctx or stopped ends the wait, it returns the
// record of the last poll.
func (w *watch) until(ctx context.Context, stopped <-chan struct{}, id string) message.Record {
	one := &waiter{id: id, due: time.Now().Add(firstPoll), pause: firstPoll, done: make(chan struct{})}
	w.mu.Lock()
	w.waiting[one] = struct{}{}
	if !w.running {
		w.running = true
		go w.run()
	}
	w.mu.Unlock()
	select {
	case <-one.done:
	case <-stopped:
	case <-ctx.Done():
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.waiting, one)
	return one.last
}

// run polls until no caller waits.
func (w *watch) run() {
	for {
		time.Sleep(firstPoll)
		due, ids, more := w.due()
		if !more {
			return
		}
		if len(ids) == 0 {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), storeTimeout)
		records, err := w.progress(ctx, ids)
		cancel()
		if err == nil { // after an error the next poll follows
			w.update(due, records)
		}
	}
}

// due returns the waiters to poll now, with the ids of their messages. more is false when no caller waits: then
// the run ends.
func (w *watch) due() (due []*waiter, ids []string, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for one := range w.waiting {
		if now.Before(one.due) {
			continue
		}
		one.pause = min(one.pause*3/2, maxPoll)
		one.due = now.Add(one.pause)
		due, ids = append(due, one), append(ids, one.id)
	}
	w.running = len(w.waiting) > 0
	return due, ids, w.running
}

// update gives the waiters their records, and ends those that are settled.
func (w *watch) update(due []*waiter, records []message.Record) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for i, one := range due {
		if one.last = records[i]; settled(one.last) {
			if _, still := w.waiting[one]; still {
				delete(w.waiting, one)
				close(one.done)
			}
		}
	}
}

var paramWait = httpapi.Param{
	In: "query", Name: "wait", Example: "submitted",
	Doc: "`submitted`: the answer waits until Meta has accepted the message (it has `wamid`), until the message has ended or is parked (it has `code` or `reason`), or for 10 s. `state` is the state then.",
}
