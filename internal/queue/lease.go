package queue

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Fetched is a task that a worker has fetched.
type Fetched struct {
	TaskID // zero: its id is none of ours
	Class  int
	ID     string    // asynq's
	Came   time.Time // when it was fetched: one after the other

	// For the dispatcher, which sets them before it dispatches the task.
	Known     any
	Recipient Recipient
	Era       int64
	Flow      message.Flow // to which it returns

	// Guarded by Lease.mu.
	fetch   *fetch    // that Redis has it in
	gone    bool      // it has left its worker
	over    bool      // and is to be deleted
	ended   time.Time // when its handler returned
	outcome error     // what it returned
}

// LeaseOptions say whose tasks a Lease has. All fields are required.
type LeaseOptions struct {
	DB           *store.DB
	Transactions *store.Transactions
	Shard        message.Shard
	Number       string
	Worker       string      // names this process among all others
	First        func() bool // whether this worker serves the number, or else stands by
	// Returned is called when tasks return to the heads of their queues, with their classes as bits. It must not
	// call the lease.
	Returned func(classes int)
	Given    context.Context // ends when what is not written yet is given up
	Writers  *sync.WaitGroup // of the goroutines that write
	Log      *slog.Logger
}

// Lease is the tasks of one number that this worker has fetched and that have not left it. It writes how they
// leave in the background, several at a time. Redis has the same tasks in the hash of LeasesKey, so that other
// workers return them if this one dies. It is safe for concurrent use.
type Lease struct {
	o    LeaseOptions
	key  string // of LeasesKey
	keys []Keys // by class

	mu       sync.Mutex
	tasks    map[string]*Fetched // by id: those that have not left
	exits    []Exit              // that are not in Redis yet
	fetches  []*fetch            // all of this worker that Redis has
	settling bool                // a goroutine writes the exits
	due      time.Time           // when it is to write
	sooner   chan struct{}       // due was brought forward
	writing  sync.Mutex          // held while they are written; taken before mu
	unsure   bool                // the last transaction may have run; guarded by writing
	closed   []string            // days whose counter was given an end
	lists    lists
	seen     map[*Fetched]bool // that left, and that the last read of the leases had all the same
}

// fetch is one fetch, as its worker remembers it. It is guarded by Lease.mu.
type fetch struct {
	field   string
	tasks   []*Fetched
	left    int  // tasks that have not left
	changed bool // Redis has more of it than it should
	writing int  // how many were left in the last transaction; before the first, all
}

// NewLease returns the lease of a number's tasks: this worker has none yet.
func NewLease(o LeaseOptions) *Lease {
	l := &Lease{
		o: o, key: LeasesKey(o.Shard, o.Number), tasks: map[string]*Fetched{}, sooner: make(chan struct{}, 1),
	}
	for _, c := range message.Classes() {
		l.keys = append(l.keys, KeysOf(o.Shard, o.Number, c))
	}
	return l
}

// Keys returns asynq's keys of a class, counted from 0.
func (l *Lease) Keys(class int) Keys { return l.keys[class] }

// Add notes the tasks of a fetch, by its field and value in the hash of leases, and returns those that were not
// leased before. A task that was belongs to this fetch from now on, because this is where Redis has it: a failover
// may have lost the earlier fetch.
func (l *Lease) Add(field, value string) []*Fetched {
	if value == "" {
		return nil
	}
	f, came := &fetch{field: field}, time.Now()
	all := make([]Fetched, 0, 1+strings.Count(value, " "))
	eachLeased(value, func(class int, id string) {
		t := Fetched{Class: class, ID: id, fetch: f, Came: came.Add(time.Duration(len(all)))}
		if task, ok := ParseTaskID(id); ok {
			t.TaskID = task
		}
		all = append(all, t)
	})
	f.tasks = make([]*Fetched, 0, len(all))
	tasks, moved := make([]*Fetched, 0, len(all)), false
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range all {
		t := &all[i]
		had := l.tasks[t.ID]
		switch {
		case had == nil:
			l.tasks[t.ID] = t
			tasks = append(tasks, t)
		case had.fetch == f: // this fetch took it twice
			f.changed, moved = true, true
			continue
		default:
			had.fetch.remove(had)
			had.fetch, t, moved = f, had, true
		}
		f.tasks = append(f.tasks, t)
	}
	f.left, f.writing = len(f.tasks), len(all)
	l.fetches = append(l.fetches, f)
	if moved {
		l.settleWithin(leaveSoon)
	}
	return tasks
}

// remove removes a task that another fetch has now.
func (f *fetch) remove(t *Fetched) {
	f.tasks = slices.DeleteFunc(f.tasks, func(other *Fetched) bool { return other == t })
	f.left--
	f.changed = true
}

// Task returns the leased task of an id; nil: there is none.
func (l *Lease) Task(id string) *Fetched {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tasks[id]
}

// Has reports whether this worker knows a fetch of its own.
func (l *Lease) Has(field string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(l.fetches, func(f *fetch) bool { return f.field == field })
}

// Empty reports whether no task is leased and Redis has how all of them left.
func (l *Lease) Empty() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.tasks) == 0 && len(l.fetches) == 0
}

// Finish notes what a task's handler returned. The task stays leased until it leaves: asynq's server says how.
func (l *Lease) Finish(t *Fetched, outcome error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t.ended, t.outcome, t.Known = time.Now(), outcome, nil
}

// Outcome returns what a task's handler returned.
func (l *Lease) Outcome(t *Fetched) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return t.outcome
}

// Silent returns the tasks whose handlers returned longer than d ago, while asynq's server did not say what it
// does with them.
func (l *Lease) Silent(d time.Duration) (tasks []*Fetched) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, t := range l.tasks {
		if !t.ended.IsZero() && time.Since(t.ended) > d {
			tasks = append(tasks, t)
		}
	}
	return tasks
}

// All returns the leased tasks in the order in which they were fetched.
func (l *Lease) All() []*Fetched {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.SortedFunc(maps.Values(l.tasks), func(a, b *Fetched) int { return a.Came.Compare(b.Came) })
}

// Read adds to a pipeline that the leases of all workers are read, for Compare.
func (l *Lease) Read(ctx context.Context, p redis.Cmdable) *redis.MapStringStringCmd {
	return p.HGetAll(ctx, l.key)
}

// Compare compares the leases that Redis has of the number with what this worker has. If this worker serves the
// number it then writes asynq's lists.
func (l *Lease) Compare(leases *redis.MapStringStringCmd, first bool) error {
	all, err := leases.Result()
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leaveAgain(all)
	if first {
		l.list(all)
	}
	return nil
}

// leaveAgain returns to their queues the tasks that left this worker and that Redis still has as leased: a
// master that failed over lost how they left, and no other worker returns the tasks of one that
// lives. A task is returned when two successive reads have it, because the first may have been sent
// before its exit was written. The caller holds l.mu.
func (l *Lease) leaveAgain(leases map[string]string) {
	unwritten := map[*Fetched]bool{}
	for _, e := range l.exits {
		unwritten[e.Fetched] = true
	}
	seen := map[*Fetched]bool{}
	for _, f := range l.fetches {
		value, exists := leases[f.field]
		if !exists {
			continue
		}
		inRedis := map[string]bool{}
		eachLeased(value, func(_ int, id string) { inRedis[id] = true })
		for _, t := range f.tasks {
			if !t.gone || t.over || unwritten[t] || !inRedis[t.ID] { // what is over leaves Redis with its whole fetch
				continue
			}
			if !l.seen[t] {
				seen[t] = true
				continue
			}
			if f.changed = true; l.tasks[t.ID] == nil { // else it was fetched again meanwhile
				l.o.Returned(1 << t.Class)
				l.exits = append(l.exits, Exit{Fetched: t, How: ToHead})
			}
			l.settleWithin(0)
		}
	}
	l.seen = seen
}

// Settle writes at once what there is to write.
func (l *Lease) Settle(ctx context.Context) error {
	if err := l.Compare(l.Read(ctx, l.o.DB), true); err != nil {
		return err
	}
	return l.Write(0)
}

// value is what Redis is to have of the fetch.
func (f *fetch) value() string {
	var b strings.Builder
	class := -1
	for _, t := range f.tasks {
		if t.gone {
			continue
		}
		if t.Class != class {
			if class >= 0 {
				b.WriteByte('\n')
			}
			class = t.Class
			b.WriteString(strconv.Itoa(class))
		}
		b.WriteByte(' ')
		b.WriteString(t.ID)
	}
	return b.String()
}
