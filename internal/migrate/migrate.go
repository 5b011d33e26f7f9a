// Package migrate converts a store of format 1, in which each message was a hash changed by scripts, to format 2, in
// which it is one packed string: see package record. It must run while no program of Sluice runs. It may be killed at any
// moment and run again: one transaction converts a message together with its index entries.
package migrate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/message"
	"sluice/internal/queue"
	"sluice/internal/record"
	"sluice/internal/store"
)

// aliveFor is how long a worker counts as alive after its last heartbeat.
const aliveFor = 6 * time.Second

// Options say how to migrate. Zero means the default.
type Options struct {
	Shards message.Shards // DefaultShards
	DryRun bool           // count only
	Out    io.Writer      // for progress and the counts; nil: nothing is printed
}

// Counts are what a migration did, or with DryRun would do. States counts all messages of the store; a message may be
// counted twice if Redis resizes its table of keys at the same time. The others count this run.
type Counts struct {
	States    map[message.State]int // messages by state
	Converted int                   // messages
	Tasks     int                   // of stopped workers, which go back to their queues
	Events    int                   // that were not applied, and are copied to the new streams
	Unmatched int                   // statuses whose message is not known yet
}

var (
	// ErrRunning means that a program of Sluice runs.
	ErrRunning = errors.New("a program of Sluice is running")
	// ErrUnreadable means that records could not be converted.
	ErrUnreadable = errors.New("some records cannot be read")
	// ErrChanged means that a program wrote in the old format during the migration.
	ErrChanged = errors.New("a program still writes in the old format")
)

// migration is one run.
type migration struct {
	db     *store.DB
	ledger *ledger.Ledger
	tx     *store.Transactions
	o      Options
	n      Counts
	bad    []string  // ids of records that cannot be read
	wrote  time.Time // when progress was last printed
}

// Run migrates a store, and returns what it did. It does nothing if the store has the new format or is empty. It
// blocks until the migration is complete; after an error, or when ctx ends, it may be run again.
func Run(ctx context.Context, db *store.DB, o Options) (Counts, error) {
	if o.Shards == 0 {
		o.Shards = message.DefaultShards
	}
	if o.Out == nil {
		o.Out = io.Discard
	}
	m := &migration{
		db: db, ledger: ledger.New(db, ledger.Options{Shards: o.Shards}), tx: db.Transactions(false), o: o,
		n: Counts{States: map[message.State]int{}}, wrote: time.Now(),
	}
	format, err := m.ledger.Format(ctx)
	switch {
	case err != nil:
		return m.n, err
	case format == 0:
		m.say("The store is empty. There is nothing to migrate.")
		return m.n, nil
	case format == record.Format:
		if left, err := m.left(ctx); err != nil || !left {
			m.say("The store has format %d already. There is nothing to migrate.", format)
			return m.n, err
		}
		m.say("An old program wrote to the store after it was migrated.")
	case format > record.Format:
		return m.n, fmt.Errorf("%w: it has format %d. Use a newer program", record.ErrFormat, format)
	}
	if o.DryRun {
		err = m.count(ctx)
	} else {
		err = m.run(ctx)
	}
	if err != nil {
		return m.n, fmt.Errorf("migrate: %w", err)
	}
	return m.n, nil
}

func (m *migration) run(ctx context.Context) error {
	if err := m.stopped(ctx); err != nil {
		return err
	}
	if err := m.ledger.BeginMigration(ctx); err != nil {
		return err
	}
	if err := do(ctx, m.tasks, m.records, m.events, m.clean, m.lists, m.check); err != nil {
		return err
	}
	before := m.n
	if err := do(ctx, m.records, m.events, m.stopped); err != nil {
		return err
	}
	if m.n.Converted != before.Converted || m.n.Events != before.Events {
		return fmt.Errorf("%w. Stop all producers, workers and webhooks, and run this again", ErrChanged)
	}
	if err := m.ledger.EndMigration(ctx); err != nil {
		return err
	}
	m.table(fmt.Sprintf("Migrated to format %d.", record.Format))
	return nil
}

func do(ctx context.Context, steps ...func(context.Context) error) error {
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// oldWorkersKey has the heartbeats of workers of older versions, which had one list of them.
const oldWorkersKey = "sluice:workers"

// oldWorkers returns the workers of older versions that are alive.
func (m *migration) oldWorkers(ctx context.Context) ([]string, error) {
	now, err := m.db.Now(ctx, oldWorkersKey)
	if err != nil {
		return nil, err
	}
	return m.db.ZRangeByScore(ctx, oldWorkersKey, &redis.ZRangeBy{Min: strconv.FormatInt(now.Add(-aliveFor).UnixMilli(), 10), Max: "+inf"}).Result()
}

// stopped returns ErrRunning while a worker runs.
func (m *migration) stopped(ctx context.Context) error {
	alive, err := m.ledger.Workers(ctx, aliveFor)
	if err != nil {
		return err
	}
	old, err := m.oldWorkers(ctx)
	if err != nil {
		return err
	}
	servers, err := queue.LiveServers(ctx, m.db)
	if err != nil {
		return err
	}
	var running []string
	for _, worker := range slices.Concat(slices.Collect(maps.Keys(alive)), old) {
		running = append(running, "worker "+worker)
	}
	for _, server := range servers {
		running = append(running, "asynq server "+server)
	}
	if len(running) == 0 {
		return nil
	}
	slices.Sort(running)
	return fmt.Errorf("%w: %s. Stop all producers, workers and webhooks. A worker that was killed counts as running for 10 s",
		ErrRunning, strings.Join(running, ", "))
}

// tasks returns the tasks of stopped workers to their queues.
func (m *migration) tasks(ctx context.Context) error {
	n, err := queue.ReturnActive(ctx, m.db)
	m.n.Tasks += n
	return err
}

// left reports whether anything is stored in the old format.
func (m *migration) left(ctx context.Context) (bool, error) {
	left := false
	err := m.db.EachKey(ctx, pattern(recordPrefix), "hash", func([]string) error {
		left = true
		return nil
	})
	for _, s := range m.o.Shards.All() {
		if err == nil && !left {
			var n int
			n, err = m.unhandled(ctx, s)
			left = n > 0
		}
	}
	return left, err
}

// lists removes list entries without a record, and prepares the deletion of old records.
func (m *migration) lists(ctx context.Context) error {
	for _, s := range m.o.Shards.All() {
		if _, err := m.ledger.Prune(ctx, s); err != nil {
			return err
		}
		if err := m.ledger.ImportPurging(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// check reads every record again, and looks for it in its list.
func (m *migration) check(ctx context.Context) error {
	clear(m.n.States)
	return m.db.EachKey(ctx, pattern(recordPrefix), "string", func(keys []string) error {
		for s, ids := range byShard(keys, recordPrefix) {
			for some := range slices.Chunk(ids, batchMost) {
				all, err := m.ledger.ReadAll(ctx, s, some)
				if err != nil {
					return err
				}
				id, err := m.ledger.Misplaced(ctx, s, all)
				if err != nil {
					return err
				}
				if id != "" {
					return fmt.Errorf("message %s is not in its list. Run this again", id)
				}
				for _, r := range all {
					m.n.States[r.State]++
				}
				m.report("checked %d messages", m.n.messages())
			}
		}
		return nil
	})
}

func (n Counts) messages() (all int) {
	for _, k := range n.States {
		all += k
	}
	return all
}

// pattern matches the keys with a prefix, of all shards.
func pattern(prefix string) string { return "sluice:{s*}:" + prefix + "*" }

func (m *migration) say(format string, args ...any) { fmt.Fprintf(m.o.Out, format+"\n", args...) }

// report prints the progress of a step, every two seconds at most.
func (m *migration) report(format string, args ...any) {
	if time.Since(m.wrote) > 2*time.Second {
		m.wrote = time.Now()
		m.say(format, args...)
	}
}

// table prints the counts.
func (m *migration) table(head string) {
	m.say("%s", head)
	t := tabwriter.NewWriter(m.o.Out, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(n int, what string) { fmt.Fprintf(t, "%d\t %s\n", n, what) }
	for _, state := range message.States() {
		if n := m.n.States[state]; n > 0 {
			row(n, string(state))
		}
	}
	row(m.n.messages(), "messages")
	row(m.n.Tasks, "tasks of stopped workers: back in their queues")
	row(m.n.Events, "events that were not applied: in the new streams")
	row(m.n.Unmatched, "statuses whose message is not known yet: they wait for it")
	t.Flush()
}
