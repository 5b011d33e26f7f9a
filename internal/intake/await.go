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
	// waitMost is how long ?wait=submitted waits.
	waitMost = 10 * time.Second
	// A message that somebody waits for is looked at after lookFirst, and then after pauses that
	// grow up to lookMost.
	lookFirst = 40 * time.Millisecond
	lookMost  = 500 * time.Millisecond
)

// waitOf reads the query of a request to send.
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

// follow waits until Meta took the message, or it is clear that it will not by itself, up to
// waitMost, and puts what is known then into a.
func (in *Intake) follow(w http.ResponseWriter, r *http.Request, a *acceptedMessage) {
	ctx, cancel := context.WithTimeout(r.Context(), waitMost)
	defer cancel()
	// An error means that the server cannot: then the answer comes as late as it lets us.
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(waitMost + storeTimeout))
	rec := in.watch.until(ctx, in.stopped, a.ID)
	if rec.State != "" {
		a.State, a.WAMID, a.Code, a.Reason = rec.State, rec.WAMID, rec.Code, rec.Reason
	}
}

// settled tells whether waiting for Meta to take a message is over.
func settled(r message.Record) bool {
	return r.State == message.Parked || r.State.Final() || r.State.Rank(r.Reason) >= message.Submitted.Rank("")
}

// watch looks after messages on behalf of callers who wait for them. All callers share its
// looks: however many wait, there is one round trip to the store each lookFirst at most, and
// none while nobody waits.
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
	last  message.Record // what was seen last
	done  chan struct{}  // closed when last is settled
}

func newWatch(progress func(context.Context, []string) ([]message.Record, error)) *watch {
	return &watch{progress: progress, waiting: map[*waiter]struct{}{}}
}

// until returns a message's progress when it is settled, or as it was seen last when ctx or
// stopped ends the waiting.
func (w *watch) until(ctx context.Context, stopped <-chan struct{}, id string) message.Record {
	one := &waiter{id: id, due: time.Now().Add(lookFirst), pause: lookFirst, done: make(chan struct{})}
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

// run looks until nobody waits.
func (w *watch) run() {
	for {
		time.Sleep(lookFirst)
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
		if err == nil { // else the next look tells
			w.tell(due, records)
		}
	}
}

// due returns whom to look for now. It notes the end of the run when there are no more.
func (w *watch) due() (due []*waiter, ids []string, more bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := time.Now()
	for one := range w.waiting {
		if now.Before(one.due) {
			continue
		}
		one.pause = min(one.pause*3/2, lookMost)
		one.due = now.Add(one.pause)
		due, ids = append(due, one), append(ids, one.id)
	}
	w.running = len(w.waiting) > 0
	return due, ids, w.running
}

func (w *watch) tell(due []*waiter, records []message.Record) {
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
	Doc: "`submitted`: the answer waits up to 10 s until Meta has accepted the message or it cannot be sent, and has `wamid`, or `code` and `reason`.",
}
