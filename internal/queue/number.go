package queue

import (
	"context"
	"math"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/pacing"
)

// atFirst is how many tasks of a number a worker takes in hand before it knows how it fares.
const atFirst = 64

// every are all classes, as bits.
const every = 1<<4 - 1

// number is the gate's view of one phone number that has work here.
type number struct {
	id    string
	shard message.Shard
	line  *pacing.Line
	wake  chan struct{}

	schedule  string      // key of its send schedule: what the scripts are given
	hands     string      // key of what is in hand
	classes   []keysOf    // asynq's keys
	names     []string    // queue names by class
	pairs     *pairLog    // of the goroutine that fetches
	unknown   []string    // fields of fetches that were not answered, of the same goroutine
	skip      [4]int      // by class: how often all that was fetched could not be sent; of the same goroutine
	spare     []time.Time // slots whose tasks could not be sent; of the same goroutine
	handsRead time.Time   // when what workers have in hand was last read; of the same goroutine

	mu       sync.Mutex
	rate     int                        // configured
	booked   int64                      // end of the last booking, in microseconds of Redis's clock
	spacing  time.Duration              // between the slots of the last booking
	trip     time.Duration              // that Redis takes to answer, smoothed
	redisNow int64                      // what Redis's clock read last, in microseconds
	redisAt  time.Time                  // when it read that
	may      int                        // classes that may have tasks to fetch, as bits
	taken    map[string]*task           // by id: what is in hand and has not ended
	running  int                        // of those, the ones that a handler has or will have
	answer   time.Duration              // how long handlers take from their slot on, smoothed
	most     float64                    // tasks running at most, learned from missed slots
	steady   float64                    // from where on most grows slowly
	cut      time.Time                  // when most was last lowered
	busy     time.Time                  // when there last was something to do
	full     map[pacing.Recipient]int64 // whom Meta lets get nothing now, and until when, in microseconds of Redis's clock
	leaving  leaving                    // how tasks ended that Redis does not know of yet
}

// task is one that was fetched. Known, pair and era are set by the goroutine that fetches; the last four
// fields change, under number.mu.
type task struct {
	TaskID // zero: its id is none of ours
	class  int
	id     string    // asynq's
	known  any       // for the handler
	pair   pair      // its recipient, once handed out
	hand   *hand     // the fetch that it came with
	came   time.Time // when it was fetched: one after the other
	era    int64     // of its shard, see Options.Era, when its fetch began

	gone    bool      // it is in hand no more
	over    bool      // and is to be deleted
	ended   time.Time // when its handler returned
	outcome error     // what it returned
}

func (g *gate) newNumber(id string, rate int) *number {
	n := &number{
		id: id, shard: g.o.Shards.Of(id), rate: rate, wake: make(chan struct{}, 1), may: every, pairs: &pairLog{},
		taken: map[string]*task{}, answer: time.Second, most: atFirst, steady: math.Inf(1), busy: time.Now(),
	}
	n.line = pacing.NewLine(rate, func(ctx context.Context, k int) ([]time.Time, error) { return g.bookSlots(ctx, n, k) })
	n.schedule, n.hands = lineKey(n.shard, id), handsKey(n.shard, id)
	for _, c := range message.Classes() {
		q := name(n.shard, id, c)
		n.classes = append(n.classes, asynqKeys(q))
		n.names = append(n.names, q)
	}
	n.leaving.sooner = make(chan struct{}, 1)
	return n
}

// call wakes the number's fetching, for some classes, as bits.
func (n *number) call(classes int) {
	n.mu.Lock()
	n.may |= classes
	n.mu.Unlock()
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// room is how many more tasks may be taken: three times what the pace needs at the time that
// answers take, so that a Meta grown slow is not buried under requests, and no more than two
// seconds' worth, so that one that hangs costs only its own numbers. A fetch costs Redis as much as
// several tasks, so there is no room while less than 1/8 of the limit is free, unless a call woke us.
func (n *number) room(called bool) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	perSecond := float64(n.rate)
	if n.spacing > 0 {
		perSecond = max(perSecond, float64(time.Second/n.spacing))
	}
	want := int(3*perSecond*n.answer.Seconds() + 2*perSecond*(pacing.Horizon+n.further()).Seconds())
	most := min(max(want, 20), int(2*perSecond)+20, int(n.most))
	room := most - n.running
	if !called && 8*room < most {
		return 0
	}
	return room
}

// missed notes that a task missed its slot: this worker has more in hand than it can see to.
// It takes on half of that and then slowly more, or all would miss theirs. What a number at
// Meta's usual pace needs is left to it, or its line would go from worker to worker.
func (n *number) missed() {
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.cut) > pacing.Horizon {
		n.cut = time.Now()
		horizon := pacing.Horizon + 4*n.further() // where Redis is far each is in hand for longer
		least := min(2*float64(n.rate)*horizon.Seconds()+8, atFirst)
		n.most = max(min(n.most, float64(n.running))/2, least)
		n.steady = n.most
	}
}

// answered notes how long a handler took from its slot on.
func (n *number) answered(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer += (d - n.answer) / 16
	if n.most < n.steady {
		n.most++
	} else {
		n.most += 4 / n.most
	}
}

// idleFor is how long the number has had nothing to do; 0 while tasks are in hand or Redis does not
// know yet how they ended.
func (n *number) idleFor() time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.taken) > 0 || len(n.leaving.hands) > 0 {
		return 0
	}
	return time.Since(n.busy)
}

// task returns the task in hand of that id; nil: there is none.
func (n *number) task(id string) *task {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.taken[id]
}

// returned notes what a task's handler returned.
func (n *number) returned(t *task, outcome error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.running--
	n.busy = time.Now()
	t.ended, t.outcome, t.known = n.busy, outcome, nil
}

func (n *number) setRate(rate int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.rate = rate
}
