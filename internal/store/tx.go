package store

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

//go:embed lua/change.lua
var changeLua string

// Bounds of one transaction. Redis compares each key that is watched with all before it, so many
// are dear; and what is in one transaction is decided again together.
const (
	txKeys    = 25
	txChanges = 100
	txTries   = 5                     // of a change of which nothing was written because of a failure
	txPause   = 10 * time.Millisecond // before the second of them; then twice as long each time
)

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
	lanes  lanes[*txPart]
}

// Transactions returns a new set of transactions. Strict ones are refused by a full Redis; others
// run there too, so that a backlog can drain.
func (db *DB) Transactions(strict bool) *Transactions {
	t := &Transactions{db: db, strict: strict}
	t.lanes.full, t.lanes.serve = txKeys, t.serve
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
	txShare = share[*txPart]
	txLane  = lane[*txPart]
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
	for i, s := range t.lanes.join(within, func(p *txPart) string { return t.db.slotOf(p.Slot) }, parts...) {
		errs[i] = t.lanes.wait(ctx, s)
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
			time.Sleep(txPause << (min(c.failures, txTries) - 1))
		}
	}
}

// next returns the next batch, or how long to wait for more changes. A lane without changes ends,
// unless writes are open.
func (t *Transactions) next(l *txLane, open bool) (*txBatch, time.Duration) {
	b := &txBatch{}
	shares, wait := t.lanes.next(l, open, func(waiting []*txShare) (n int, full bool) {
		for _, s := range waiting {
			keys := b.keys
			for _, k := range s.part.Keys {
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
	t.lanes.mu.Lock()
	defer t.lanes.mu.Unlock()
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
		s.part.refused = nil
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
		if s.part.refused == nil {
			s.part.refused = s.part.Decide(b.valuesOf(s), b.writes)
			clean = s.part.refused == nil || b.writes.count == before
		}
		if !clean || before > 0 || b.writes.count > 0 || s.part.refused == nil && s.part.Durable {
			return false
		}
		s.end(s.part.refused)
		return true
	})
	return clean
}

// valuesOf returns what a change reads: what is stored, or what those before it wrote.
func (b *txBatch) valuesOf(s *txShare) []string {
	values := make([]string, len(s.part.Keys))
	for i, k := range s.part.Keys {
		values[i] = b.values[k]
		if v, set := b.writes.lookup(k); set {
			values[i] = string(v)
		}
	}
	return values
}

// txConn is the connection of a lane: WATCH belongs to one.
type txConn struct {
	t        *Transactions
	slot     string
	conn     *redis.Conn
	watching bool
	failures int // of its server, one after the other
}

// close gives the connection back.
func (c *txConn) close() {
	if c.conn == nil {
		c.watching = false
		return
	}
	if c.watching {
		c.conn.Do(context.Background(), "unwatch")
	}
	c.conn.Close()
	c.conn, c.watching = nil, false
}

// step writes what one batch decided and reads what the next will decide about, in one round trip.
// It ends the changes of the first, and returns those that must be decided again.
func (c *txConn) step(write, read *txBatch) (again []*txShare) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	var w txWrite
	var watch *redis.Cmd
	var values *redis.SliceCmd
	var clock *redis.TimeCmd
	sent := c.t.db.clocks.monotonic()
	err := c.pipe(ctx, func(p redis.Pipeliner) {
		if write != nil {
			w = c.t.addWrite(ctx, p, write)
			c.watching = c.watching && w.exec == nil // exec ends it, whatever it answers
		}
		if c.watching {
			p.Process(ctx, redis.NewCmd(ctx, "unwatch"))
			c.watching = false
		}
		if read != nil && len(read.keys) > 0 {
			if !c.t.db.scripted {
				watch = redis.NewCmd(ctx, words("watch", read.keys)...)
				p.Process(ctx, watch)
				c.watching = true
			}
			values = p.MGet(ctx, read.keys...)
		}
		if read != nil {
			clock = c.t.db.addTime(ctx, p, c.slot)
		}
	})
	c.t.db.noteTime(c.slot, sent, clock)
	if read != nil {
		again = c.take(read, err, watch, values)
	}
	if write != nil {
		again = append(c.finish(ctx, write, w), again...)
	}
	if err != nil {
		c.failures++
		c.drop(ctx, err) // what it watched is not watched any more
	} else {
		c.failures = 0
	}
	return again
}

// take gives a batch what was read for it, and returns those of its changes that must be tried again.
// What was read is of use only while the connection watches it.
func (c *txConn) take(b *txBatch, err error, watch *redis.Cmd, values *redis.SliceCmd) (again []*txShare) {
	if values == nil {
		b.values = map[string]string{}
		return nil
	}
	if err == nil && watch != nil {
		err = watch.Err()
	}
	if err == nil {
		err = values.Err()
	}
	if err != nil {
		return retry(b.shares, err)
	}
	b.values = make(map[string]string, len(b.keys))
	for i, v := range values.Val() {
		b.values[b.keys[i]], _ = v.(string)
	}
	return nil
}

// retry returns those of the changes that may try again, of which nothing was written, and ends the
// others with the error.
func retry(shares []*txShare, err error) (again []*txShare) {
	for _, s := range shares {
		if s.part.tries++; s.part.tries < txTries {
			again = append(again, s)
		} else {
			s.end(err)
		}
	}
	return again
}

// drop gives the connection back after an error. One to a server that is no master any more is
// closed: an address that leads to another server by now would else never be asked again.
func (c *txConn) drop(ctx context.Context, err error) {
	c.t.db.moved(err)
	if c.conn != nil && hasPrefix(err, "READONLY") {
		c.conn.Do(ctx, "quit")
		c.conn.Do(ctx, "ping") // finds it closed, so that the pool does not keep it
	}
	c.close()
}

// pipe runs commands on the lane's connection. Its error is that of the connection.
func (c *txConn) pipe(ctx context.Context, fill func(redis.Pipeliner)) error {
	if c.conn == nil {
		conn, err := c.t.db.conn(ctx, c.slot)
		if err != nil {
			p := c.t.db.Pipeline() // so that each command has an error
			fill(p)
			for _, cmd := range p.Cmds() {
				cmd.SetErr(err)
			}
			return err
		}
		c.conn = conn
	}
	p := c.conn.Pipeline()
	fill(p)
	cmds, err := p.Exec(ctx)
	for _, cmd := range cmds {
		if err := cmd.Err(); err != nil && !answered(err) {
			return err
		}
	}
	if answered(err) {
		return nil
	}
	return err
}

// answered tells an answer of Redis from a failure to get one.
func answered(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return true
	}
	_, reply := errors.AsType[redis.Error](err)
	return reply && !elsewhere(err)
}

// elsewhere tells whether a server refused a command because it is not the one to ask, or not now.
// Then it has not run it.
func elsewhere(err error) bool {
	return hasPrefix(err, "MOVED", "ASK", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN")
}

func hasPrefix(err error, any ...string) bool {
	return err != nil && slices.ContainsFunc(any, func(p string) bool { return strings.HasPrefix(err.Error(), p+" ") })
}

// txWrite is the answers to the writes of a batch.
type txWrite struct {
	queued        []*redis.Cmd // by Redis, for exec
	exec          *redis.Cmd
	barrier, wait *redis.Cmd // nil: nobody waits for replicas
}

// addWrite adds a batch's writes to a pipeline.
func (t *Transactions) addWrite(ctx context.Context, p redis.Pipeliner, b *txBatch) (w txWrite) {
	do := func(args ...any) *redis.Cmd {
		cmd := redis.NewCmd(ctx, args...)
		p.Process(ctx, cmd)
		return cmd
	}
	commands := b.writes.commands()
	switch {
	case len(commands) == 0:
	case t.db.scripted:
		w.exec = do(t.scriptArgs(b, commands)...)
	default:
		do("multi")
		for _, c := range commands {
			w.queued = append(w.queued, do(c...))
		}
		w.exec = do("exec")
	}
	if t.db.replicas > 0 && slices.ContainsFunc(b.shares, func(s *txShare) bool { return s.part.Durable }) {
		w.barrier = t.db.barrier.Add(ctx, p, []string{barrierKey(tagOf(b.shares[0].part.Slot))})
		w.wait = do("wait", t.db.replicas, confirmWithin.Milliseconds())
	}
	return w
}

// scriptArgs is a batch's writes as one script, for where a transaction is refused.
func (t *Transactions) scriptArgs(b *txBatch, commands [][]any) []any {
	keys, lengths := b.keys, make([]any, 0, len(b.keys))
	for _, k := range keys {
		lengths = append(lengths, len(b.values[k]))
	}
	if len(keys) == 0 { // a proxy finds the server by a key
		keys, lengths = []string{b.shares[0].part.Slot}, append(lengths, "")
	}
	change := t.db.change
	if t.strict {
		change = t.db.changeStrict
	}
	args := append(words("evalsha", []string{change.sha}), len(keys))
	for _, k := range keys {
		args = append(args, k)
	}
	args = append(args, lengths...)
	for _, c := range commands {
		args = append(append(args, len(c)), c...)
	}
	return args
}

// finish reads the answers to a batch's writes, ends its changes, and returns those that must be
// decided again.
func (c *txConn) finish(ctx context.Context, b *txBatch, w txWrite) (again []*txShare) {
	err := w.err()
	if redis.IsOOMError(err) && !c.t.strict || noScript(err) {
		if err = c.script(ctx, b); err == nil && w.wait != nil {
			c.wait(ctx, w) // it waited for what was before the script
		}
	}
	switch {
	case errors.Is(err, redis.Nil) || errors.Is(err, errChanged):
		c.t.db.metrics.conflicts.Inc()
		return b.shares
	case elsewhere(err):
		return retry(b.shares, err)
	}
	unconfirmed := err == nil && w.wait != nil && !c.confirmed(ctx, w)
	for _, s := range b.shares {
		switch {
		case unconfirmed && s.part.Durable:
			s.end(ErrUnconfirmed)
		case err != nil:
			s.end(err)
		default:
			s.end(s.part.refused)
		}
	}
	return nil
}

// errChanged means that a record changed before the script ran.
var errChanged = errors.New("a record has changed")

// script writes what a transaction could not.
func (c *txConn) script(ctx context.Context, b *txBatch) error {
	for tried := false; ; tried = true {
		var cmd *redis.Cmd
		err := c.pipe(ctx, func(p redis.Pipeliner) {
			cmd = redis.NewCmd(ctx, c.t.scriptArgs(b, b.writes.commands())...)
			p.Process(ctx, cmd)
		})
		switch {
		case noScript(cmd.Err()) && !tried:
			if err := c.t.db.Load(ctx); err != nil {
				return err
			}
		case err != nil:
			return err
		case cmd.Err() != nil:
			return cmd.Err()
		case cmd.Val() == int64(0):
			return errChanged
		default:
			return nil
		}
	}
}

// confirmed tells whether enough replicas have the writes.
func (c *txConn) confirmed(ctx context.Context, w txWrite) bool {
	if noScript(w.barrier.Err()) && c.t.db.Load(ctx) == nil {
		c.wait(ctx, w)
	}
	n, _ := w.wait.Val().(int64)
	ok := w.barrier.Err() == nil && w.wait.Err() == nil && n >= int64(c.t.db.replicas)
	if !ok {
		c.t.db.metrics.unconfirmed.Inc()
	}
	return ok
}

// wait waits for replicas once more.
func (c *txConn) wait(ctx context.Context, w txWrite) {
	c.pipe(ctx, func(p redis.Pipeliner) {
		p.Process(ctx, w.barrier)
		p.Process(ctx, w.wait)
	})
}

// err is why the writes did not happen; redis.Nil when a record changed before.
func (w txWrite) err() error {
	if w.exec == nil {
		return nil
	}
	for _, q := range w.queued {
		if err := q.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err // says why, and exec only that
		}
	}
	if err := w.exec.Err(); err != nil {
		return err
	}
	if w.exec.Val() == int64(0) { // of the script
		return errChanged
	}
	results, _ := w.exec.Val().([]any)
	for _, r := range results {
		if err, failed := r.(error); failed {
			return fmt.Errorf("in a transaction: %w", err)
		}
	}
	return nil
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
