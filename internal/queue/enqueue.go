package queue

import (
	"context"
	_ "embed"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed announce.lua
var announceLua string

const (
	taskType = "send"

	// maxRetry is out of the way on purpose: attempts are counted in the record, and a task
	// that asynq archives would be a message nobody looks at.
	maxRetry = 1000
	// taskTimeout is more than the longest attempt, which ends by its own deadlines.
	taskTimeout = 90 * time.Second

	// publishTimeout bounds the one command of an enqueue that Redis must answer first.
	publishTimeout = 5 * time.Second
)

// Client adds tasks to the queues. It is safe for concurrent use.
type Client struct {
	db        *store.DB
	shards    message.Shards
	encoder   *encoder
	published sync.Map // queues that asynq's set of all queues has

	giveBack store.Script

	asynq    *asynq.Client // of Prepare
	announce store.Script
}

// NewClient returns a client that writes what asynq's own client would.
func NewClient(db *store.DB, shards message.Shards) *Client {
	return &Client{
		db: db, shards: shards, encoder: newEncoder(), giveBack: db.Script(namesLua + returnLua),
		asynq: asynq.NewClientFromRedisClient(&recorder{UniversalClient: db, db: db}), announce: db.Script(announceLua),
	}
}

// Task names a message's task.
type Task struct {
	ID     string // of the message
	K      int    // the record's task counter: a task made again has another
	Number string
	Class  message.Class
	At     time.Time // not before; zero: at once
}

// Enqueue adds a task to a transaction: what asynq's own client would write, a call for the
// number's workers if the task is due, and the number's entry in the index of work. The task must
// not be there yet. At the first task of a queue it waits for Redis, as asynq's client does.
func (c *Client) Enqueue(w *store.Writes, t Task) error {
	shard := c.shards.Of(t.Number)
	queue := name(shard, t.Number, t.Class)
	id := taskID(t.ID, t.K)
	msg, err := c.encoder.encode(queue, t.ID, id)
	if err == nil {
		err = c.publish(queue)
	}
	if err != nil {
		return fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	k := asynqKeys(queue)
	if now := time.Now(); t.At.After(now) {
		w.HSet(k.task+id, "msg", msg, "state", "scheduled")
		w.ZAdd(k.scheduled, wholeSecond(t.At).Unix(), id)
	} else {
		w.HSet(k.task+id, "msg", msg, "state", "pending", "pending_since", now.UnixNano())
		w.LPush(k.pending, id)
		w.Publish(wakeChannel(shard), wakeText(t.Number, t.Class))
	}
	w.SAdd(workKey(shard), t.Number)
	return nil
}

// publish enters a queue into asynq's set of all queues, once: that set lies in another Cluster slot
// than the queue, so it cannot be part of the transaction.
func (c *Client) publish(queue string) error {
	if _, done := c.published.Load(queue); done {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), publishTimeout)
	defer cancel()
	if err := c.db.SAdd(ctx, asynqQueues, queue).Err(); err != nil {
		return err
	}
	c.published.Store(queue, true)
	return nil
}

// wholeSecond rounds up: asynq counts in whole seconds.
func wholeSecond(at time.Time) time.Time { return at.Add(time.Second - 1).Truncate(time.Second) }

// Prepared is a task ready to be enqueued. Nothing should use it any more: see Client.Enqueue.
type Prepared struct {
	enqueue  store.Part
	announce store.Part
}

// Prepare makes a task ready. It may ask Redis, for which asynq's client has a reason at the
// first task of a queue.
func (c *Client) Prepare(ctx context.Context, t Task) (Prepared, error) {
	shard := c.shards.Of(t.Number)
	opts := []asynq.Option{
		asynq.Queue(name(shard, t.Number, t.Class)),
		asynq.TaskID(taskID(t.ID, t.K)),
		asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout),
	}
	delayed := t.At.After(time.Now())
	if delayed {
		opts = append(opts, asynq.ProcessAt(wholeSecond(t.At)))
	}
	call := ""
	if !delayed {
		call = wakeChannel(shard)
	}
	r := Prepared{announce: store.Part{Script: c.announce, Keys: []string{workKey(shard)}, Args: []any{t.Number, call}}}
	if _, err := c.asynq.EnqueueContext(context.WithValue(ctx, recordingKey{}, &r.enqueue), asynq.NewTask(taskType, []byte(t.ID)), opts...); err != nil {
		return Prepared{}, fmt.Errorf("enqueue %s: %w", t.ID, err)
	}
	return r, nil
}

// Parts are the enqueueing, just as asynq's client would do it at once, and, if the task is
// due, the call that wakes the number's workers. A task that is there already stays. They go
// together, see store.DB.Join.
func (r Prepared) Parts() []store.Part { return []store.Part{r.enqueue, r.announce} }

func taskID(id string, k int) string { return id + "." + strconv.Itoa(k) }

func splitTaskID(s string) (id string, k int, ok bool) {
	id, rest, found := strings.Cut(s, ".")
	k, err := strconv.Atoi(rest)
	return id, k, found && err == nil
}

// wakeChannel is where an enqueue is announced to the shard's workers: by the number, or by the
// number, a blank and the class from 0.
func wakeChannel(s message.Shard) string { return s.Key("wake") }

func wakeText(number string, c message.Class) string { return number + " " + strconv.Itoa(c.Order()) }

// recorder is a Redis client for asynq's own client that does not run the script of an
// enqueue but notes it, so that it can be joined with others.
type recorder struct {
	redis.UniversalClient
	db    *store.DB
	known sync.Map // SHA-1 -> store.Script
}

// recordingKey leads to the *store.Part that the noted script goes to.
type recordingKey struct{}

// EvalSha notes a script whose text is known, and asks for the text of any other.
func (r *recorder) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	script, known := r.known.Load(sha)
	if !known {
		cmd.SetErr(notLoaded{})
		return cmd
	}
	*ctx.Value(recordingKey{}).(*store.Part) = store.Part{Script: script.(store.Script), Keys: keys, Args: args}
	cmd.SetVal(int64(1))
	return cmd
}

// Eval learns a script's text and notes the script.
func (r *recorder) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	script := r.db.Foreign(text)
	r.known.Store(script.SHA(), script)
	return r.EvalSha(ctx, script.SHA(), keys, args...)
}
