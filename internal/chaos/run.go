package chaos

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"sync"
	"time"

	"sluice/internal/events"
	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/rig"
	"sluice/internal/store"
)

const shards = message.DefaultShards

// run is one running row. An error of the world itself, not of a promise, ends it: see fatal.
type run struct {
	*rig.Rig
	row    row
	setup  setup
	seed   uint64
	n      int // messages
	chance *rand.Rand
	log    func(format string, args ...any)

	db       *store.DB // not through a proxy
	book     *ledger.Ledger
	stream   *events.Stream
	producer *producer
	link     *proxy            // between workers and Redis, if the set-up has it
	links    map[string]*proxy // to each server of a Sentinel set-up, by its address
	far      *farSide          // in place of the simulator, if the row has one
	hooked   *hook             // the relay target, if the row has one
	removed  int               // how many of the first numbers the configuration lacks
	poison   int64             // events that must be dead-lettered

	naiveMessages, naiveDoubled int // see counted

	redisAddr, hook, apiAddr string // where they are, also after a restart
	redisURL                 string

	current, previous string // the executables of this version, and of an earlier one

	sentinels *rig.Sentinels // when the set-up has them
	nodes     *rig.Cluster   // likewise

	ctx    context.Context // of the whole row
	load   context.Context // of the orders
	cancel context.CancelFunc

	mu        sync.Mutex
	began     time.Time
	ordered   time.Time // when the last order of the row's own was answered
	story     []string  // what was done and when
	breaches  []breach  // of the row's own checks
	notes     []string
	workers   []*rig.Process
	goroutine map[*rig.Process]float64 // goroutines of a program when it began
	others    map[string]*rig.Process  // producer, webhook, reconciler
}

// waitLimit is how long any single wait of a row may last.
const waitLimit = 90 * time.Second

// play runs a row and returns its result. Its error says why the row did not run to its end. Then the result has what
// is known.
func play(ctx context.Context, o Options, row row, seed uint64) (result Result, err error) {
	began := time.Now()
	ctx, cancel := context.WithTimeoutCause(ctx, 10*time.Minute, errors.New("the row takes longer than 10 minutes"))
	defer cancel()
	r, err := newRun(ctx, o, row, seed)
	if err != nil {
		return Result{ID: row.id, Fault: row.fault, Seed: seed, Breaches: []string{"not played"}}, err
	}
	defer r.close()
	var e findings
	err = attempt(func() {
		r.build()
		row.play(r)
		e = r.findings()
	})
	if err != nil {
		r.cancel()                           // orders without an answer are given up
		attempt(func() { e = r.findings() }) // what the row left may show why
	}
	result, broken := r.judge(e, err)
	if len(broken) > 0 {
		var kept error
		result.History, kept = r.keep(o.Keep, e, broken)
		err = errors.Join(err, kept)
	}
	result.Took = time.Since(began)
	return result, err
}

func newRun(ctx context.Context, o Options, row row, seed uint64) (*run, error) {
	g, err := rig.New(o.Program)
	if err != nil {
		return nil, err
	}
	h := fnv.New64()
	h.Write([]byte(row.id))
	r := &run{
		Rig: g, current: o.Program, previous: o.Previous, row: row, setup: row.setup.withDefaults(), seed: seed, n: max(1, int(float64(row.n)*o.Scale)),
		chance: rand.New(rand.NewPCG(seed, h.Sum64())), ctx: ctx, began: time.Now(),
		links: map[string]*proxy{}, goroutine: map[*rig.Process]float64{}, others: map[string]*rig.Process{},
		log: func(format string, args ...any) { fmt.Fprintf(o.Log, row.id+": "+format+"\n", args...) },
	}
	r.load, r.cancel = context.WithCancel(ctx)
	return r, nil
}

// close ends everything that the row started.
func (r *run) close() {
	r.cancel()
	if r.link != nil {
		r.link.close()
	}
	for _, l := range r.links {
		l.close()
	}
	if r.producer != nil {
		r.producer.wait()
	}
	if r.db != nil {
		r.db.Close()
	}
	r.Close()
}

// judge checks what the row promises. err is why the row did not run to its end, or nil.
func (r *run) judge(e findings, err error) (Result, []breach) {
	result := Result{ID: r.row.id, Fault: r.row.fault, Seed: r.seed, Control: r.row.control}
	var broken []breach
	if err != nil {
		broken = append(broken, breach{r.row.id, "", "the row did not run to its end: " + err.Error()})
	}
	broken = append(append(broken, e.check()...), r.breaches...)
	result.count(e, broken)
	switch {
	case r.row.control:
		if r.naiveMessages > 0 {
			result.Messages, result.Doubled = r.naiveMessages, r.naiveDoubled
		}
		broken = result.bites(err, r.row.loses)
	case r.row.lacks != "" && len(broken) > 0:
		r.note("%s", r.row.lacks)
	}
	result.Notes = r.notes
	if r.producer != nil {
		result.Away = r.producer.away
	}
	return result, broken
}

// counted sets the figures of messages that Sluice did not send.
func (r *run) counted(messages, doubled int) { r.naiveMessages, r.naiveDoubled = messages, doubled }

// stop is the value of a panic of fatal.
type stop struct{ err error }

// attempt calls f and returns the error of fatal, if f called it.
func attempt(f func()) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s, ours := p.(stop)
			if !ours {
				panic(p)
			}
			err = s.err
		}
	}()
	f()
	return nil
}

// fatal ends the row, because its world does not work.
func (r *run) fatal(format string, args ...any) { panic(stop{fmt.Errorf(format, args...)}) }

// must calls fatal if err is not nil.
func (r *run) must(err error, doing string) {
	if err != nil {
		r.fatal("%s: %w", doing, err)
	}
}

// check records a breach unless a promise of this row holds.
func (r *run) check(holds bool, format string, args ...any) {
	if !holds {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.breaches = append(r.breaches, breach{r.row.id, "", fmt.Sprintf(format, args...)})
	}
}

// note adds a figure to the row's result.
func (r *run) note(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.notes = append(r.notes, fmt.Sprintf(format, args...))
}

// step writes to the history what the row does.
func (r *run) step(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	line := fmt.Sprintf("%7.3f s  ", time.Since(r.began).Seconds()) + fmt.Sprintf(format, args...)
	r.story = append(r.story, line)
	r.log("%s", line)
}

// until waits until done, or ends the row.
func (r *run) until(what string, done func() bool) {
	deadline := time.Now().Add(waitLimit)
	for !done() {
		if time.Now().After(deadline) {
			r.fatal("this did not happen within %s: %s", waitLimit, what)
		}
		r.pause(20 * time.Millisecond)
	}
}

// pause waits: where time itself is the fault, or between two checks.
func (r *run) pause(d time.Duration) {
	select {
	case <-r.ctx.Done():
		r.fatal("%w", context.Cause(r.ctx))
	case <-time.After(d):
	}
}
