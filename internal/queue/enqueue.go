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
)

// Client adds tasks to the queues. It is safe for concurrent use.
type Client struct {
	db       *store.DB
	shards   message.Shards
	asynq    *asynq.Client
	announce store.Script
}

// NewClient returns a client that enqueues with asynq's own client.
func NewClient(db *store.DB, shards message.Shards) *Client {
	return &Client{db, shards, asynq.NewClientFromRedisClient(&recorder{UniversalClient: db, db: db}), db.Script(announceLua)}
}

// Task names a message's task.
type Task struct {
	ID     string // of the message
	K      int    // the record's task counter: a task made again has another
	Number string
	Class  message.Class
	At     time.Time // not before; zero: at once
}

// Prepared is a task ready to be enqueued.
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
		opts = append(opts, asynq.ProcessAt(t.At.Add(time.Second-1).Truncate(time.Second))) // asynq counts in whole seconds, down
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

// wakeChannel is where an enqueue is announced to the shard's workers.
func wakeChannel(s message.Shard) string { return s.Key("wake") }

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
