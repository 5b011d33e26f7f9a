package queue

import (
	"context"
	"fmt"
	"strconv"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/store"
)

const (
	taskType = "send"

	// maxRetry is never reached, on purpose: attempts are counted in the record, and the message of a task
	// that asynq archives would never be sent.
	maxRetry = 1000
	// taskTimeout is more than the longest attempt, which ends by its own deadlines.
	taskTimeout = 90 * time.Second

	// publishTimeout bounds the one command of an enqueue that Redis must answer first.
	publishTimeout = 5 * time.Second
)

// Client adds tasks to the queues, and returns those of dead workers. It is safe for concurrent use.
type Client struct {
	db      *store.DB
	shards  message.Shards
	encoder *encoder

	giveBack store.Script
	missing  store.Script
	seen     seen

	mu     sync.RWMutex
	queues map[queueID]*target
}

// queueID names a queue.
type queueID struct {
	number string
	class  message.Class
}

// target is what an enqueue must know of a queue. It never changes.
type target struct {
	Keys
	work, channel, call string
}

// NewClient returns a client that writes what asynq's own client would.
func NewClient(db *store.DB, shards message.Shards) *Client {
	return &Client{
		db: db, shards: shards, encoder: newEncoder(), giveBack: db.Script(NamesLua + FlowsLua + returnLua),
		missing: db.Script(missingScript), queues: map[queueID]*target{},
	}
}

// Task names a message's task.
type Task struct {
	ID     string // of the message
	K      int    // the record's task counter: a task made again has another
	Number string
	Class  message.Class
	At     time.Time // not before; zero: at once
	Flow   message.Flow
}

// Enqueue adds a task to a transaction: what asynq's own client would write, a call that wakes the
// number's workers if the task is due, and the number's entry in the index of work. The task must
// not exist yet. At the first task of a queue it waits for Redis, as asynq's client does.
func (c *Client) Enqueue(w *store.Writes, t Task) error {
	id := TaskID{t.ID, t.K}.String()
	q, err := c.target(queueID{t.Number, t.Class})
	var msg string
	if err == nil {
		msg, err = c.encoder.encode(q.Queue, t.ID, id)
	}
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	if flow := t.Flow.String(); flow != "" {
		w.HSet(q.Task+id, flowField, flow)
	}
	if now := time.Now().Add(c.db.ClockOffset()); t.At.After(now) {
		w.HSet(q.Task+id, "msg", msg, "state", "scheduled")
		w.ZAdd(q.Scheduled, WholeSecond(t.At).Unix(), id)
	} else {
		w.HSet(q.Task+id, "msg", msg, "state", "pending", "pending_since", now.UnixNano())
		if t.Flow == (message.Flow{}) {
			w.LPush(q.Pending, id)
		} else {
			s := c.shards.Of(t.Number)
			w.LPush(FlowKey(s, t.Number, t.Class.Order(), t.Flow), id)
			joinFlow(w, s, t.Number, t.Class.Order(), t.Flow)
		}
		w.Publish(q.channel, q.call)
	}
	w.SAdd(q.work, t.Number)
	return nil
}

// Encode returns a task of a queue in asynq's encoding.
func (c *Client) Encode(k Keys, id, task string) (string, error) {
	return c.encoder.encode(k.Queue, id, task)
}

// target returns a queue, which is in asynq's set of all queues. That set is in another Cluster slot
// than the queue, so the entry cannot be part of the transaction: it is made before, once.
func (c *Client) target(id queueID) (*target, error) {
	c.mu.RLock()
	q := c.queues[id]
	c.mu.RUnlock()
	if q != nil {
		return q, nil
	}
	s := c.shards.Of(id.number)
	k := KeysOf(s, id.number, id.class)
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	if err := c.db.SAdd(ctx, QueuesKey, k.Queue).Err(); err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if q = c.queues[id]; q == nil {
		q = &target{k, WorkKey(s), store.WakeChannel(s), id.number + " " + strconv.Itoa(id.class.Order())}
		c.queues[id] = q
	}
	return q, nil
}
