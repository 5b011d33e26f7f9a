package queue

import (
	"context"
	_ "embed"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed done.lua
var doneLua string

const (
	// ackGather is how long acknowledgements of one queue gather, to be one script; ackMost, how
	// many at most. Nothing hangs on them: the record knows what came of the task.
	ackGather = 100 * time.Millisecond
	ackMost   = 500
	// ackPatience is how long such a script then waits for a round trip to share.
	ackPatience = 50 * time.Millisecond
	ackTimeout  = 30 * time.Second
)

// acks gathers acknowledgements by queue and day.
type acks struct {
	mu   sync.Mutex
	open map[string]*ackGroup
}

// ackGroup is those that go together.
type ackGroup struct {
	keys []string // as done.lua wants them
	args []any
	full chan struct{} // closed: no more go with it
	done chan struct{} // closed: it ran, with err
	err  error
}

// ack acknowledges a task together with others of its queue. Keys and args are those of asynq's
// own script: active, lease, task, counters of the day and of ever; id, end of the day's counter.
func (g *gate) ack(ctx context.Context, keys []string, args []any) *redis.Cmd {
	cmd := redis.NewCmd(ctx)
	group := g.gather(keys, args)
	select {
	case <-group.done:
		cmd.SetErr(group.err)
		cmd.SetVal("OK")
	case <-ctx.Done():
		cmd.SetErr(context.Cause(ctx))
	}
	return cmd
}

func (g *gate) gather(keys []string, args []any) *ackGroup {
	name := keys[0] + keys[3]
	g.acks.mu.Lock()
	defer g.acks.mu.Unlock()
	group := g.acks.open[name]
	if group == nil {
		group = &ackGroup{
			keys: []string{keys[0], keys[1], keys[3], keys[4]}, args: []any{args[1]},
			full: make(chan struct{}), done: make(chan struct{}),
		}
		g.acks.open[name] = group
		go g.sendAcks(name, group)
	}
	group.keys, group.args = append(group.keys, keys[2]), append(group.args, args[0])
	if len(group.args) > ackMost {
		delete(g.acks.open, name)
		close(group.full)
	}
	return group
}

// sendAcks runs a group's script when it has gathered long enough. Those who wait for it have
// deadlines of their own.
func (g *gate) sendAcks(name string, group *ackGroup) {
	select {
	case <-group.full:
	case <-time.After(ackGather):
	}
	g.acks.mu.Lock()
	if g.acks.open[name] == group {
		delete(g.acks.open, name)
	}
	g.acks.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.Background(), ackTimeout)
	defer cancel()
	group.err = g.db.Shared().Ride(ctx, ackPatience, func(p redis.Pipeliner) { g.done.Add(ctx, p, group.keys, group.args...) })
	close(group.done)
}
