package record_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/message"
	"sluice/internal/record"
)

var (
	seed  = flag.Uint64("seed", 1, "what the random lives of the model follow from")
	lives = flag.Int("lives", 0, "how many random lives the model goes through; 0: 5,000, and fewer with the race detector or -short")
	only  = flag.Int("only", -1, "go through this one life alone, and print it")
)

// A life is so many steps of a few messages, and then what is needed to end them.
const lifeSteps = 800

// TestModel goes through random lives of a few messages: callers, workers, Meta, reports, sweepers
// and operators in any order, with answers that get lost, workers that freeze and die, and a store
// that loses what it had last. After each step it looks whether the promises hold.
func TestModel(t *testing.T) {
	t.Parallel()
	if *only >= 0 {
		if err := live(world{rules: theRules(), deep: true, print: true}, *only); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *lives
	switch {
	case n > 0:
	case testing.Short() || raceDetector:
		n = 300
	default:
		n = 5000
	}
	began := time.Now()
	var next atomic.Int64
	var counts tally
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				w := world{rules: theRules(), deep: true}
				if err := live(w, i, &counts); err != nil {
					t.Errorf("%v\nThis shows it alone: go test ./internal/record -run '^TestModel$' -seed %d -only %d -v", err, *seed, i)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("seed %d: %d lives in %s\n%s", *seed, n, time.Since(began).Round(time.Millisecond), counts.String())
	if *lives == 0 {
		counts.covers(t)
	}
}

// TestTwin drives two stores at once. It is the place to compare a real one with memory.
func TestTwin(t *testing.T) {
	t.Parallel()
	n := 200
	if testing.Short() || raceDetector {
		n = 40
	}
	for i := range n {
		w := world{rules: theRules(), twin: true}
		if err := live(w, i); err != nil {
			t.Fatalf("life %d: %v", i, err)
		}
	}
}

// tally counts what happened in all lives.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *tally) add(some map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[string]int{}
	}
	for k, n := range some {
		c.count[k] += n
	}
}

func (c *tally) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(keys(c.count)) {
		fmt.Fprintf(&b, "  %-28s %d\n", k, c.count[k])
	}
	return b.String()
}

func keys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// covers fails the test when the model never came to something: it would prove nothing about it.
func (c *tally) covers(t *testing.T) {
	t.Helper()
	want := []string{
		"accept made", "accept repeat", "accept other content", "accept another incarnation", "begin go", "begin busy", "begin early", "begin done",
		"begin expired", "begin not alone", "begin late", "decide conflict", "request", "request again", "outcome late", "answer lost, applied", "answer lost, not applied",
		"report early", "report of another incarnation", "report of another attempt", "report unmarked", "report applied",
		"sweep abandoned", "sweep requeue", "sweep resend", "sweep park", "sweep close", "sweep expire", "sweep lost task",
		"cancel", "settle sent", "settle queued", "settle cancelled", "replay", "rewind", "restore intent", "restore outcome",
		"freeze", "crash", "take back", "duplicate", "removed", "submitted after rewind",
	}
	for _, s := range message.States() {
		want = append(want, "state "+string(s))
	}
	for _, k := range want {
		if c.count[k] == 0 {
			t.Errorf("the model never came to %q", k)
		}
	}
}

// broken is a promise that does not hold.
type broken struct{ why string }

// live goes through one life. Its error is the promise that was broken.
func live(w world, i int, counts ...*tally) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case broken:
			err = fmt.Errorf("life %d, step %d: %s", i, w.steps, x.why)
		default:
			panic(x)
		}
		w.count["steps"] = w.steps
		for _, c := range counts {
			c.add(w.count)
		}
	}()
	w.setup(rand.New(rand.NewPCG(*seed, uint64(i))))
	for range lifeSteps {
		w.step()
	}
	w.drain()
	return nil
}

// life is one incarnation of an id, and what is known of it that no record says.
type life struct {
	id          string
	incarnation int64
	hash        string
	payload     string
	requests    []*request
	last        record.Record // when it was last looked at
	stored      string        // its stored form then
	reported    message.State // the highest of the reports that were folded, failures aside
	cancelled   bool          // so its caller was told
	settled     bool          // a person said that it was sent
	rewound     bool          // the store has lost something of it
	unsure      bool          // and somebody decided about it before that was restored
	resends     int
}

// request is one that was written to Meta.
type request struct {
	attempt int
	taken   bool
	proven  bool // its worker learned that it was not taken
	ended   bool // a policy or a person said to go on all the same
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
	message.Memory
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
	tries   int
	request *request
}

// snapshot is what a store may go back to.
type snapshot struct {
	at      time.Time
	memory  *memory
	tasks   map[task]held
	reports int // how many reports had been folded
}

// world is all that happens to a few messages.
type world struct {
	rules rules
	deep  bool // whether written records are compared with what is read of them
	twin  bool // whether a second store goes along
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
	folded    []report
	sights    []seen   // what sweepers, callers and operators saw, to decide on later
	late      []func() // commands on their way to the store, whose answer nobody awaits
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
		other := newMemory(w.rules, rng, w.broken)
		other.script = func() bool { return true }
		w.memory.script = func() bool { return false }
		w.store = twin{w.memory, other, w.broken}
	}
	w.lives, w.tasks, w.versions, w.policies = map[string]*life{}, map[task]held{}, map[string]map[int]string{}, map[string]message.Policy{}
	for i := range 1 + rng.IntN(3) {
		id := message.NewID(number, fmt.Sprint("key", i))
		w.ids = append(w.ids, id)
		w.policies[id] = message.Policy{
			OnDoubt:     []message.OnDoubt{message.Resend, message.Resend, message.Park, message.Close}[rng.IntN(4)],
			DoubtWindow: time.Duration(10+rng.IntN(60)) * time.Second, ErrorWindow: 10 * time.Second,
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

// step lets somebody do something.
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

// heard tells whether the caller of a store hears its answer; and whether the store did it at all.
func (w *world) heard() (done, answered bool) {
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

// accept is a caller that orders a message, often one that it has ordered before.
func (w *world) accept() {
	id := w.id()
	m := w.order(id)
	if w.lives[id] != nil && !w.one(8) {
		m.Hash, m.Payload = w.lives[id].hash, []byte(w.lives[id].payload)
	}
	done, answered := w.heard()
	if !done {
		return
	}
	before := w.lives[id]
	s := w.store.Read(id)
	r, made := w.store.Accept(s, m, w.now)
	if made {
		if before != nil {
			w.broken("%s: accepted although there is a record", id)
		}
		w.did("accept made")
		for _, p := range w.past {
			if p.id == id {
				w.did("accept another incarnation")
				break
			}
		}
		w.lives[id] = &life{id: id, incarnation: r.Incarnation(), hash: m.Hash, payload: string(m.Payload), last: r}
		w.tasks[task{id, 0}] = w.tasks[task{id, 0}]
		w.versions[id] = map[int]string{}
		w.durable(id) // before its caller is told
		return
	}
	if before == nil || r.Hash != before.hash {
		w.broken("%s: there is a record that nobody ordered: %+v", id, r)
	}
	if answered && r.Hash == m.Hash {
		w.did("accept repeat")
	} else if answered {
		w.did("accept other content")
	}
}

func (w *world) order(id string) message.Message {
	m := message.Message{
		ID: id, From: number, Class: message.Utility, Hash: fmt.Sprint("content ", w.steps), Payload: fmt.Appendf(nil, `{"content":%d}`, w.steps),
		Content: message.Content{Type: "text", To: "+16505551234"}, ExpiresAt: w.now.Add(time.Duration(1+w.rng.IntN(120)) * time.Minute),
	}
	if w.one(4) {
		m.SendAt = w.now.Add(time.Duration(w.rng.IntN(30)) * time.Second)
	}
	if w.one(4) {
		m.Ref, m.Tags = "order", []string{"a", "b"}
	}
	if w.one(10) {
		m.ExpiresAt = w.now.Add(time.Duration(w.rng.IntN(20)) * time.Second)
	}
	return m
}

// durable makes a message in all snapshots what it is now: the store does not lose that.
func (w *world) durable(id string) {
	for _, s := range w.snapshots {
		s.memory.adopt(w.memory, id)
		for t := range s.tasks {
			if t.id == id {
				delete(s.tasks, t)
			}
		}
		for t, h := range w.tasks {
			if t.id == id {
				s.tasks[t] = held{hold: h.hold}
			}
		}
	}
}

// see is a sweeper, a caller or an operator who looks at a message.
func (w *world) see() {
	if len(w.sights) < 6 {
		w.sights = append(w.sights, w.store.Read(w.id()))
	}
}

// decide is a sweeper, a caller or an operator who decides on what was seen, now or some time ago.
func (w *world) decide() {
	s := w.store.Read(w.id())
	if n := len(w.sights); n > 0 && w.one(2) {
		s = w.sights[w.rng.IntN(n)]
		w.sights = slices.DeleteFunc(w.sights, func(o seen) bool { return o.id == s.id && o.stored == s.stored })
	}
	if !s.record.Exists() || w.lives[s.id] == nil {
		return
	}
	if m, what, ok := w.choose(s.record); ok {
		w.move(s, m, what)
	}
}

// choose is what a sweeper, or now and then a caller or an operator, wants to do with a record.
func (w *world) choose(r record.Record) (m message.Move, what string, ok bool) {
	policy := w.policies[r.ID]
	left := r.ExpiresAt.Sub(w.now)
	person := !w.quiet && w.one(6)
	switch {
	case person && r.State == message.Queued, person && r.State == message.Parked && w.one(4):
		return message.Move{To: message.Cancelled, Reason: message.ReasonCaller}, "cancel", true
	case (person || w.one(4)) && (r.State == message.Parked || r.State == message.InDoubt && person):
		m = message.Move{Reason: message.ReasonResolved}
		switch w.rng.IntN(4) {
		case 0:
			m.To, what = message.Submitted, "settle sent"
		case 1:
			m.To, what = message.Cancelled, "settle cancelled"
		case 2:
			if left > 0 {
				m.To, what = message.Queued, "settle queued"
			} else {
				m.To, what = message.Expired, "settle expired"
			}
		}
		return m, what, what != ""
	case r.State == message.Dead && !w.quiet && (person || w.one(3)):
		m = message.Move{To: message.Queued, Reason: message.ReasonReplayed}
		if w.one(2) || left <= 0 {
			m.ExpiresAt = w.now.Add(time.Hour)
		}
		return m, "replay", true
	case r.State == message.Attempting:
		m = message.Move{To: message.InDoubt, In: policy.DoubtWindow, Reason: message.ReasonWorkerDied}
		since := w.now.Sub(r.Since())
		if since > 62*time.Second {
			m.Reason = message.ReasonNoAnswer
			return m, "sweep abandoned", true
		}
		return m, "sweep abandoned", since > 6*time.Second && !w.alive(r.Worker())
	case r.State == message.InDoubt && !w.now.Before(r.NextAt):
		switch {
		case r.Reason == message.ReasonServerError && left > 0:
			return message.Move{To: message.Queued, Reason: message.ReasonServerError}, "sweep requeue", true
		case policy.OnDoubt == message.Resend && r.Resends == 0 && left >= time.Minute:
			return message.Move{To: message.Queued, Reason: message.ReasonPolicy, Resend: true}, "sweep resend", true
		case policy.OnDoubt == message.Park:
			return message.Move{To: message.Parked, Reason: r.Reason}, "sweep park", true
		}
		return message.Move{To: message.Failed, Reason: message.ReasonUndetermined}, "sweep close", true
	case r.State == message.Queued && left <= 0:
		return message.Move{To: message.Expired, Reason: message.ReasonDeadline}, "sweep expire", true
	case r.State == message.Queued:
		_, there := w.tasks[task{r.ID, r.Task}]
		m = message.Move{To: message.Queued, Reason: message.ReasonTaskLost, In: max(0, r.NextAt.Sub(w.now))}
		return m, "sweep lost task", !there || !w.quiet && w.one(16) // who looked may have been wrong
	}
	return m, "", false
}

// alive tells whether a worker seems to live.
func (w *world) alive(name string) bool {
	for _, k := range w.workers {
		if k.name() == name {
			return k.frozen.IsZero() || w.now.Sub(k.frozen) <= 6*time.Second
		}
	}
	return false
}

// move moves a message from where it was seen.
func (w *world) move(s seen, m message.Move, what string) {
	in := record.Input{
		Kind: record.Seen, At: w.now, Move: m, From: s.record.State, Attempt: s.record.Attempt, Task: s.record.Task,
		Incarnation: s.record.Incarnation(),
	}
	do := func(s seen) record.Decision {
		before := w.store.Read(s.id)
		r, d := w.store.Decide(s, in)
		if before.stored != s.stored {
			w.did("decide conflict")
		}
		if !d.Applied {
			return d
		}
		w.did(what)
		l := w.lives[s.id]
		if l.incarnation != in.Incarnation {
			w.broken("%s: moved by what was seen of another incarnation", s.id)
		}
		l.unsure = l.unsure || w.restoring
		if !m.ExpiresAt.IsZero() && !r.ExpiresAt.Equal(m.ExpiresAt) {
			w.broken("%s: its new deadline is %s, not %s", s.id, r.ExpiresAt, m.ExpiresAt)
		}
		switch m.To {
		case message.Queued:
			w.tasks[task{s.id, r.Task}] = held{}
			if before.record.State != message.Dead {
				for _, q := range l.requests {
					q.ended = q.ended || q.attempt <= r.Attempt && before.record.State != message.Queued
				}
			}
			if m.Resend {
				if l.resends++; l.resends > 1 && !l.rewound {
					w.broken("%s: sent again by policy more than once", s.id)
				}
			}
		case message.Cancelled:
			l.cancelled = true
		case message.Submitted:
			l.settled = true
		}
		return d
	}
	if !w.quiet && !w.twin && w.one(10) {
		s.once = true
		w.late = append(w.late, func() { do(s) })
		return
	}
	done, answered := w.heard()
	if !done {
		return
	}
	if do(s); !answered {
		do(s) // its caller repeats it
	}
}

// hold holds a task back, or lets it go.
func (w *world) hold() {
	for _, t := range w.all() {
		if w.one(2) {
			h := w.tasks[t]
			h.hold = !h.hold
			w.tasks[t] = h
			return
		}
	}
}

// all returns the tasks, in an order that does not change from run to run.
func (w *world) all() []task {
	var all []task
	for t := range w.tasks {
		all = append(all, t)
	}
	slices.SortFunc(all, func(a, b task) int {
		if a.id != b.id {
			return strings.Compare(a.id, b.id)
		}
		return a.k - b.k
	})
	return all
}

func (w *world) loseTask() {
	if all := w.all(); len(all) > 0 {
		delete(w.tasks, all[w.rng.IntN(len(all))])
	}
}

// deliver lets a command arrive whose sender has given it up.
func (w *world) deliver() {
	if n := len(w.late); n > 0 {
		i := w.rng.IntN(n)
		f := w.late[i]
		w.late = slices.Delete(w.late, i, i+1)
		f()
	}
}

// remove ends the time of a final record. It has been so for a day or more, so nobody is about to do
// something with what was seen of it.
func (w *world) remove() {
	id := w.id()
	l := w.lives[id]
	if l == nil || !l.last.State.Final() || len(w.late) > 0 || w.restoring {
		return
	}
	for _, k := range w.workers {
		if j := k.job; j != nil && j.id == id && j.phase != finish && (j.phase != look || j.mem != nil) {
			return
		}
	}
	w.sights = slices.DeleteFunc(w.sights, func(s seen) bool { return s.id == id })
	for _, k := range w.workers {
		k.memory = slices.DeleteFunc(k.memory, func(m *remembered) bool { return m.ID == id })
	}
	w.store.Remove(id)
	delete(w.lives, id)
	w.past = append(w.past, l)
	if w.memory.values[id] != "" {
		w.broken("%s: not removed", id)
	}
	w.durable(id)
	w.did("removed")
}

// snapshot is a moment that the store may go back to.
func (w *world) snapshot() {
	if w.twin || w.restoring {
		return
	}
	if len(w.snapshots) == 3 {
		w.snapshots = slices.Delete(w.snapshots, 0, 1)
	}
	s := &snapshot{at: w.now, memory: w.memory.copy(), tasks: map[task]held{}, reports: len(w.folded)}
	for t, h := range w.tasks {
		s.tasks[t] = held{hold: h.hold}
	}
	w.snapshots = append(w.snapshots, s)
	for _, k := range w.workers { // what every snapshot has need not be remembered
		k.memory = slices.DeleteFunc(k.memory, func(m *remembered) bool { return m.over && m.Since.Before(w.snapshots[0].at.Add(-time.Minute)) })
	}
}

// rewind takes the store back. Whoever waits for an answer gets none, and nothing begins until the
// workers have written down again what they remember.
func (w *world) rewind() {
	if len(w.snapshots) == 0 || w.restoring {
		return
	}
	w.did("rewind")
	s := w.snapshots[w.rng.IntN(len(w.snapshots))]
	w.snapshots = slices.DeleteFunc(w.snapshots, func(o *snapshot) bool { return o.at.After(s.at) })
	back := s.memory.copy()
	w.memory.values, w.memory.lists, w.memory.names, w.memory.events = back.values, back.lists, back.names, back.events
	w.tasks = map[task]held{}
	for t, h := range s.tasks {
		w.tasks[t] = h
	}
	w.reports = append(w.reports, w.folded[s.reports:]...) // the stream has them still
	w.folded = w.folded[:s.reports]
	w.late, w.sights = nil, nil
	for _, k := range w.workers {
		if j := k.job; j != nil && j.phase == begin {
			j.phase = look
		}
		for _, m := range k.memory {
			m.restored = false
		}
	}
	for id, l := range w.lives {
		l.rewound, l.cancelled, l.reported = true, false, ""
		l.last, l.stored = w.memory.Read(id).record, ""
		w.versions[id] = map[int]string{}
	}
	w.restoring = true
}

// crash kills a worker. What it was to remember is gone; the store has all that happened before, for a
// store and a worker that fail at the same time are more than is promised.
func (w *world) crash() {
	k := w.workers[w.rng.IntN(len(w.workers))]
	if w.restoring || !w.one(3) {
		return
	}
	w.did("crash")
	w.snapshots = nil
	for t, h := range w.tasks {
		if h.by == k.number {
			h.by = 0
			w.tasks[t] = h
		}
	}
	if w.one(4) && k.job != nil {
		delete(w.tasks, k.job.task)
	}
	*k = worker{number: k.number, seq: k.seq}
	k.seq += 1000 // its successor has another name
}

// freeze lets a worker stand still, or go on.
func (w *world) freeze() {
	k := w.workers[w.rng.IntN(len(w.workers))]
	if !k.frozen.IsZero() {
		k.frozen = time.Time{}
		return
	}
	if w.one(3) {
		w.did("freeze")
		k.frozen = w.now
	}
}
