package queue

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

// encoder writes tasks as asynq does. It lets asynq's own client encode one task of each queue, and
// puts the ids of other tasks in its place. It is safe for concurrent use and does not call Redis.
type encoder struct {
	asynq *asynq.Client
	known sync.Map // pattern -> encoding
}

// pattern is what encodings of the same form share. Lengths are part of the encoding.
type pattern struct {
	queue    string
	id, task int // lengths of the message's id and the task's
}

// encoding is an encoded task without its ids.
type encoding struct{ head, middle, tail string }

func newEncoder() *encoder {
	return &encoder{asynq: asynq.NewClientFromRedisClient(&listener{})}
}

// encode returns the task of message id in asynq's encoding.
func (e *encoder) encode(queue, id, task string) (string, error) {
	p := pattern{queue, len(id), len(task)}
	known, ok := e.known.Load(p)
	if !ok {
		learned, err := e.learn(p)
		if err != nil {
			return "", err
		}
		known, _ = e.known.LoadOrStore(p, learned)
	}
	c := known.(encoding)
	return c.head + id + c.middle + task + c.tail, nil
}

// errEncoding means that asynq encodes tasks in a way that the encoder does not know.
var errEncoding = errors.New("asynq encodes tasks in an unknown way")

// learn lets asynq encode a task with ids that are easy to find.
func (e *encoder) learn(p pattern) (encoding, error) {
	id, task := strings.Repeat("~", p.id), strings.Repeat("^", p.task)
	msg, err := e.byAsynq(p.queue, id, task)
	if err != nil {
		return encoding{}, err
	}
	head, rest, found := strings.Cut(msg, id)
	middle, tail, also := strings.Cut(rest, task)
	c := encoding{head, middle, tail}
	// The proof: another task encoded both ways.
	id, task = strings.Repeat("a", p.id), strings.Repeat("b", p.task)
	again, err := e.byAsynq(p.queue, id, task)
	if err != nil {
		return encoding{}, err
	}
	if !found || !also || c.head+id+c.middle+task+c.tail != again {
		return encoding{}, fmt.Errorf("%w: %w", ErrAsynq, errEncoding)
	}
	return c, nil
}

// byAsynq returns a task as asynq's client encodes it.
func (e *encoder) byAsynq(queue, id, task string) (string, error) {
	var msg string
	ctx := context.WithValue(context.Background(), listeningKey{}, &msg)
	_, err := e.asynq.EnqueueContext(ctx, asynq.NewTask(taskType, []byte(id)),
		asynq.Queue(queue), asynq.TaskID(task), asynq.MaxRetry(maxRetry), asynq.Timeout(taskTimeout))
	return msg, err
}

// listener is a Redis client for asynq's own client that writes nothing and keeps what it would write.
type listener struct{ redis.UniversalClient }

// listeningKey is the key of a context for the string that gets the encoded task.
type listeningKey struct{}

// SAdd is the entry in the set of all queues.
func (*listener) SAdd(ctx context.Context, _ string, _ ...any) *redis.IntCmd {
	return redis.NewIntCmd(ctx)
}

// EvalSha is the enqueue.
func (*listener) EvalSha(ctx context.Context, _ string, _ []string, args ...any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	cmd.SetVal(int64(1))
	if len(args) > 0 {
		if msg, ok := args[0].([]byte); ok {
			*ctx.Value(listeningKey{}).(*string) = string(msg)
		}
	}
	return cmd
}
