package dispatch

import (
	"errors"
	"math"
	"sync"
	"time"

	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/ratelimit"
)

// atFirst is how many tasks of a number a worker has at most before it knows how fast they are handled.
const atFirst = 64

// every are all classes, as bits.
const every = 1<<4 - 1

// number is this worker's view of one phone number that has work here.
type number struct {
	id       string
	shard    message.Shard
	key      string // of its send schedule: what the scripts are given
	schedule *ratelimit.Schedule
	lease    *queue.Lease
	wake     chan struct{}

	// Of the goroutine that fetches.
	pairs      *ratelimit.PairLog
	unknown    []string    // fields of fetches without an answer
	skip       [4]int      // by class: how often all that was fetched could not be sent
	spare      []time.Time // slots whose tasks could not be sent
	flows      []string    // that share slots, those met last first; nil: none were ever met
	leasesRead time.Time   // when the leases of all workers were last read

	mu      sync.Mutex
	may     int                           // classes that may have tasks to fetch, as bits
	running int                           // tasks that a handler has or will have
	answer  time.Duration                 // how long handlers take from their slot on, smoothed
	most    float64                       // tasks running at most, learned from missed slots
	slowly  float64                       // from where on most increases slowly
	lowered time.Time                     // when most was last lowered
	busy    time.Time                     // when there last was something to do
	full    map[ratelimit.Recipient]int64 // the recipients that may get nothing now, and until when, in microseconds of Redis's clock
}

func (d *dispatcher) newNumber(id string, rate int) *number {
	n := &number{
		id: id, shard: d.o.Shards.Of(id), wake: make(chan struct{}, 1), may: every,
		answer: time.Second, most: atFirst, slowly: math.Inf(1), busy: time.Now(),
	}
	n.key, n.pairs = ratelimit.ScheduleKey(n.shard, id), ratelimit.NewPairLog(n.shard, id)
	first := func() bool { return d.first(id) }
	n.schedule = ratelimit.NewSchedule(ratelimit.ScheduleOptions{
		DB: d.db, Script: d.book, Clock: &d.clock, Worker: d.o.Worker, Key: n.key, Rate: rate, First: first,
	})
	n.lease = queue.NewLease(queue.LeaseOptions{
		DB: d.db, Transactions: d.tx, Shard: n.shard, Number: id, Worker: d.o.Worker, First: first,
		Returned: n.pending, Given: d.given, Writers: &d.writers, Log: d.o.Log,
	})
	return n
}

// pending notes that some classes, as bits, may have tasks to fetch.
func (n *number) pending(classes int) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.may |= classes
}

// call wakes the number's fetching, for some classes, as bits.
func (n *number) call(classes int) {
	n.pending(classes)
	select {
	case n.wake <- struct{}{}:
	default:
	}
}

// capacity is how many more tasks may be fetched: three times what the rate needs in the time that
// answers take, so that a Meta that became slow does not get ever more requests, and no more than two
// seconds' worth, so that one that does not answer delays only its own numbers. A fetch costs Redis as much
// as several tasks, so there is no fetch while less than 1/8 of the limit is free, unless an enqueue woke us.
func (n *number) capacity(called bool) int {
	perSecond, further := n.schedule.PerSecond(), n.schedule.Further()
	n.mu.Lock()
	defer n.mu.Unlock()
	want := int(3*perSecond*n.answer.Seconds() + 2*perSecond*(ratelimit.Horizon+further).Seconds())
	most := min(max(want, 20), int(2*perSecond)+20, int(n.most))
	capacity := most - n.running
	if !called && 8*capacity < most {
		return 0
	}
	return capacity
}

// missed notes that a task missed its slot: this worker has more tasks than it can handle in time.
// It halves their number and then increases it slowly, or all would miss their slots. It keeps what a
// number at Meta's usual rate needs, or the number's schedule would change its owner again and again.
func (n *number) missed() {
	rate, further := n.schedule.Configured(), n.schedule.Further()
	n.mu.Lock()
	defer n.mu.Unlock()
	if time.Since(n.lowered) > ratelimit.Horizon {
		n.lowered = time.Now()
		horizon := ratelimit.Horizon + 4*further // where Redis is far each task is leased for longer
		least := min(2*float64(rate)*horizon.Seconds()+8, atFirst)
		n.most = max(min(n.most, float64(n.running))/2, least)
		n.slowly = n.most
	}
}

// answered notes how long a handler took from its slot on.
func (n *number) answered(d time.Duration) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.answer += (d - n.answer) / 16
	if n.most < n.slowly {
		n.most++
	} else {
		n.most += 4 / n.most
	}
}

// idleFor is how long the number has had nothing to do; 0 while it has leased tasks or Redis does not
// have yet how they ended.
func (n *number) idleFor() time.Duration {
	if !n.lease.Empty() {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return time.Since(n.busy)
}

// worked notes that there was something to do.
func (n *number) worked() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.busy = time.Now()
}

// leave lets tasks leave this worker. It does not wait for Redis.
func (n *number) leave(exits ...queue.Exit) {
	if len(exits) == 0 {
		return
	}
	n.worked()
	n.lease.Leave(exits...)
}

// returned notes what a task's handler returned.
func (n *number) returned(t *queue.Fetched, outcome error) {
	n.mu.Lock()
	n.running--
	n.busy = time.Now()
	n.mu.Unlock()
	n.lease.Finish(t, outcome)
}

// retried is the exit of a task whose handler wants it to come again. text and at are what asynq's server says
// of it, or empty.
func (n *number) retried(t *queue.Fetched, text string, at int64) queue.Exit {
	outcome := n.lease.Outcome(t)
	l, ok := errors.AsType[Later](outcome)
	if ok && l.Hold != "" {
		return queue.Exit{Fetched: t, How: queue.Refused, Text: l.Hold}
	}
	if ok && l.In == 0 {
		return queue.Exit{Fetched: t, How: queue.ToHead}
	}
	if ok && l.Recipient && t.Recipient.ID != (ratelimit.Recipient{}) {
		until := n.schedule.RedisTime(time.Now().Add(l.In)).UnixMicro()
		n.exhausted(t.Recipient.ID, until)
		return queue.Exit{Fetched: t, How: queue.Waits, At: until}
	}
	now := time.Now()
	if at == 0 {
		at = now.Add(retryDelay(outcome)).Unix()
	}
	if redis := n.schedule.RedisTime(now); !redis.IsZero() { // asynq has counted by this machine's clock
		at += int64(redis.Sub(now).Round(time.Second).Seconds())
	}
	return queue.Exit{Fetched: t, How: queue.Retried, Text: text, At: at}
}

// exhausted notes that Meta refused a message for the pair limit of a recipient, and until when
// none is to be sent to it.
func (n *number) exhausted(r ratelimit.Recipient, until int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.full == nil {
		n.full = map[ratelimit.Recipient]int64{}
	}
	n.full[r] = max(n.full[r], until)
}

// noteExhausted takes in what Meta said of recipients since the last fetch.
func (n *number) noteExhausted() {
	n.mu.Lock()
	full := n.full
	n.full = nil
	n.mu.Unlock()
	for r, until := range full {
		n.pairs.Exhausted(r, time.UnixMicro(until))
	}
}
