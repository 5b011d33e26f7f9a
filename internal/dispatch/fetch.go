package dispatch

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

const (
	// fetchMost is how many tasks one fetch takes from a class: more would keep others from Redis.
	fetchMost = 500
	// fetchFlows is among how many clients of a class one fetch shares the slots, and among how many campaigns of one alone: those that
	// have sent the least.
	fetchFlows = 64
	// flowsKnown is how many flows of a number a worker keeps in mind, to pass their weights, and limitedKnown how many if the campaigns of the
	// further ones have settings: a flow that it forgets is fetched in vain once more.
	flowsKnown   = 4 * fetchFlows
	limitedKnown = 16 * flowsKnown
	// skipMost bounds how many tasks are fetched for one slot, 2^skipMost, while none can be sent.
	skipMost = 8
)

// fetched is the answer to a call of fetch.lua.
type fetched struct {
	now   time.Time       // Redis's clock
	left  int             // classes that may have more tasks, as bits
	rated map[string]bool // the flows of which the script knew how they are limited
	tasks []*queue.Fetched
	holds []string // on templates, tags and campaigns, and tasks that may go all the same
}

// fetch fetches up to capacity tasks and returns those that can be sent now; for their slots it
// offers what was booked. It returns when a further fetch is worth it.
func (d *dispatcher) fetch(ctx context.Context, n *number, capacity int) ([]*queue.Fetched, time.Duration, error) {
	if err := d.recover(ctx, n); err != nil {
		return nil, 0, err
	}
	n.spare = slices.DeleteFunc(n.spare, func(at time.Time) bool { return time.Until(at) < ratelimit.Lead })
	sent, era := time.Now(), d.era(n.shard)
	r, next, err := d.fetchTasks(ctx, n, capacity, sent)
	if err != nil || len(r.tasks) == 0 {
		return nil, next, err
	}
	tasks, known, err := d.known(ctx, n, r.tasks)
	kept := false
	if err == nil {
		kept = d.limitCampaigns(n, r, tasks, known)
		err = d.limit(ctx, n, r, tasks, known)
	}
	for _, count := range []func(context.Context, *number, fetched, []*queue.Fetched, []Candidate) (bool, error){d.limitCaps, d.limitCost} {
		if err == nil {
			var over bool
			over, err = count(ctx, n, r, tasks, known)
			kept = kept || over
		}
	}
	if err != nil {
		n.leave(queue.Exits(r.tasks, queue.ToHead)...) // nothing else can be done with them
		return nil, 0, errors.Join(fmt.Errorf("read records of tasks: %w", err), n.lease.Write(0))
	}
	d.cancelSuppressed(ctx, n.id, r, tasks, known)
	d.useFallbacks(ctx, n.id, r.holds, tasks, known)
	n.noteExhausted()
	for i, t := range tasks {
		t.Era, t.Flow = era, known[i].Flow
	}
	ready, out, behind := n.sort(r, tasks, known)
	n.leave(out...)
	if len(behind) > 0 { // before the next fetch, or they would lose their place
		n.leave(queue.Exits(behind, queue.ToHead)...)
		if err := n.lease.Write(0); err != nil {
			return ready, next, err
		}
	}
	if len(n.spare) > 0 && (kept || len(out) > 0 && r.left != 0) {
		next = 0
	}
	return ready, next, nil
}

// era is that of a shard, see Options.Era.
func (d *dispatcher) era(s message.Shard) int64 {
	if d.o.Era == nil {
		return 0
	}
	return d.o.Era(s)
}

// known asks what the records say about tasks. Those whose id is none of ours have nothing to do.
func (d *dispatcher) known(ctx context.Context, n *number, tasks []*queue.Fetched) ([]*queue.Fetched, []Candidate, error) {
	if d.o.Candidates == nil {
		return tasks, make([]Candidate, len(tasks)), nil
	}
	ids := make([]queue.TaskID, 0, len(tasks))
	var ours, others []*queue.Fetched
	ours = tasks[:0:0]
	for _, t := range tasks {
		if t.Message == "" {
			others = append(others, t)
			continue
		}
		ours, ids = append(ours, t), append(ids, t.TaskID)
	}
	candidates, err := d.o.Candidates(ctx, n.shard, ids)
	if err == nil && len(candidates) != len(ids) {
		err = fmt.Errorf("%d answers about %d tasks", len(candidates), len(ids))
	}
	if err == nil && !n.pairs.Begun() {
		err = d.readPairs(ctx, n)
	}
	if err != nil {
		return nil, nil, err
	}
	n.leave(queue.Exits(others, queue.Deleted)...)
	return ours, candidates, nil
}

// sort decides what becomes of tasks that were fetched: those to dispatch, the exits of those that
// cannot be sent now, and those for which there is no slot. Slots left over are spare.
func (n *number) sort(r fetched, tasks []*queue.Fetched, known []Candidate) (ready []*queue.Fetched, out []queue.Exit, behind []*queue.Fetched) {
	slots := len(n.spare)
	var asked, good [4]int
	for i, t := range tasks {
		c := &known[i]
		asked[t.Class]++
		hold := ""
		if c.Verdict == Sendable && len(r.holds) > 0 {
			hold = c.holdOn(n.id, t.ID, r.holds)
		}
		switch {
		case c.Verdict == Void:
			out = append(out, queue.Exit{Fetched: t, How: queue.Deleted})
			continue
		case c.Verdict == NotYet:
			out = append(out, queue.Exit{Fetched: t, How: queue.Delayed, At: queue.WholeSecond(c.At).Unix()})
			continue
		case c.Verdict == Full:
			t.Recipient.Accepted = c.Accepted.UnixMicro()
			out = append(out, queue.Exit{Fetched: t, How: queue.Limited})
			continue
		case c.Verdict == Elsewhere:
			t.Recipient = queue.Recipient{ID: c.Recipient, Accepted: c.Accepted.UnixMicro()}
			out = append(out, queue.Exit{Fetched: t, How: queue.Elsewhere, At: c.At.UnixMicro()})
			continue
		case hold != "":
			out = append(out, queue.Exit{Fetched: t, How: queue.Held, Text: hold})
			continue
		case c.Verdict == Kept:
			asked[t.Class]-- // the next fetch does not get it
			behind = append(behind, t)
			continue
		}
		t.Recipient = queue.Recipient{ID: c.Recipient, Accepted: c.Accepted.UnixMicro()}
		if free := n.pairs.Free(c.Recipient, r.now); !free.IsZero() {
			out = append(out, queue.Exit{Fetched: t, How: queue.Waits, At: free.UnixMicro()})
			continue
		}
		good[t.Class]++
		if len(ready) == slots {
			behind = append(behind, t)
			continue
		}
		n.pairs.Sent(c.Recipient, r.now)
		t.Known = c.Known
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

// fetchTasks calls fetch.lua and offers the slots that it booked. It returns when a further call is
// worth it.
func (d *dispatcher) fetchTasks(ctx context.Context, n *number, capacity int, sent time.Time) (fetched, time.Duration, error) {
	now := n.schedule.RedisTime(sent)
	n.mu.Lock()
	may := n.may
	n.may = 0 // a call that comes meanwhile sets it again
	n.mu.Unlock()
	seq := d.seq.Add(1)
	field := queue.FieldOf(d.o.Worker, seq)
	a := n.schedule.Args()
	args := []any{d.o.Worker, a.Rate, a.Booked, capacity, queue.Sequence(seq), n.ask(may, a.First)}
	if a.Further > 0 || len(n.spare) > 0 || n.flows != nil {
		args = append(args, a.Further, len(n.spare))
	}
	var rated map[string]bool
	if n.flows != nil {
		var weights string
		weights, rated = d.weights(n.flows)
		args = append(args, weights)
	}
	var cmd *redis.Cmd
	var pairs ratelimit.PairCommands
	d.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		cmd = d.fetching.Add(ctx, p, []string{n.key}, args...)
		if d.o.Candidates != nil {
			pairs = n.pairs.Add(ctx, p, now)
		}
	})
	trip := time.Since(sent)
	n.pairs.Done(pairs)
	reply, err := cmd.Slice()
	if err == nil && len(reply) < 11 {
		err = errReply
	}
	var b ratelimit.Booking
	if err == nil {
		b, err = n.schedule.Booked(sent, trip, reply)
	}
	if err != nil {
		n.pending(may)
		n.unknown = append(n.unknown, field) // it may have fetched some
		return fetched{}, 0, err
	}
	full, left := ratelimit.Integer(reply[5]), int(ratelimit.Integer(reply[6]))
	lease, _ := reply[7].(string)
	r := fetched{now: b.Now, left: left, rated: rated, holds: texts(reply[8])}
	first := n.flows == nil
	d.meet(n, reply[9])
	r.tasks = n.lease.Add(field, lease)
	n.pending(left)
	if len(r.tasks) > 0 {
		n.worked()
	}
	if len(b.Slots) > 0 {
		n.schedule.SetRate(max(int(full), 1))
		n.schedule.Offer(b.Slots)
		n.spare = append(n.spare, b.Slots...)
	}
	switch {
	case left == 0:
		return r, tidyEvery, nil
	case first && n.flows != nil: // nothing was fetched, because the script did not know their weights
		return d.fetchTasks(ctx, n, capacity, time.Now())
	}
	if wait := ratelimit.Integer(reply[10]); wait > 0 { // only for the rates of campaigns
		return r, max(time.Duration(wait)*time.Microsecond-trip, time.Millisecond), nil
	}
	ahead := b.Ahead - ((ratelimit.Horizon+ratelimit.Lead)/2 + n.schedule.Further()).Truncate(time.Microsecond)
	return r, max(ahead, time.Millisecond) - trip, nil
}

// weights writes the weights of flows for fetch.lua, without those of 1, how often messages of their campaigns may go, if these have settings, and
// the classes that budgets close. It returns which have such limits.
func (d *dispatcher) weights(flows []string) (text string, rated map[string]bool) {
	var b []byte
	for _, flow := range flows {
		f := message.FlowOf(flow)
		client, campaign := 1, 1
		gate, closed := d.gate(f)
		limited := gate.Limited() || closed != [4]bool{}
		if d.o.Weigh != nil {
			client, campaign = d.o.Weigh(f)
		}
		if client != 1 || campaign != 1 || limited {
			b = fmt.Appendf(b, "%s\t%d\t%d", flow, client, campaign)
			if limited {
				if rated == nil {
					rated = map[string]bool{}
				}
				rated[flow] = true
				b = append(b, '\t')
			}
			if gate.Limited() {
				b = strconv.AppendInt(b, gate.Every.Microseconds(), 10)
			}
			for class, is := range closed {
				if is {
					b = fmt.Appendf(b, "\t%d", class+1)
				}
			}
			b = append(b, '\n')
		}
	}
	return string(b), rated
}

// meet notes the flows that a fetch met, if flows share slots. Those met before stay: a fetch may meet the flows of urgent classes
// only.
func (d *dispatcher) meet(n *number, names any) {
	list, share := names.([]any)
	if !share {
		return
	}
	met := texts(list)
	now := make(map[string]bool, len(met))
	for _, flow := range met {
		now[flow] = true
	}
	for _, flow := range n.flows {
		if !now[flow] && (len(met) < flowsKnown || len(met) < limitedKnown && d.gatedAny(message.FlowOf(flow))) {
			met = append(met, flow)
		}
	}
	n.flows = met
}

// errReply means that a script's reply has another form than it should.
var errReply = errors.New("a script's reply is not understood")

// texts reads a list of a reply, which may be missing.
func texts(v any) []string {
	list, _ := v.([]any)
	all := []string{}
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// ask is what fetch.lua is to ask of each class, and whether this worker serves the number.
func (n *number) ask(may int, first byte) string {
	ask := [5]byte{4: first}
	for c := range n.skip {
		if ask[c] = '0'; may>>c&1 == 1 {
			ask[c] = '1' + byte(n.skip[c])
		}
	}
	return string(ask[:])
}

// recover returns the tasks of fetches whose answers were lost.
func (d *dispatcher) recover(ctx context.Context, n *number) error {
	if len(n.unknown) == 0 {
		return nil
	}
	if err := d.client.ReturnFields(ctx, n.id, n.unknown); err != nil {
		return err
	}
	n.unknown = nil
	return nil
}

// readPairs reads the log of recipients alone.
func (d *dispatcher) readPairs(ctx context.Context, n *number) error {
	now := n.schedule.RedisTime(time.Now())
	var pairs ratelimit.PairCommands
	err := d.db.Pipe(ctx, func(p redis.Pipeliner) { pairs = n.pairs.Add(ctx, p, now) })
	n.pairs.Done(pairs)
	if n.pairs.Begun() {
		return nil
	}
	return cmp.Or(err, errReply)
}
