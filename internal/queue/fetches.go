package queue

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

//go:embed return.lua
var returnLua string

// Fetch is what one fetch of a worker took and has not finished.
type Fetch struct {
	Worker string
	Number string
	Shard  message.Shard
	Field  string   // of the number's hash of leases
	Tasks  []TaskID // some may be finished already
}

// Fetches returns what workers have fetched and not finished of some shards (none: of all), and had so when
// Fetches was last called: what dead workers left is among it. Of each number the latest comes first: in this
// order Return puts the tasks into theirs. To learn which workers are dead, ask afterwards: a
// worker has a heartbeat before it fetches.
func (c *Client) Fetches(ctx context.Context, shards ...message.Shard) ([]Fetch, error) {
	if len(shards) == 0 {
		shards = c.shards.All()
	}
	numbers := make([]*redis.StringSliceCmd, len(shards))
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			numbers[i] = p.SMembers(ctx, WorkKey(s))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the index of work: %w", err)
	}
	fields := map[string]*redis.StringSliceCmd{}
	err = c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, cmd := range numbers {
			for _, number := range cmd.Val() {
				if message.IsNumberID(number) { // else a worker checks asynq with it
					fields[number] = p.HKeys(ctx, LeasesKey(c.shards.Of(number), number))
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read leases: %w", err)
	}
	var all []Fetch
	c.seen.Lock()
	seen := map[message.Shard]map[string]bool{}
	for _, s := range shards {
		seen[s] = map[string]bool{}
	}
	for number, cmd := range fields {
		s := c.shards.Of(number)
		for _, field := range cmd.Val() {
			seen[s][field] = true
			if c.seen.fields[s][field] {
				worker, _ := splitField(field)
				all = append(all, Fetch{Worker: worker, Number: number, Shard: s, Field: field})
			}
		}
	}
	if c.seen.fields == nil {
		c.seen.fields = map[message.Shard]map[string]bool{}
	}
	maps.Copy(c.seen.fields, seen)
	c.seen.Unlock()
	return c.tasksOf(ctx, all)
}

// seen are the fields of leases that existed when they were last read.
type seen struct {
	sync.Mutex
	fields map[message.Shard]map[string]bool
}

// tasksOf reads the tasks of fetches. Those that ended meanwhile are left out.
func (c *Client) tasksOf(ctx context.Context, fetches []Fetch) ([]Fetch, error) {
	values := make([]*redis.StringCmd, len(fetches))
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, f := range fetches {
			values[i] = p.HGet(ctx, LeasesKey(f.Shard, f.Number), f.Field)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read leased tasks: %w", err)
	}
	var all []Fetch
	for i, f := range fetches {
		if values[i].Err() != nil {
			continue
		}
		eachLeased(values[i].Val(), func(_ int, id string) {
			if task, ok := ParseTaskID(id); ok {
				f.Tasks = append(f.Tasks, task)
			}
		})
		all = append(all, f)
	}
	slices.SortFunc(all, func(a, b Fetch) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), compareFields(b.Field, a.Field))
	})
	return all, nil
}

// Return puts the tasks of fetches back to the heads of their queues, in their order, and ends their
// leases. What another worker has returned meanwhile is not changed.
func (c *Client) Return(ctx context.Context, fetches []Fetch) error {
	byNumber := map[string][]string{}
	for _, f := range fetches {
		byNumber[f.Number] = append(byNumber[f.Number], f.Field)
	}
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for number, fields := range byNumber {
			s := c.shards.Of(number)
			c.giveBack.Add(ctx, p, []string{LeasesKey(s, number)}, latestFirst(fields)...)
			p.Publish(ctx, store.WakeChannel(s), number)
		}
	})
	if err != nil {
		return fmt.Errorf("return tasks to their queues: %w", err)
	}
	return nil
}

// ReturnFields is Return for fetches of one number, by their fields. It wakes no worker.
func (c *Client) ReturnFields(ctx context.Context, number string, fields []string) error {
	return c.db.Run(ctx, c.giveBack, []string{LeasesKey(c.shards.Of(number), number)}, latestFirst(fields)...).Err()
}

// FieldOf names a fetch in the hash of leases. Sequences of one worker are never used twice.
func FieldOf(worker string, seq int64) string { return worker + "/" + Sequence(seq) }

// Sequence is how the scripts are given the sequence of a fetch.
func Sequence(seq int64) string { return strconv.FormatInt(seq, 36) }

func splitField(field string) (worker string, seq int64) {
	i := strings.LastIndexByte(field, '/')
	if i < 0 {
		return field, 0
	}
	seq, _ = strconv.ParseInt(field[i+1:], 36, 64)
	return field[:i], seq
}

// compareFields compares by when the fetches happened: sequences begin with the time.
func compareFields(a, b string) int {
	_, m := splitField(a)
	_, n := splitField(b)
	return cmp.Compare(m, n)
}

// latestFirst orders fields as return.lua needs them.
func latestFirst(fields []string) []any {
	slices.SortFunc(fields, func(a, b string) int { return compareFields(b, a) })
	args := make([]any, len(fields))
	for i, f := range fields {
		args[i] = f
	}
	return args
}

// eachLeased calls f with each task of a lease's value, by class and in their order.
func eachLeased(value string, f func(class int, id string)) {
	for line := range strings.SplitSeq(value, "\n") {
		class, ids, _ := strings.Cut(line, " ")
		c, err := strconv.Atoi(class)
		if err != nil || c < 0 || c >= len(message.Classes()) {
			continue
		}
		for id := range strings.SplitSeq(ids, " ") {
			f(c, id)
		}
	}
}

// HasTask reports whether a lease's value has a task.
func HasTask(value, task string) (has bool) {
	eachLeased(value, func(_ int, id string) { has = has || id == task })
	return has
}
