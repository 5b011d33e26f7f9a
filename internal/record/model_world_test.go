package record_test

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

// life is one incarnation of an id, and what is known of it that no record says.
type life struct {
	id          string
	incarnation int64
	hash        string
	payload     string
	other       string // with the fallback template; empty: there is none
	requests    []*request
	last        record.Record // when it was last looked at
	stored      string        // its stored form then
	reported    message.State // the highest of the applied statuses, except failures
	over        bool          // the record's time is over: a tombstone is left
	cancelled   bool          // the caller got this answer
	settled     bool          // an operator said that it was sent
	rewound     bool          // the store has lost something of it
	unsure      bool          // and an actor decided about it before that was restored
	resends     int
	finals      int            // final events when it was last looked at
	final       *message.Final // of the present life; nil: it has not ended
	extended    time.Time      // the latest deadline that an operator gave it
}

// request is one that was written to Meta.
type request struct {
	attempt int
	taken   bool
	fails   bool // and Meta will report that it failed
	proven  bool // its worker learned that it was not taken
	ended   bool // a policy or an operator decided to continue
}

// task is one that the queue has for a message.
type task struct {
	id string
	k  int
}

// held says what is with a task.
type held struct {
	by   int // a worker, counted from 1; 0: it waits
	hold bool
}

// report is one of Meta's.
type report struct {
	of      *life
	attempt int
	state   message.State
	code    int
	wamid   string
	marked  bool
	due     time.Time // not before
}

// worker makes attempts, as internal/send does.
type worker struct {
	number int
	frozen time.Time // since when it stands still; zero: it does not
	seq    int
	job    *job
	memory []*remembered
}

// remembered is what a worker remembers of an attempt.
type remembered struct {
	message.RememberedAttempt
	incarnation int64
	over        bool // its outcome was answered
	restored    bool
}

type phase int

const (
	look phase = iota
	begin
	send
	finish
)

// job is a task that a worker has.
type job struct {
	task
	phase   phase
	token   string
	saw     seen
	sawAt   time.Time
	began   time.Time // when Begin last said that it may go on
	record  record.Record
	mem     *remembered
	move    message.Move
	request *request
}

// snapshot is what a store may go back to.
type snapshot struct {
	at      time.Time
	memory  *memory
	tasks   map[task]held
	reports int    // how many statuses had been applied
	rewind  func() // of a twin
}

// world has everything that happens to a few messages.
type world struct {
	rules rules
	deep  bool                 // whether written records are compared with what is read of them
	twin  bool                 // whether a second store goes along
	other func(w *world) store // makes it; nil: another memory
	print bool

	rng      *rand.Rand
	steps    int
	count    map[string]int
	now      time.Time
	store    store
	memory   *memory
	ids      []string
	lives    map[string]*life
	past     []*life
	policies map[string]message.Policy // by message

	tasks     map[task]held
	workers   []*worker
	reports   []report
	applied   []report
	sights    []seen   // what sweepers, callers and operators saw, to decide on later
	late      []func() // commands on their way to the store, without a waiting caller
	snapshots []*snapshot
	restoring bool
	quiet     bool // no more faults: the life ends
	versions  map[string]map[int]string
	wamids    int
}

func (w *world) setup(rng *rand.Rand) {
	w.rng, w.now, w.count = rng, t0, map[string]int{}
	w.memory = newMemory(w.rules, rng, w.broken)
	w.store = w.memory
	if w.twin {
		w.memory.script = func() bool { return false }
		if w.other == nil {
			w.other = func(w *world) store {
				m := newMemory(w.rules, rng, w.broken)
				m.script = func() bool { return true }
				return m
			}
		}
		w.store = twin{w.memory, w.other(w), w.broken}
	}
	w.lives, w.tasks, w.versions, w.policies = map[string]*life{}, map[task]held{}, map[string]map[int]string{}, map[string]message.Policy{}
	for i := range 1 + rng.IntN(3) {
		id := message.NewID(number, fmt.Sprint("key", i))
		w.ids = append(w.ids, id)
		w.policies[id] = message.Policy{
			InDoubtPolicy: []message.InDoubtPolicy{message.Resend, message.Resend, message.Park, message.Close}[rng.IntN(4)],
			InDoubtWindow: time.Duration(10+rng.IntN(60)) * time.Second, ErrorWindow: 10 * time.Second,
		}
	}
	for i := range 2 + rng.IntN(2) {
		w.workers = append(w.workers, &worker{number: i + 1})
	}
}

func (w *world) broken(format string, args ...any) {
	why := fmt.Sprintf(format, args...)
	w.say("BROKEN: %s", why)
	panic(broken{why})
}

func (w *world) did(what string) {
	w.count[what]++
	if w.print {
		w.say("%s", what)
	}
}

func (w *world) say(format string, args ...any) {
	if w.print {
		fmt.Printf("%5d %12s  %s\n", w.steps, w.now.Sub(t0), fmt.Sprintf(format, args...))
	}
}

func (w *world) one(in int) bool { return w.rng.IntN(in) == 0 }

func (w *world) id() string { return w.ids[w.rng.IntN(len(w.ids))] }

// step lets one actor act.
func (w *world) step() {
	w.steps++
	w.pass()
	for _, a := range actions {
		if w.rng.IntN(actionsWeight) < a.weight {
			a.do(w)
			break
		}
	}
	w.check()
}

// pass lets time pass.
func (w *world) pass() {
	d := time.Duration(w.rng.IntN(50)) * time.Millisecond
	switch n := w.rng.IntN(100); {
	case n < 12:
		d = time.Duration(w.rng.IntN(3000)) * time.Millisecond
	case n < 16:
		d = time.Duration(w.rng.IntN(90)) * time.Second
	case n < 17 && w.one(2):
		d = time.Duration(w.rng.IntN(30)) * time.Minute
	}
	w.now = w.now.Add(d)
}

// actions are what may happen, each with how often it does. An action is tried only when those before
// it did not happen.
var actions = []struct {
	weight int
	do     func(*world)
}{
	{420, (*world).work},
	{150, (*world).report},
	{60, (*world).see},
	{200, (*world).decide},
	{130, (*world).accept},
	{60, (*world).freeze},
	{60, (*world).hold},
	{100, (*world).deliver},
	{20, (*world).snapshot},
	{20, (*world).rewind},
	{40, (*world).crash},
	{120, (*world).remove},
	{20, (*world).loseTask},
	{1000, (*world).work},
}

const actionsWeight = 1000

// answered returns whether the caller of a store gets its answer, and whether the store did it at all.
func (w *world) answered() (done, answered bool) {
	if w.quiet || !w.one(12) {
		return true, true
	}
	if w.one(2) {
		w.did("answer lost, applied")
		return true, false
	}
	w.did("answer lost, not applied")
	return false, false
}
