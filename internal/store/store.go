// Package store opens Redis (one server, Sentinel or Cluster), and runs Lua scripts on it the
// way all rooms need it: loaded on every master, loaded again after a restart or a failover,
// and confirmed as durably as was asked for.
package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// DB is a Redis with the scripts known to it. It is safe for concurrent use.
type DB struct {
	redis.UniversalClient

	header       string // in front of every script; empty where the server knows no script flags
	barrier      Script
	change       Script
	changeStrict Script // change, where a full Redis is to refuse it
	scripted     bool   // transactions are scripts, see Open
	replicas     int    // how many must confirm a durable write, see Require
	shared       *Batch

	required     Durability // by Require
	riskFailover bool       // fsync is enough where a failover may lose writes, see AllowLossAtFailover

	metrics metrics
	watch   watch
	clocks  clocks

	mu      sync.Mutex
	scripts map[string]string // SHA-1 -> text, all that were ever used
}

// New wraps a client that the caller made and gives its ownership to the DB. It asks the
// server whether it knows script flags (Redis 7.0 or newer): with them our scripts run on a
// full Redis, so that a backlog can always drain.
func New(ctx context.Context, c redis.UniversalClient) (*DB, error) { return newDB(ctx, c, false) }

func newDB(ctx context.Context, c redis.UniversalClient, scripted bool) (*DB, error) {
	db := &DB{UniversalClient: c, scripted: scripted, scripts: map[string]string{}, metrics: newMetrics()}
	db.shared = db.newBatch(sharedLinger)
	db.metrics.watch(c)
	err := c.Eval(ctx, "#!lua flags=allow-oom,no-writes\nreturn 1", []string{barrierKey("")}).Err()
	strict := ""
	switch {
	case err == nil:
		db.header, strict = allowOOM, "#!lua\n"
	case !strings.Contains(err.Error(), "rror compiling script"): // says nothing of flags: loading, no password, no answer
		c.Close()
		return nil, err
	}
	db.barrier, db.change, db.changeStrict = db.Script(barrierLua), db.Script(changeLua), db.know(strict+changeLua)
	if err := db.tryTransaction(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return db, nil
}

// Scripted tells whether transactions are scripts: then a connection may lead to several servers, and
// to another one at any time.
func (db *DB) Scripted() bool { return db.scripted }

// oneServer tells whether all keys lie on one server.
func (db *DB) oneServer() bool { return db.cluster() == nil && !db.scripted }

// tryTransaction finds out at the start whether Redis has what transactions need.
func (db *DB) tryTransaction(ctx context.Context) error {
	if db.scripted {
		return nil
	}
	return db.OnOne(ctx, barrierKey(""), func(c *redis.Conn) error {
		for _, words := range [][]any{{"watch", barrierKey("")}, {"multi"}, {"exec"}} {
			err := c.Do(ctx, words...).Err()
			if _, refused := errors.AsType[redis.Error](err); refused && !errors.Is(err, redis.Nil) && !elsewhere(err) {
				return fmt.Errorf("it refuses %s: %w. Permit WATCH, UNWATCH, MULTI and EXEC, or add transactions=script to the query of redis.url", words[0], err)
			} else if err != nil && !refused {
				return err
			}
		}
		return nil
	})
}

// Cluster tells whether the keys lie on several servers.
func (db *DB) Cluster() bool { return db.cluster() != nil }

// cluster returns the client of a Redis Cluster; nil when it is none.
func (db *DB) cluster() *redis.ClusterClient {
	c, _ := db.UniversalClient.(*redis.ClusterClient)
	return c
}

// eachMaster calls f with every master, at once in a Cluster, and returns the first error.
func (db *DB) eachMaster(ctx context.Context, f func(ctx context.Context, c redis.UniversalClient, addr string) error) error {
	if cluster := db.cluster(); cluster != nil {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return f(ctx, c, c.Options().Addr) })
	}
	return f(ctx, db.UniversalClient, db.addr())
}

// failsOver tells whether another server may take the place of a master: Sentinel, or a Cluster.
func (db *DB) failsOver() bool { return db.cluster() != nil || db.addr() == changing }

// changing is the address of a master that Sentinels choose.
const changing = "master"

// addr names the one master where there is no Cluster.
func (db *DB) addr() string {
	if c, ok := db.UniversalClient.(*redis.Client); ok && c.Options().Addr != "FailoverClient" { // so go-redis calls what changes
		return c.Options().Addr
	}
	return changing
}

// Tx runs the commands that fill adds as one transaction; all keys must lie in one Cluster
// slot. Nothing runs when fill fails. When the server turns out not to know a script, all
// are loaded and the whole is run again: fill is called twice then. It returns the first
// error of any command; redis.Nil is none. A full Redis refuses it whole.
func (db *DB) Tx(ctx context.Context, fill func(redis.Pipeliner) error) error {
	return db.exec(ctx, func() ([]redis.Cmder, error) {
		p := db.TxPipeline()
		if err := fill(p); err != nil {
			return nil, err
		}
		return p.Exec(ctx)
	})
}

// Pipe is Tx without the transaction: the keys may lie anywhere.
func (db *DB) Pipe(ctx context.Context, fill func(redis.Pipeliner)) error {
	return db.exec(ctx, func() ([]redis.Cmder, error) {
		p := db.Pipeline()
		fill(p)
		return p.Exec(ctx)
	})
}

// exec runs a pipeline, and once more when a master did not know a script.
func (db *DB) exec(ctx context.Context, run func() ([]redis.Cmder, error)) error {
	cmds, err := run()
	if slices.ContainsFunc(cmds, db.lacked) {
		loaded := db.Load(ctx)
		if cmds, err = run(); loaded != nil && err != nil {
			return loaded
		}
	}
	if first := firstError(cmds); first != nil || errors.Is(err, redis.Nil) {
		err = first
	}
	return err
}

// firstError returns the first error of any command; redis.Nil is none. What made Redis
// abort a transaction comes before the abortion itself.
func firstError(cmds []redis.Cmder) error {
	var first error
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) && (first == nil || redis.HasErrorPrefix(first, "EXECABORT")) {
			first = err
		}
	}
	return first
}

// Now returns the clock of the master that holds key: the others have clocks of their own.
func (db *DB) Now(ctx context.Context, key string) (time.Time, error) {
	t, err := db.Eval(ctx, "return redis.call('TIME')", []string{key}).Slice()
	if err != nil {
		return time.Time{}, err
	}
	var s, us int64
	if _, err := fmt.Sscan(fmt.Sprint(t[0], " ", t[1]), &s, &us); err != nil {
		return time.Time{}, fmt.Errorf("read the server's clock: %w", err)
	}
	return time.Unix(s, us*1000), nil
}
