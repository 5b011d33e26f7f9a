package store

import (
	"context"
	_ "embed"
	"fmt"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/retry"
)

//go:embed lua/hdelif.lua
var hdelIfScript string

//go:embed lua/change.lua
var changeLua string

// Limits of one transaction. Redis compares each watched key with all others, so many keys are expensive, and after a
// conflict all changes of a transaction decide again.
const (
	txKeys    = 25
	txChanges = 100
	txTries   = 5 // of a change of which nothing was written because of a failure
)

// txPauses are the pauses between the tries.
var txPauses = retry.Pauses{First: 10 * time.Millisecond, Max: 160 * time.Millisecond}

// Change is a decision in Go about some keys of Redis: it reads the keys and says what to write. The writes happen only
// if none of the keys has changed since they were read. Otherwise Decide runs again.
type Change struct {
	// Keys are the strings that Decide reads; none: the writes depend on nothing. Each change of such a string must
	// change its length, as it does for a record: the length shows the change where transactions are scripts, and on a
	// full Redis.
	Keys []string
	// Slot is any key of the Cluster slot of all keys that the change reads and writes.
	Slot string
	// Decide gets the values of Keys, in their order; "" for a key that does not exist. It may be called several times,
	// also after Do has returned because its ctx ended, and must do nothing except write to w. After an error nothing of it
	// is written.
	Decide func(values []string, w *Writes) error
	// Durable: Do returns nil only when the writes are as durable as Require demands. If nothing is written, this applies
	// to what was read.
	Durable bool
}

// Transactions run changes. Concurrent changes share transactions and round trips. It is safe for concurrent use and
// needs no closing.
type Transactions struct {
	db     *DB
	strict bool
	group  *GroupCommit[*txPart]
}

// Transactions returns a new set of transactions. A full Redis refuses strict ones; it accepts others, so that a
// backlog can drain.
func (db *DB) Transactions(strict bool) *Transactions {
	t := &Transactions{db: db, strict: strict}
	t.group = NewGroupCommit(func(p *txPart) string { return db.slotOf(p.Slot) }, txKeys, t.serve)
	return t
}

// txPart is one caller's change.
type txPart struct {
	Change
	tries   int
	refused error // the error of Decide in the present transaction
}

// txShare is a change whose caller waits. txLane has the changes that share transactions; its field full is how many
// keys a transaction has at most: fewer after conflicts.
type (
	txShare = Share[*txPart]
	txLane  = Lane[*txPart]
)

// Do runs a change. For the time within, other changes may join its transaction. It blocks until Redis answers the
// writes. If ctx ends first, it returns the cause: the writes may still happen.
func (t *Transactions) Do(ctx context.Context, within time.Duration, c Change) error {
	return t.DoAll(ctx, within, []Change{c})[0]
}

// DoAll is Do for several changes. It returns the error of each, in their order.
func (t *Transactions) DoAll(ctx context.Context, within time.Duration, all []Change) []error {
	parts := make([]*txPart, len(all))
	for i, c := range all {
		parts[i] = &txPart{Change: c}
	}
	errs := make([]error, len(all))
	for i, s := range t.group.join(within, parts) {
		errs[i] = t.group.wait(ctx, s)
	}
	return errs
}

// txBatch has the changes of one transaction.
type txBatch struct {
	shares []*txShare
	keys   []string
	values map[string]string // as read
	writes *Writes
}

// serve runs the changes of a lane until no caller waits. The writes of a batch share a round trip with the reads of
// the next batch, so under load a transaction costs no more round trips than a pipeline.
func (t *Transactions) serve(l *txLane) {
	c := &txConn{t: t, slot: l.name}
	defer c.close()
	var decided *txBatch
	for {
		next, wait := t.next(l, decided != nil)
		if next == nil && decided == nil {
			if wait == 0 {
				return
			}
			l.pause(wait)
			continue
		}
		again := c.step(decided, next)
		decided = nil
		if next != nil && next.values != nil {
			if next.decide(); len(next.shares) > 0 {
				decided = next
			}
		}
		t.back(l, again)
		if c.failures > 0 && len(again) > 0 {
			time.Sleep(txPauses.After(c.failures))
		}
	}
}

// next returns the next batch, or how long to wait for more changes. A lane without changes ends, unless it has an
// open batch.
func (t *Transactions) next(l *txLane, open bool) (*txBatch, time.Duration) {
	b := &txBatch{}
	shares, wait := t.group.next(l, open, func(waiting []*txShare) (n int, full bool) {
		for _, s := range waiting {
			keys := b.keys
			for _, k := range s.Part.Keys {
				if !slices.Contains(keys, k) {
					keys = append(keys, k)
				}
			}
			if n == txChanges || n > 0 && len(keys) > l.full {
				break
			}
			b.keys, n = keys, n+1
		}
		return n, n == txChanges || len(b.keys) >= l.full
	})
	if len(shares) == 0 {
		return nil, wait
	}
	b.shares = shares
	return b, 0
}

// back puts changes that must be decided again before all others, in smaller transactions from then on. This delays
// only changes of keys that change all the time: while the writes of these run, others are read.
func (t *Transactions) back(l *txLane, again []*txShare) {
	t.group.mu.Lock()
	defer t.group.mu.Unlock()
	if len(again) == 0 {
		l.full = min(l.full+1, txKeys)
		return
	}
	l.full = max(l.full/2, 1)
	l.waiting = append(again, l.waiting...)
	l.due = time.Now()
	l.running = true
}

// decide calls Decide of each change, and keeps the changes that wrote something, or that must know that what they
// read is durable.
func (b *txBatch) decide() {
	for _, s := range b.shares {
		s.Part.refused = nil
	}
	for !b.decideAll() {
	}
}

// decideAll returns false when a change failed after it had written something: the others must decide again without
// those writes. A decision that came after writes of others may depend on them, so it counts only when they are written.
func (b *txBatch) decideAll() (clean bool) {
	b.writes, clean = &Writes{}, true
	b.shares = slices.DeleteFunc(b.shares, func(s *txShare) bool {
		if !clean {
			return false
		}
		before := b.writes.count
		if s.Part.refused == nil {
			s.Part.refused = s.Part.Decide(b.valuesOf(s), b.writes)
			clean = s.Part.refused == nil || b.writes.count == before
		}
		if !clean || before > 0 || b.writes.count > 0 || s.Part.refused == nil && s.Part.Durable {
			return false
		}
		s.End(s.Part.refused)
		return true
	})
	return clean
}

// valuesOf returns what a change reads: the stored values, or those that changes before it wrote.
func (b *txBatch) valuesOf(s *txShare) []string {
	values := make([]string, len(s.Part.Keys))
	for i, k := range s.Part.Keys {
		values[i] = b.values[k]
		if v, set := b.writes.lookup(k); set {
			values[i] = string(v)
		}
	}
	return values
}

// conn returns a connection to the master of a slot. The caller must close it.
func (db *DB) conn(ctx context.Context, slot string) (*redis.Conn, error) {
	if cluster := db.cluster(); cluster != nil {
		master, err := cluster.MasterForKey(ctx, slot)
		if err != nil {
			return nil, err
		}
		return master.Conn(), nil
	}
	client, ok := db.UniversalClient.(interface{ Conn() *redis.Conn })
	if !ok {
		return nil, fmt.Errorf("transactions need a client with connections of its own, and %T has none", db.UniversalClient)
	}
	return client.Conn(), nil
}

// OnOne calls f with a connection to the master of a key: all commands of f go to one process of Redis, or fail.
func (db *DB) OnOne(ctx context.Context, key string, f func(*redis.Conn) error) error {
	c, err := db.conn(ctx, tagOf(key))
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// AddIfUnchanged adds a command to a pipeline. It runs, also on a full Redis, if a record still has that length. Its
// value is 1, or 0 if the record has changed.
func (db *DB) AddIfUnchanged(ctx context.Context, p redis.Pipeliner, record string, length int, command ...any) *redis.Cmd {
	return db.change.Add(ctx, p, []string{record}, append([]any{length, len(command)}, command...)...)
}

// moved reloads the layout of a Cluster if an error says that it has changed.
func (db *DB) moved(err error) {
	if cluster := db.cluster(); cluster != nil && (wrongServer(err) || !answered(err)) {
		cluster.ReloadState(context.Background()) // this does not block
	}
}

func words(first string, rest []string) []any {
	all := make([]any, 0, len(rest)+1)
	all = append(all, first)
	for _, w := range rest {
		all = append(all, w)
	}
	return all
}
