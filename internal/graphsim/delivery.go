package graphsim

import (
	"bytes"
	"container/heap"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	"sluice/internal/cloudapi"
	"sluice/internal/retry"
)

// WebhookStats are the counters of the delivery of webhooks.
type WebhookStats struct {
	OK      int    `json:"ok"`                   // POSTs answered 200
	Failed  int    `json:"failed"`               // POSTs answered otherwise or not at all; each is repeated
	Waiting int    `json:"waiting"`              // statuses and inbound messages not yet answered with 200
	Err     string `json:"last_error,omitempty"` // of the latest POST that failed
}

func (h *hooks) stats() WebhookStats {
	h.mu.Lock()
	defer h.mu.Unlock()
	return WebhookStats{OK: h.ok, Failed: h.failed, Waiting: h.queue.waiting(), Err: h.err}
}

// run delivers what becomes due until ctx ends. Then running deliveries return to the
// queue.
func (h *hooks) run(ctx context.Context) {
	transport := &http.Transport{MaxIdleConnsPerHost: h.options.Senders, IdleConnTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	client := &http.Client{
		Transport:     transport,
		Timeout:       10 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}

	parcels := make(chan *parcel)
	var senders sync.WaitGroup
	for range h.options.Senders {
		senders.Go(func() {
			for p := range parcels {
				h.deliver(ctx, client, p)
			}
		})
	}
	for {
		p, ok := h.queue.next(ctx, h.options.Batch)
		if !ok {
			break
		}
		parcels <- p // senders receive until the channel is closed
	}
	close(parcels)
	senders.Wait()
}

// deliver POSTs a parcel, and puts it back into the queue if that fails.
func (h *hooks) deliver(ctx context.Context, client *http.Client, p *parcel) {
	if p.body == nil {
		p.body = notify(h.standing.Load(), p.reports)
	}
	now := time.Now()
	for _, r := range p.reports {
		if r.status != nil && r.status.Status != "failed" {
			h.reported(r.status.ID, now)
		}
	}
	err := h.post(ctx, client, p.url, p.body)
	h.record(err)
	for _, r := range p.reports {
		if r.status != nil {
			h.history.add(r.number, r.status, r.at, err == nil)
		}
	}
	if err == nil {
		h.queue.done(p)
		return
	}
	p.tries++
	p.due = time.Now().Add(pauses(h.options.Retry).After(p.tries))
	h.queue.putBack(p)
}

func (h *hooks) record(err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil {
		h.ok++
		h.metrics.posts.WithLabelValues("ok").Inc()
		return
	}
	h.failed++
	h.err = err.Error()
	h.metrics.posts.WithLabelValues("failed").Inc()
}

func (h *hooks) post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "facebookexternalua")
	req.Header.Set("X-Hub-Signature-256", cloudapi.Sign(h.options.Secret, body))
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, io.LimitReader(resp.Body, 64<<10)) // so that the connection can be used again
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("webhook answered %d", resp.StatusCode)
	}
	return nil
}

// pauses returns the waits between the tries to deliver a parcel.
func pauses(s Span) retry.Pauses { return retry.Pauses{First: s.Min, Max: max(s.Min, s.Max)} }

// parcel is the content of one POST.
type parcel struct {
	due     time.Time
	serial  int // order among equals
	url     string
	reports []report
	tries   int
	body    []byte // set after the first try, or for a field other than messages; repeats have the same bytes
}

// queue has parcels until they become due.
type queue struct {
	mu          sync.Mutex
	parcels     byDue
	serial      int
	outstanding int           // reports put and not done
	empty       chan struct{} // closed when outstanding becomes 0, and new when it becomes more
	wake        chan struct{} // has a token when the earliest parcel may have changed
}

func newQueue() *queue {
	empty := make(chan struct{})
	close(empty)
	return &queue{empty: empty, wake: make(chan struct{}, 1)}
}

// put adds new parcels, all in one step.
func (q *queue) put(parcels ...*parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for _, p := range parcels {
		if q.outstanding == 0 {
			q.empty = make(chan struct{})
		}
		q.outstanding += len(p.reports)
		q.push(p)
	}
}

// putBack adds a parcel again that next returned.
func (q *queue) putBack(p *parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(p)
}

func (q *queue) push(p *parcel) {
	q.serial++
	p.serial = q.serial
	heap.Push(&q.parcels, p)
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// done removes a parcel that next returned.
func (q *queue) done(p *parcel) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.outstanding -= len(p.reports); q.outstanding == 0 {
		close(q.empty)
	}
}

// next returns what is due first, with new parcels joined up to batch reports. It blocks
// until something is due, and returns false if ctx ended. Only one goroutine may call it at a time.
func (q *queue) next(ctx context.Context, batch int) (*parcel, bool) {
	for ctx.Err() == nil {
		p, pause := q.take(batch)
		if p != nil {
			return p, true
		}
		timer := time.NewTimer(pause)
		select {
		case <-timer.C:
		case <-q.wake:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	return nil, false
}

// take returns what next returns, or how long nothing will be due.
func (q *queue) take(batch int) (*parcel, time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.parcels) == 0 {
		return nil, time.Hour
	}
	now := time.Now()
	if pause := q.parcels[0].due.Sub(now); pause > 0 {
		return nil, pause
	}
	p := heap.Pop(&q.parcels).(*parcel)
	for p.body == nil && len(p.reports) < batch && len(q.parcels) > 0 {
		if more := q.parcels[0]; more.body != nil || more.url != p.url || more.due.After(now) {
			break
		}
		p.reports = append(p.reports, heap.Pop(&q.parcels).(*parcel).reports...)
	}
	return p, 0
}

func (q *queue) waiting() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.outstanding
}

// drained blocks until nothing is outstanding or ctx ends.
func (q *queue) drained(ctx context.Context) error {
	q.mu.Lock()
	empty := q.empty
	q.mu.Unlock()
	select {
	case <-empty:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// byDue is a heap of parcels, earliest first.
type byDue []*parcel

func (b byDue) Len() int      { return len(b) }
func (b byDue) Swap(i, j int) { b[i], b[j] = b[j], b[i] }
func (b byDue) Less(i, j int) bool {
	if !b[i].due.Equal(b[j].due) {
		return b[i].due.Before(b[j].due)
	}
	return b[i].serial < b[j].serial
}
func (b *byDue) Push(x any) { *b = append(*b, x.(*parcel)) }
func (b *byDue) Pop() any {
	last := (*b)[len(*b)-1]
	(*b)[len(*b)-1] = nil
	*b = (*b)[:len(*b)-1]
	return last
}
