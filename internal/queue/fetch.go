package queue

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/pacing"
)

const (
	// tidyEvery is how often delayed tasks are brought to the heads of their queues, and when a
	// lost call for a number is noticed; a worker that stands by does so tidyStandby times less often.
	// tidyMost is how many tasks of a kind are moved at once.
	tidyEvery   = 500 * time.Millisecond
	tidyStandby = 4
	tidyMost    = 500
	// takeMost is how many tasks one fetch takes from a class: more would keep others from Redis.
	takeMost = 500
	// burst is the least time between two fetches that were called for: a campaign that is
	// being enqueued calls thousands of times a second.
	burst = 5 * time.Millisecond
	// standby is how often the second worker of a number looks whether the first keeps up.
	standby = 250 * time.Millisecond
	// lag is how far behind the present a schedule's end must be before the second worker takes it:
	// a first that falters for a moment would lose more by the change, 0.1 s of slots each way.
	lag = 150 * time.Millisecond
	// away is the pause after Redis failed to answer.
	away = 250 * time.Millisecond
	// skipMost bounds how many tasks are taken for one slot, 2^skipMost, while none can be sent.
	skipMost = 8
)

// feed fetches one number's tasks and hands them out until ctx ends.
func (g *gate) feed(ctx context.Context, n *number) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	defer g.last(n)
	var tidied time.Time
	more, called := false, true
	for {
		looked := time.Now()
		first := g.first(n.id)
		every := tidyEvery
		if !first {
			every *= tidyStandby
		}
		if more || looked.Sub(tidied) >= every {
			tidied = looked
			more = g.tidyUp(ctx, n, first)
		}
		wait := g.feedOnce(ctx, n, called)
		if !first {
			wait = max(wait, standby)
		}
		timer.Reset(min(wait, tidyEvery))
		called = false
		select {
		case <-ctx.Done():
			return
		case <-n.wake:
			called = true
			if first {
				time.Sleep(burst - time.Since(looked))
			} else {
				time.Sleep(lag) // the first hears the same call: both at once would take the line from each other
			}
		case <-timer.C:
		}
	}
}

// feedOnce fetches tasks once, if there is room and may be some, and hands them out. It returns
// when to come again.
func (g *gate) feedOnce(ctx context.Context, n *number, called bool) time.Duration {
	n.mu.Lock()
	none := n.may == 0
	n.mu.Unlock()
	room := n.room(called)
	switch {
	case none || !g.joined():
		return tidyEvery
	case room <= 0:
		return pacing.Horizon / 4
	}
	tasks, next, err := g.fetch(ctx, n, room)
	if err != nil {
		if ctx.Err() == nil {
			g.o.Log.Warn("cannot fetch tasks", "phone_number_id", n.id, "err", err)
		}
		next = away
	}
	g.handOut(ctx, n, tasks)
	if next == 0 {
		return 0
	}
	return next + rand.N(time.Millisecond)
}

// taken is the answer to a call of take.lua.
type taken struct {
	now   time.Time // Redis's clock
	left  int       // classes that may have more tasks, as bits
	tasks []*task
	holds []string // on templates and tags
}

// fetch takes tasks for up to room and returns those that can be sent now; for their slots it
// offers what was booked. It returns when a further fetch is worth it.
func (g *gate) fetch(ctx context.Context, n *number, room int) ([]*task, time.Duration, error) {
	if err := g.recover(ctx, n); err != nil {
		return nil, 0, err
	}
	n.spare = slices.DeleteFunc(n.spare, func(at time.Time) bool { return time.Until(at) < pacing.Lead })
	sent := time.Now()
	r, next, err := g.takeTasks(ctx, n, room, sent)
	if err != nil || len(r.tasks) == 0 {
		return nil, next, err
	}
	tasks, known, err := g.known(ctx, n, r.tasks)
	if err != nil {
		g.leave(n, exits(r.tasks, toHead)...) // nothing else can be done with them
		return nil, 0, errors.Join(fmt.Errorf("read records of tasks: %w", err), g.write(n, 0))
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
			hold = c.holdOn(n.id, r.holds)
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
		if len(ready) < slots {
			if free := n.pairs.limit.Free(c.Recipient, r.now); !free.IsZero() {
				out = append(out, exit{task: t, how: later, at: wholeSecond(free).Unix()})
				continue
			}
		}
		good[t.class]++
		if len(ready) == slots {
			behind = append(behind, t)
			continue
		}
		n.pairs.sent(c.Recipient, r.now)
		t.known = c.Known
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

// slotArgs is what taking and booking slots must know.
type slotArgs struct {
	rate    int
	booked  int64 // end of this worker's last booking, us
	further int64 // how much further than usual to book, us
	first   byte  // '1' when this worker serves the number, else '0'
}

func (g *gate) slotArgs(n *number) slotArgs {
	first := byte('0')
	if g.first(n.id) { // before n.mu: placement holds its own lock while it asks for n.mu
		first = '1'
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return slotArgs{n.rate, n.booked, n.further().Microseconds(), first}
}

// answeredIn notes how long Redis took. The first time says all that is known yet of how long
// an attempt takes to be written down. The caller holds n.mu.
func (n *number) answeredIn(trip time.Duration) {
	if n.trip == 0 {
		n.trip = trip
		n.line.Expect(trip)
	}
	n.trip += (trip - n.trip) / 8
}

// further is pacing.Further of this number. The caller holds n.mu.
func (n *number) further() time.Duration { return pacing.Further(n.trip, n.line.Prep()) }

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
	tasks, twice := n.take(field, inHand)
	n.may |= r.left
	further := n.further()
	n.mu.Unlock()
	r.tasks = tasks
	g.leave(n, exits(twice, dropped)...)
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

// take notes what is in hand since a fetch. What was in its queue twice and is in hand already it
// returns apart. The caller holds n.mu.
func (n *number) take(field, value string) (tasks, twice []*task) {
	if value == "" {
		return nil, nil
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
	h.tasks = make([]*task, len(all))
	for i := range all {
		t := &all[i]
		h.tasks[i] = t
		if n.taken[t.id] != nil {
			twice = append(twice, t)
			continue
		}
		n.taken[t.id] = t
	}
	h.left, h.writing = len(all), len(all)
	n.leaving.hands = append(n.leaving.hands, h)
	if twice == nil {
		return h.tasks, nil
	}
	for _, t := range h.tasks {
		if !slices.Contains(twice, t) {
			tasks = append(tasks, t)
		}
	}
	return tasks, twice
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

// redisTime is about what Redis's clock reads at a time; zero: it was not asked yet. The caller
// holds n.mu.
func (n *number) redisTime(at time.Time) time.Time {
	if n.asked.IsZero() {
		return time.Time{}
	}
	return time.UnixMicro(n.told).Add(at.Sub(n.asked))
}

// booking is what the scripts reply about slots.
type booking struct {
	now, first, spacing int64 // us
	slots               int
}

func readBooking(reply []any) booking {
	now := 1_000_000*integer(reply[0]) + integer(reply[1])
	return booking{now, now + integer(reply[2]), integer(reply[3]), int(integer(reply[4]))}
}

// integer reads a number of a reply.
func integer(v any) int64 {
	switch v := v.(type) {
	case int64:
		return v
	case string:
		n, _ := strconv.ParseInt(v, 10, 64)
		return n
	}
	return 0
}

// texts reads a list of a reply, which may be missing.
func texts(v any) (all []string) {
	list, _ := v.([]any)
	for _, e := range list {
		if s, ok := e.(string); ok {
			all = append(all, s)
		}
	}
	return all
}

// slots are those of a booking.
func (g *gate) slots(n *number, sent time.Time, trip time.Duration, b booking) []time.Time {
	spacing := time.Duration(b.spacing) * time.Microsecond
	n.mu.Lock()
	n.told, n.asked = b.now, sent.Add(trip/2)
	n.answeredIn(trip)
	if b.slots > 0 {
		n.booked = max(n.booked, b.first+int64(b.slots)*b.spacing)
		n.busy = time.Now()
		n.spacing = spacing
	}
	n.mu.Unlock()
	at := g.clock.Local(sent, trip, b.now, b.first)
	slots := make([]time.Time, b.slots)
	for i := range slots {
		slots[i] = at.Add(time.Duration(i) * spacing)
	}
	return slots
}

// bookSlots books slots for tasks in hand that missed theirs.
func (g *gate) bookSlots(ctx context.Context, n *number, count int) ([]time.Time, error) {
	sent := time.Now()
	a := g.slotArgs(n)
	reply, err := g.db.Run(ctx, g.book, []string{n.schedule}, g.o.Worker, a.rate, a.booked, count, string(a.first), a.further).Slice()
	if err == nil && len(reply) < 5 {
		err = errReply
	}
	if err != nil {
		return nil, err
	}
	return g.slots(n, sent, time.Since(sent), readBooking(reply)), nil
}

// handOut gives tasks to asynq's server. At a stop those left go back to the head of their
// queues.
func (g *gate) handOut(ctx context.Context, n *number, tasks []*task) {
	if len(tasks) == 0 {
		return
	}
	n.mu.Lock()
	n.running += len(tasks)
	n.mu.Unlock()
	for i, t := range tasks {
		message, err := g.encoder.encode(n.names[t.class], cmp.Or(t.Message, t.id), t.id)
		if err != nil {
			g.o.Log.Error("cannot hand tasks to asynq", "phone_number_id", n.id, "err", err)
			g.handBack(n, tasks[i:])
			return
		}
		select {
		case g.ready <- message:
			continue
		default:
		}
		select {
		case g.ready <- message:
		case <-ctx.Done():
			g.handBack(n, tasks[i:])
			return
		}
	}
}

// handBack puts tasks that no handler has seen back to the heads of their queues, in their order.
func (g *gate) handBack(n *number, tasks []*task) {
	n.mu.Lock()
	n.running -= len(tasks)
	n.mu.Unlock()
	g.leave(n, exits(tasks, toHead)...)
	if err := g.write(n, 0); err != nil {
		g.o.Log.Warn("cannot return tasks to their queues, will try again", "phone_number_id", n.id, "err", err)
	}
}

// tidyUp brings a number's due tasks to the head of their queues and learns which classes have
// tasks. Who serves the number writes asynq's lists of active tasks too. It is true when more may be
// due.
func (g *gate) tidyUp(ctx context.Context, n *number, first bool) (more bool) {
	sent := time.Now()
	list := first && sent.Sub(n.listedAt) >= listEvery
	n.mu.Lock()
	now := n.redisTime(sent)
	n.mu.Unlock()
	var tidy *redis.Cmd
	var hands *redis.MapStringStringCmd
	var pairs pairCommands
	g.db.Pipe(ctx, func(p redis.Pipeliner) { // each command has its own error
		tidy = g.tidy.Add(ctx, p, []string{n.schedule}, tidyMost)
		if list {
			hands = p.HGetAll(ctx, n.hands)
		}
		if pairs = (pairCommands{}); len(n.pairs.unsent) > 0 {
			pairs = n.pairs.add(ctx, p, n, now)
		}
	})
	trip := time.Since(sent)
	n.pairs.done(pairs)
	reply, err := tidy.Int64Slice()
	if err == nil && list {
		n.listedAt = sent
		err = g.list(n, hands)
	}
	if err != nil && ctx.Err() == nil {
		g.o.Log.Warn("cannot tidy queues", "phone_number_id", n.id, "err", err)
	}
	g.overheard(n, unheard)
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answeredIn(trip)
	if len(reply) < 2 {
		return false
	}
	n.may |= int(reply[1])
	return reply[0] == 1
}
