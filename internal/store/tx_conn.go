package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/go-redis/v9"
)

// txConn is the connection of a lane: WATCH belongs to one connection.
type txConn struct {
	t        *Transactions
	slot     string
	conn     *redis.Conn
	watching bool
	failures int // consecutive failures of its server
}

// close returns the connection to the pool.
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

// step writes what one batch decided and reads the keys of the next one, in one round trip. It ends the changes of the
// first batch, and returns those that must be decided again.
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
			c.watching = c.watching && w.exec == nil // EXEC ends it, with any result
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
		c.drop(ctx, err) // the connection no longer watches its keys
	} else {
		c.failures = 0
	}
	return again
}

// take gives a batch the values that were read for it, and returns those of its changes that must be tried again. The
// values can be used only while the connection watches the keys.
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
	if err == nil && len(values.Val()) != len(b.keys) {
		err = errNoAnswer
	}
	if err != nil {
		return tryAgain(b.shares, err)
	}
	b.values = make(map[string]string, len(b.keys))
	for i, v := range values.Val() {
		b.values[b.keys[i]], _ = v.(string)
	}
	return nil
}

// tryAgain returns those of the changes that may be tried again (nothing of them was written), and ends the others
// with the error.
func tryAgain(shares []*txShare, err error) (again []*txShare) {
	for _, s := range shares {
		if s.Part.tries++; s.Part.tries < txTries {
			again = append(again, s)
		} else {
			s.End(err)
		}
	}
	return again
}

// drop returns the connection to the pool after an error. It closes a connection to a server that is no longer a
// master: if its address now leads to another server, it would never be resolved again.
func (c *txConn) drop(ctx context.Context, err error) {
	c.t.db.moved(err)
	if c.conn != nil && hasPrefix(err, "READONLY") {
		c.conn.Do(ctx, "quit")
		c.conn.Do(ctx, "ping") // go-redis finds it closed, so the pool does not keep it
	}
	c.close()
}

// pipe runs commands on the lane's connection. It returns an error of the connection only.
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

// answered distinguishes an answer of Redis from a failure to get one.
func answered(err error) bool {
	if err == nil || errors.Is(err, redis.Nil) {
		return true
	}
	_, reply := errors.AsType[redis.Error](err)
	return reply && !wrongServer(err)
}

// elsewhere reports whether a server refused a command because another server must get it, or because it cannot serve
// now. In both cases it has not run the command.
func wrongServer(err error) bool {
	return hasPrefix(err, "MOVED", "ASK", "READONLY", "CLUSTERDOWN", "TRYAGAIN", "LOADING", "MASTERDOWN")
}

func hasPrefix(err error, any ...string) bool {
	return err != nil && slices.ContainsFunc(any, func(p string) bool { return strings.HasPrefix(err.Error(), p+" ") })
}

// txWrite has the answers to the writes of a batch.
type txWrite struct {
	queued        []*redis.Cmd // queued by Redis for EXEC
	exec          *redis.Cmd
	barrier, wait *redis.Cmd // nil: no replica must confirm
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
			if c[0] == hdelIf { // EVAL, because a transaction cannot load a script that is missing
				c = append([]any{"eval", hdelIfScript, 1}, c[1:]...)
			}
			w.queued = append(w.queued, do(c...))
		}
		w.exec = do("exec")
	}
	if t.db.replicas > 0 && slices.ContainsFunc(b.shares, func(s *txShare) bool { return s.Part.Durable }) {
		w.barrier = t.db.barrier.Add(ctx, p, []string{barrierKey(tagOf(b.shares[0].Part.Slot))})
		w.wait = do("wait", t.db.replicas, confirmWithin.Milliseconds())
	}
	return w
}

// scriptArgs returns the writes of a batch as one script, for a Redis that refuses transactions.
func (t *Transactions) scriptArgs(b *txBatch, commands [][]any) []any {
	keys, lengths := b.keys, make([]any, 0, len(b.keys))
	for _, k := range keys {
		lengths = append(lengths, len(b.values[k]))
	}
	if len(keys) == 0 { // a proxy finds the server by a key
		keys, lengths = []string{b.shares[0].Part.Slot}, append(lengths, "")
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

// finish reads the answers to a batch's writes, ends its changes, and returns those that must be decided again.
func (c *txConn) finish(ctx context.Context, b *txBatch, w txWrite) (again []*txShare) {
	err := w.err()
	if redis.IsOOMError(err) && !c.t.strict || noScript(err) {
		if err = c.script(ctx, b); err == nil && w.wait != nil {
			c.wait(ctx, w) // the first WAIT covered only what was before the script
		}
	}
	switch {
	case errors.Is(err, redis.Nil) || errors.Is(err, errChanged):
		c.t.db.metrics.conflicts.Inc()
		return b.shares
	case wrongServer(err):
		return tryAgain(b.shares, err)
	}
	unconfirmed := err == nil && w.wait != nil && !c.confirmed(ctx, w)
	for _, s := range b.shares {
		switch {
		case unconfirmed && s.Part.Durable:
			s.End(ErrUnconfirmed)
		case err != nil:
			s.End(err)
		default:
			s.End(s.Part.refused)
		}
	}
	return nil
}

// errChanged means that a record changed before the script ran.
var errChanged = errors.New("a record has changed")

// script writes by a script what a transaction could not write.
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

// confirmed reports whether enough replicas have the writes.
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

// err returns why the writes did not happen; redis.Nil if a record changed first.
func (w txWrite) err() error {
	if w.exec == nil {
		return nil
	}
	for _, q := range w.queued {
		if err := q.Err(); err != nil && !errors.Is(err, redis.Nil) {
			return err // it has the cause, and the error of exec has not
		}
	}
	if err := w.exec.Err(); err != nil {
		return err
	}
	switch v := w.exec.Val().(type) {
	case int64: // of the script
		if v == 0 {
			return errChanged
		}
		return nil
	case []any:
		for _, r := range v {
			if err, failed := r.(error); failed {
				return fmt.Errorf("in a transaction: %w", err)
			}
		}
		return nil
	}
	return errNoAnswer
}

// errNoAnswer means that a command has neither an error nor the answer that Redis gives to it.
var errNoAnswer = errors.New("a command has neither an error nor an answer of Redis")
