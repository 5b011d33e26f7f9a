package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/pacing"
)

const (
	// takeMost is how many tasks one fetch takes from a class: more would keep others from Redis.
	takeMost = 500
	// skipMost bounds how many tasks are taken for one slot, 2^skipMost, while none can be sent.
	skipMost = 8
)

// taken is the answer to a call of take.lua.
type taken struct {
	now   time.Time // Redis's clock
	left  int       // classes that may have more tasks, as bits
	tasks []*task
	holds []string // on templates and tags, and tasks that may go all the same
}

// fetch takes tasks for up to room and returns those that can be sent now; for their slots it
// offers what was booked. It returns when a further fetch is worth it.
func (g *gate) fetch(ctx context.Context, n *number, room int) ([]*task, time.Duration, error) {
	if err := g.recover(ctx, n); err != nil {
		return nil, 0, err
	}
	n.spare = slices.DeleteFunc(n.spare, func(at time.Time) bool { return time.Until(at) < pacing.Lead })
	sent, era := time.Now(), g.era(n.shard)
	r, next, err := g.takeTasks(ctx, n, room, sent)
	if err != nil || len(r.tasks) == 0 {
		return nil, next, err
	}
	tasks, known, err := g.known(ctx, n, r.tasks)
	if err != nil {
		g.leave(n, exits(r.tasks, toHead)...) // nothing else can be done with them
		return nil, 0, errors.Join(fmt.Errorf("read records of tasks: %w", err), g.write(n, 0))
	}
	n.noteExhausted()
	for _, t := range tasks {
		t.era = era
	}
	ready, out, behind := n.sort(r, tasks, known)
	g.leave(n, out...)
	if len(behind) > 0 { // before the next fetch, or they would lose their place
		g.leave(n, exits(behind, toHead)...)
		if err := g.write(n, 0); err != nil {
			return ready, next, err
		}
	}
	if len(n.spare) > 0 && len(out) > 0 && r.left != 0 {
		next = 0
	}
	return ready, next, nil
}

// era is that of a shard, see Options.Era.
func (g *gate) era(s message.Shard) int64 {
	if g.o.Era == nil {
		return 0
	}
	return g.o.Era(s)
}

func exits(tasks []*task, how way) []exit {
	all := make([]exit, len(tasks))
	for i, t := range tasks {
		all[i] = exit{task: t, how: how}
	}
	return all
}

// known asks what the records say about tasks. Those whose id is none of ours have nothing to do.
func (g *gate) known(ctx context.Context, n *number, tasks []*task) ([]*task, []Candidate, error) {
	if g.o.Candidates == nil {
		return tasks, make([]Candidate, len(tasks)), nil
	}
	ids := make([]TaskID, 0, len(tasks))
	var ours, strange []*task
	ours = tasks[:0:0]
	for _, t := range tasks {
		if t.Message == "" {
			strange = append(strange, t)
			continue
		}
		ours, ids = append(ours, t), append(ids, t.TaskID)
	}
	candidates, err := g.o.Candidates(ctx, n.shard, ids)
	if err == nil && len(candidates) != len(ids) {
		err = fmt.Errorf("%d answers about %d tasks", len(candidates), len(ids))
	}
	if err == nil && !n.pairs.begun {
		err = g.readPairs(ctx, n)
	}
	if err != nil {
		return nil, nil, err
	}
	g.leave(n, exits(strange, void)...)
	return ours, candidates, nil
}

// sort decides what becomes of tasks that were taken: those to hand out, the exits of those that
// cannot be sent now, and those for which there is no slot. Slots left over are spare.
func (n *number) sort(r taken, tasks []*task, known []Candidate) (ready []*task, out []exit, behind []*task) {
	slots := len(n.spare)
	var asked, good [4]int
	for i, t := range tasks {
		c := &known[i]
		asked[t.class]++
		hold := ""
		if c.Verdict == Sendable && len(r.holds) > 0 {
			hold = c.holdOn(n.id, t.id, r.holds)
		}
		switch {
		case c.Verdict == Void:
			out = append(out, exit{task: t, how: void})
			continue
		case c.Verdict == NotYet:
			out = append(out, exit{task: t, how: later, at: wholeSecond(c.At).Unix()})
			continue
		case hold != "":
			out = append(out, exit{task: t, how: held, text: hold})
			continue
		}
		if free := n.pairs.limit.Free(c.Recipient, r.now); !free.IsZero() {
			out = append(out, exit{task: t, how: paired, at: free.UnixMicro(), pair: pair{c.Recipient, c.Accepted.UnixMicro()}})
			continue
		}
		good[t.class]++
		if len(ready) == slots {
			behind = append(behind, t)
			continue
		}
		n.pairs.sent(c.Recipient, r.now)
		t.known, t.pair = c.Known, pair{c.Recipient, c.Accepted.UnixMicro()}
		ready = append(ready, t)
	}
	n.spare = slices.Delete(n.spare, 0, len(ready))
	for class := range asked {
		switch {
		case good[class] > 0:
			n.skip[class] = 0
		case asked[class] > 0:
			n.skip[class] = min(n.skip[class]+1, skipMost)
		}
	}
	return ready, out, behind
}

// takeTasks calls take.lua and offers the slots that it booked. It returns when a further call is
// worth it.
func (g *gate) takeTasks(ctx context.Context, n *number, room int, sent time.Time) (taken, time.Duration, error) {
	n.mu.Lock()
	may, now := n.may, n.redisTime(sent)
	n.may = 0 // a call that comes meanwhile sets it again
	n.mu.Unlock()
	seq := g.seq.Add(1)
	field := fieldOf(g.o.Worker, seq)
	a := g.slotArgs(n)
	args := []any{g.o.Worker, a.rate, a.booked, room, seqText(seq), n.ask(may, a.first)}
	if a.further > 0 || len(n.spare) > 0 {
		args = append(args, a.further, len(n.spare))
	}
	var cmd *redis.Cmd
	var pairs pairCommands
	g.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		cmd = g.take.Add(ctx, p, []string{n.schedule}, args...)
		if g.o.Candidates != nil {
			pairs = n.pairs.add(ctx, p, n, now)
		}
	})
	trip := time.Since(sent)
	n.pairs.done(pairs)
	reply, err := cmd.Slice()
	if err == nil && len(reply) < 9 {
		err = errReply
	}
	if err != nil {
		n.mu.Lock()
		n.may |= may
		n.mu.Unlock()
		n.unknown = append(n.unknown, field) // it may have taken some
		return taken{}, 0, err
	}
	b := readBooking(reply)
	full, left := integer(reply[5]), integer(reply[6])
	inHand, _ := reply[7].(string)
	r := taken{now: time.UnixMicro(b.now), left: int(left), holds: texts(reply[8])}
	slots := g.slots(n, sent, trip, b)
	n.mu.Lock()
	tasks, moved := n.take(field, inHand)
	n.may |= r.left
	further := n.further()
	if moved {
		g.settleWithin(n, leaveSoon)
	}
	n.mu.Unlock()
	r.tasks = tasks
	if len(slots) > 0 {
		n.line.SetRate(max(int(full), 1))
		n.line.Offer(slots)
		n.spare = append(n.spare, slots...)
	}
	if r.left == 0 {
		return r, tidyEvery, nil
	}
	ahead := b.first + int64(b.slots)*b.spacing - b.now - ((pacing.Horizon+pacing.Lead)/2 + further).Microseconds()
	return r, max(time.Duration(ahead)*time.Microsecond, time.Millisecond) - trip, nil
}

// errReply means that a script replied what it never does.
var errReply = errors.New("a script's reply is not understood")

// ask says what take.lua asks of each class, and for whom.
func (n *number) ask(may int, first byte) string {
	ask := [5]byte{4: first}
	for c := range n.skip {
		if ask[c] = '0'; may>>c&1 == 1 {
			ask[c] = '1' + byte(n.skip[c])
		}
	}
	return string(ask[:])
}

// take notes what is in hand since a fetch, and returns those tasks that were not in hand before. A task that was
// belongs to this fetch from now on, because this is where Redis has it: a failover may have lost the
// earlier fetch. moved tells whether there was one. The caller holds n.mu.
func (n *number) take(field, value string) (tasks []*task, moved bool) {
	if value == "" {
		return nil, false
	}
	h, came := &hand{field: field}, time.Now()
	all := make([]task, 0, 1+strings.Count(value, " "))
	eachInHand(value, func(class int, id string) {
		t := task{class: class, id: id, hand: h, came: came.Add(time.Duration(len(all)))}
		if message, k, ok := splitTaskID(id); ok {
			t.TaskID = TaskID{message, k}
		}
		all = append(all, t)
	})
	h.tasks, tasks = make([]*task, 0, len(all)), make([]*task, 0, len(all))
	for i := range all {
		t := &all[i]
		had := n.taken[t.id]
		switch {
		case had == nil:
			n.taken[t.id] = t
			tasks = append(tasks, t)
		case had.hand == h: // this fetch took it twice
			h.changed, moved = true, true
			continue
		default:
			had.hand.remove(had)
			had.hand, t, moved = h, had, true
		}
		h.tasks = append(h.tasks, t)
	}
	h.left, h.writing = len(h.tasks), len(h.tasks)
	n.leaving.hands = append(n.leaving.hands, h)
	return tasks, moved
}

// recover returns what a fetch took whose answer was lost.
func (g *gate) recover(ctx context.Context, n *number) error {
	if len(n.unknown) == 0 {
		return nil
	}
	if err := g.db.Run(ctx, g.client.giveBack, []string{n.schedule}, latestFirst(n.unknown)...).Err(); err != nil {
		return err
	}
	n.unknown = nil
	return nil
}

// readPairs reads the log of recipients alone.
func (g *gate) readPairs(ctx context.Context, n *number) error {
	n.mu.Lock()
	now := n.redisTime(time.Now())
	n.mu.Unlock()
	var pairs pairCommands
	err := g.db.Pipe(ctx, func(p redis.Pipeliner) { pairs = n.pairs.add(ctx, p, n, now) })
	n.pairs.done(pairs)
	if n.pairs.begun {
		return nil
	}
	return cmp.Or(err, errReply)
}
