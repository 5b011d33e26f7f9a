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

//go:embed lua/change.lua
var changeLua string

// Bounds of one transaction. Redis compares each key that is watched with all before it, so many
// are dear; and what is in one transaction is decided again together.
const (
	txKeys    = 25
	txChanges = 100
	txTries   = 5 // of a change of which nothing was written because of a failure
)

// txPauses are those between the tries.
var txPauses = retry.Pauses{First: 10 * time.Millisecond, Max: 160 * time.Millisecond}

// Change is a decision in Go about some keys of Redis: it says what to write, by what the keys hold,
// and the writes happen only if none of the keys changed meanwhile. Else it decides again.
type Change struct {
	// Keys are the strings that Decide reads; none: what it writes rests on nothing. Each change of
	// such a string must change its length, as it does of a record: where transactions are scripts, and
	// on a full Redis, that is how a change is noticed.
	Keys []string
	// Slot is any key of the Cluster slot in which all keys lie that it reads and writes.
	Slot string
	// Decide is given what Keys hold, in their order; "" for what is not there. It may be called
	// several times, also after Do has returned because its ctx had ended, and must do nothing but write
	// to w. After an error nothing of it is written.
	Decide func(values []string, w *Writes) error
	// Durable: Do returns nil only when the writes, or what was read where nothing is written, are as
	// durable as Require demands.
	Durable bool
}

// Transactions run changes. Changes that come together share transactions and round trips. It is
// safe for concurrent use and needs no closing.
type Transactions struct {
	db     *DB
	strict bool
	group  *GroupCommit[*txPart]
}

// Transactions returns a new set of transactions. Strict ones are refused by a full Redis; others
// run there too, so that a backlog can drain.
func (db *DB) Transactions(strict bool) *Transactions {
	t := &Transactions{db: db, strict: strict}
	t.group = NewGroupCommit(func(p *txPart) string { return db.slotOf(p.Slot) }, txKeys, t.serve)
	return t
}

// txPart is one caller's change.
type txPart struct {
	Change
	tries   int
	refused error // what Decide said in the transaction that is being made
}

// txShare is a change whose caller waits; txLane is the changes that share transactions. Its full is
// how many keys a transaction has at most: fewer after conflicts.
type (
	txShare = Share[*txPart]
	txLane  = Lane[*txPart]
)

// Do runs a change, within a time in which others may join its transaction. It blocks until the
// writes are answered. When ctx ends first it returns the cause: the writes may happen all the same.
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

// txBatch is the changes of one transaction.
type txBatch struct {
	shares []*txShare
	keys   []string
	values map[string]string // as read
	writes *Writes
}

// serve runs the changes of a lane until nobody waits. The writes of a batch go together with the
// reads of the next, so that under load a transaction costs no more round trips than a pipeline.
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

// next returns the next batch, or how long to wait for more changes. A lane without changes ends,
// unless writes are open.
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

// back lets changes that must be decided again go before all others, in smaller transactions from then
// on. They hold up nobody whose keys do not change all the time: while they are written others are read.
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

// decide lets each change decide, and leaves those that wrote something, or that want to be sure of
// what they read.
func (b *txBatch) decide() {
	for _, s := range b.shares {
		s.Part.refused = nil
	}
	for !b.decideAll() {
	}
}

// decideAll is false when a change failed that had written something: the others must decide anew,
// without that. What a change decides after others wrote may rest on that, and counts only when it is
// written.
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

// valuesOf returns what a change reads: what is stored, or what those before it wrote.
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

// conn returns a connection to the master of a slot. Who has it must close it.
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

// OnOne calls f with a connection to the master of a key: all commands of f go to one process of
// Redis, or fail.
func (db *DB) OnOne(ctx context.Context, key string, f func(*redis.Conn) error) error {
	c, err := db.conn(ctx, tagOf(key))
	if err != nil {
		return err
	}
	defer c.Close()
	return f(c)
}

// AddIfUnchanged adds a command to a pipeline that also a full Redis runs, if a record is still so
// long. Its value is 1, or 0 when the record has changed.
func (db *DB) AddIfUnchanged(ctx context.Context, p redis.Pipeliner, record string, length int, command ...any) *redis.Cmd {
	return db.change.Add(ctx, p, []string{record}, append([]any{length, len(command)}, command...)...)
}

// moved learns the layout of a Cluster anew when an error says that it has changed.
func (db *DB) moved(err error) {
	if cluster := db.cluster(); cluster != nil && (elsewhere(err) || !answered(err)) {
		cluster.ReloadState(context.Background()) // it does not wait for that
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
