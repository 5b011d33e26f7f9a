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

// handsKey is the hash of what workers have in hand of a number. A field is one fetch of a worker,
// "<worker>/<sequence>"; its value has a line for each class: the class from 0, then task ids, with
// blanks between. It is the lease: what is in hand stays there as long as its worker has a heartbeat.
func handsKey(s message.Shard, number string) string { return store.Key(s, "hands:"+number) }

// Hand is what one fetch of a worker took and has not finished.
type Hand struct {
	Worker string
	Number string
	Shard  message.Shard
	Field  string   // of the number's hash of hands
	Tasks  []TaskID // some may be finished already
}

// Hands returns what workers have in hand of some shards (none: of all), and had so when Hands was last
// called: what dead workers left behind is among it. Of each number the latest comes first: returned in
// this order the tasks come into theirs. Whoever wants to know who is dead must ask that afterwards: a
// worker has a heartbeat before it fetches.
func (c *Client) Hands(ctx context.Context, shards ...message.Shard) ([]Hand, error) {
	if len(shards) == 0 {
		shards = c.shards.All()
	}
	numbers := make([]*redis.StringSliceCmd, len(shards))
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, s := range shards {
			numbers[i] = p.SMembers(ctx, workKey(s))
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read the index of work: %w", err)
	}
	fields := map[string]*redis.StringSliceCmd{}
	err = c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for _, cmd := range numbers {
			for _, number := range cmd.Val() {
				if message.IsNumberID(number) { // else it is of a probe
					fields[number] = p.HKeys(ctx, handsKey(c.shards.Of(number), number))
				}
			}
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read what is in hand: %w", err)
	}
	var all []Hand
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
				all = append(all, Hand{Worker: worker, Number: number, Shard: s, Field: field})
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

// seen are the fields of hands that were there when they were last read.
type seen struct {
	sync.Mutex
	fields map[message.Shard]map[string]bool
}

// tasksOf reads the tasks of hands. Those that are gone meanwhile are left out.
func (c *Client) tasksOf(ctx context.Context, hands []Hand) ([]Hand, error) {
	values := make([]*redis.StringCmd, len(hands))
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for i, h := range hands {
			values[i] = p.HGet(ctx, handsKey(h.Shard, h.Number), h.Field)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("read tasks in hand: %w", err)
	}
	var all []Hand
	for i, h := range hands {
		if values[i].Err() != nil {
			continue
		}
		eachInHand(values[i].Val(), func(_ int, id string) {
			if message, k, ok := splitTaskID(id); ok {
				h.Tasks = append(h.Tasks, TaskID{message, k})
			}
		})
		all = append(all, h)
	}
	slices.SortFunc(all, func(a, b Hand) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), compareFields(b.Field, a.Field))
	})
	return all, nil
}

// Return puts the tasks of hands back to the heads of their queues, in their order, and removes the
// hands. What somebody else has returned meanwhile stays as it is.
func (c *Client) Return(ctx context.Context, hands []Hand) error {
	byNumber := map[string][]string{}
	for _, h := range hands {
		byNumber[h.Number] = append(byNumber[h.Number], h.Field)
	}
	err := c.db.Pipe(ctx, func(p redis.Pipeliner) {
		for number, fields := range byNumber {
			s := c.shards.Of(number)
			c.giveBack.Add(ctx, p, []string{lineKey(s, number)}, latestFirst(fields)...)
			p.Publish(ctx, store.WakeChannel(s), number)
		}
	})
	if err != nil {
		return fmt.Errorf("return tasks to their queues: %w", err)
	}
	return nil
}

// Strays returns those of some hands that bear this worker's name and that it knows nothing of: Redis
// lost that it had finished their tasks. They must be returned like those of a dead worker.
func (s *Server) Strays(hands []Hand) []Hand { return s.gate.strays(hands) }

func (g *gate) strays(hands []Hand) []Hand {
	return slices.DeleteFunc(slices.Clone(hands), func(h Hand) bool { return h.Worker != g.o.Worker || g.has(h) })
}

// has tells whether this worker knows a hand of its own.
func (g *gate) has(h Hand) bool {
	n := g.number(h.Number)
	if n == nil {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slices.ContainsFunc(n.leaving.hands, func(own *hand) bool { return own.field == h.Field })
}

// fieldOf names a fetch. Sequences of one worker are never used twice.
func fieldOf(worker string, seq int64) string { return worker + "/" + seqText(seq) }

func seqText(seq int64) string { return strconv.FormatInt(seq, 36) }

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

// latestFirst orders fields as return.lua wants them.
func latestFirst(fields []string) []any {
	slices.SortFunc(fields, func(a, b string) int { return compareFields(b, a) })
	args := make([]any, len(fields))
	for i, f := range fields {
		args[i] = f
	}
	return args
}

// eachInHand calls f with each task of a value, by class and in their order.
func eachInHand(value string, f func(class int, id string)) {
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

// hasInHand tells whether a value has a task.
func hasInHand(value, task string) (has bool) {
	eachInHand(value, func(_ int, id string) { has = has || id == task })
	return has
}
