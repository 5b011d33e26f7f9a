// Package store opens Redis (one server, Sentinel or Cluster) and runs Lua scripts and transactions on it: scripts are
// loaded on every master, loaded again after a restart or a failover, and writes are confirmed as durably as demanded.
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

// DB is a Redis with its registered scripts. It is safe for concurrent use.
type DB struct {
	redis.UniversalClient

	header       string // before every script; empty if the server does not know script flags
	barrier      Script
	change       Script
	changeStrict Script // change, for writes that a full Redis must refuse
	scripted     bool   // transactions are scripts, see Open
	replicas     int    // how many replicas must confirm a durable write, see Require
	shared       *Batch

	required     Durability // set by Require
	riskFailover bool       // fsync is enough although a failover may lose writes, see AllowLossAtFailover

	metrics metrics
	watch   watch
	clocks  clocks

	mu      sync.Mutex
	scripts map[string]string // SHA-1 -> text, all that were ever used
}

// New wraps a client and takes over its ownership. It tests whether the server knows script flags (Redis 7.0 or newer):
// with them our scripts run on a full Redis too, so a backlog can always drain.
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
	case !strings.Contains(err.Error(), "rror compiling script"): // not about flags: loading, no password, no answer
		c.Close()
		return nil, err
	}
	db.barrier, db.change, db.changeStrict = db.Script(barrierLua), db.Script(changeLua), db.register(strict+changeLua)
	if err := db.tryTransaction(ctx); err != nil {
		c.Close()
		return nil, err
	}
	return db, nil
}

// Scripted reports whether transactions are scripts: then a connection may lead to several servers, and to another one
// at any time.
func (db *DB) Scripted() bool { return db.scripted }

// oneServer reports whether all keys are on one server.
func (db *DB) oneServer() bool { return db.cluster() == nil && !db.scripted }

// tryTransaction tests at the start whether Redis allows the commands that transactions need.
func (db *DB) tryTransaction(ctx context.Context) error {
	if db.scripted {
		return nil
	}
	return db.OnOne(ctx, barrierKey(""), func(c *redis.Conn) error {
		for _, words := range [][]any{{"watch", barrierKey("")}, {"multi"}, {"exec"}} {
			err := c.Do(ctx, words...).Err()
			if _, refused := errors.AsType[redis.Error](err); refused && !errors.Is(err, redis.Nil) && !wrongServer(err) {
				return fmt.Errorf("it refuses %s: %w. Permit WATCH, UNWATCH, MULTI and EXEC, or add transactions=script to the query of redis.url", words[0], err)
			} else if err != nil && !refused {
				return err
			}
		}
		return nil
	})
}

// Cluster reports whether the keys are on several servers.
func (db *DB) Cluster() bool { return db.cluster() != nil }

// cluster returns the client of a Redis Cluster; nil without a Cluster.
func (db *DB) cluster() *redis.ClusterClient {
	c, _ := db.UniversalClient.(*redis.ClusterClient)
	return c
}

// eachMaster calls f with every master, in a Cluster concurrently, and returns the first error.
func (db *DB) eachMaster(ctx context.Context, f func(ctx context.Context, c redis.UniversalClient, addr string) error) error {
	if cluster := db.cluster(); cluster != nil {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return f(ctx, c, c.Options().Addr) })
	}
	return f(ctx, db.UniversalClient, db.addr())
}

// failsOver reports whether another server may replace a master: with Sentinel, or in a Cluster.
func (db *DB) failsOver() bool { return db.cluster() != nil || db.addr() == changing }

// changing is the address of a master that Sentinels choose.
const changing = "master"

// addr returns the address of the one master, without a Cluster.
func (db *DB) addr() string {
	if c, ok := db.UniversalClient.(*redis.Client); ok && c.Options().Addr != "FailoverClient" { // the name that go-redis uses for a changing master
		return c.Options().Addr
	}
	return changing
}

// Tx runs the commands that fill adds as one transaction. All keys must be in one Cluster slot. Nothing runs if fill
// fails. If the server does not know a script, Tx loads all scripts and runs everything again: fill is called twice then.
// It returns the first error of any command; redis.Nil does not count. A full Redis refuses the whole transaction.
func (db *DB) Tx(ctx context.Context, fill func(redis.Pipeliner) error) error {
	return db.exec(ctx, func() ([]redis.Cmder, error) {
		p := db.TxPipeline()
		if err := fill(p); err != nil {
			return nil, err
		}
		return p.Exec(ctx)
	})
}

// Pipe is Tx without the transaction: the keys may be in any slot.
func (db *DB) Pipe(ctx context.Context, fill func(redis.Pipeliner)) error {
	return db.exec(ctx, func() ([]redis.Cmder, error) {
		p := db.Pipeline()
		fill(p)
		return p.Exec(ctx)
	})
}

// exec runs a pipeline, and repeats it once if a master does not know a script.
func (db *DB) exec(ctx context.Context, run func() ([]redis.Cmder, error)) error {
	cmds, err := run()
	if slices.ContainsFunc(cmds, db.unknownScript) {
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

// firstError returns the first error of any command; redis.Nil does not count. The cause of an aborted transaction
// comes before the EXECABORT.
func firstError(cmds []redis.Cmder) error {
	var first error
	for _, c := range cmds {
		if err := c.Err(); err != nil && !errors.Is(err, redis.Nil) && (first == nil || redis.HasErrorPrefix(first, "EXECABORT")) {
			first = err
		}
	}
	return first
}

// Now returns the time of the master that has key: other masters have other clocks.
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
