package store

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// ErrUnconfirmed means that the master has made a write, and that too few replicas have confirmed it in time: a
// failover may lose it or keep it. It is not a failure: the caller must not rely on the write, and may repeat it.
var ErrUnconfirmed = errors.New("not confirmed by enough replicas in time")

// confirmWithin is how long a durable write waits for its replicas: less than the shortest limit of the callers,
// and less than the client's limit for an answer.
const confirmWithin = time.Second

// barrierLua is a write. WAIT waits for the last write of its connection, and repeating a write that is already
// made would not count as one.
const barrierLua = "redis.call('INCR', KEYS[1]) return 1"

// barrierKey has the same hash tag as the written keys.
func barrierKey(tag string) string {
	if tag == "" {
		return "sluice:barrier"
	}
	return "sluice:{" + tag + "}:barrier"
}

// Durably is Pipe for writes that must be durable before a caller gets an answer: it returns nil only when they are
// as durable as Require demands.
func (db *DB) Durably(ctx context.Context, fill func(redis.Pipeliner)) error {
	confirmed, err := db.durably(ctx, fill)
	if err == nil && !confirmed {
		err = ErrUnconfirmed
	}
	return err
}

// durably returns whether the commands are confirmed, apart from whether they ran.
func (db *DB) durably(ctx context.Context, fill func(redis.Pipeliner)) (confirmed bool, err error) {
	if db.replicas == 0 {
		return true, db.Pipe(ctx, fill) // the server answers after its own fsync
	}
	err = db.exec(ctx, func() ([]redis.Cmder, error) {
		p := db.Pipeline()
		fill(p)
		cmds := p.Cmds()
		shares := db.byMaster(ctx, cmds)
		var wg sync.WaitGroup
		for _, s := range shares {
			cmds = append(cmds, s.barrier, s.wait)
			wg.Go(func() { s.run(ctx) })
		}
		wg.Wait()
		db.moved(firstError(cmds))
		confirmed = !slices.ContainsFunc(shares, func(s *masterShare) bool { return !s.confirmed(db.replicas) })
		return cmds, nil
	})
	if !confirmed {
		db.metrics.unconfirmed.Inc()
	}
	return confirmed, err
}

// masterShare is the part of a pipeline for one master, on one connection: commands, a write of our own, and the
// wait for all of them.
type masterShare struct {
	master  redis.UniversalClient
	cmds    []redis.Cmder
	barrier *redis.Cmd
	wait    *redis.IntCmd
}

// byMaster divides commands by the masters that have their keys.
func (db *DB) byMaster(ctx context.Context, cmds []redis.Cmder) []*masterShare {
	share := func(master redis.UniversalClient, tag string) *masterShare {
		p := db.Pipeline()
		return &masterShare{
			master: master, barrier: db.barrier.Add(ctx, p, []string{barrierKey(tag)}),
			wait: redis.NewIntCmd(ctx, "wait", db.replicas, confirmWithin.Milliseconds()),
		}
	}
	cluster := db.cluster()
	if cluster == nil {
		s := share(db.UniversalClient, "")
		s.cmds = cmds
		return []*masterShare{s}
	}
	var shares []*masterShare
	for _, cmd := range cmds {
		tag := tagOf(keyOf(cmd))
		master, err := cluster.MasterForKey(ctx, tag)
		if err != nil {
			cmd.SetErr(err)
			continue
		}
		i := slices.IndexFunc(shares, func(s *masterShare) bool { return s.master == master })
		if i < 0 {
			i, shares = len(shares), append(shares, share(master, tag))
		}
		shares[i].cmds = append(shares[i].cmds, cmd)
	}
	return shares
}

// run runs the share. Each command has its own error.
func (s *masterShare) run(ctx context.Context) {
	p := s.master.Pipeline()
	p.BatchProcess(ctx, append(s.cmds[:len(s.cmds):len(s.cmds)], s.barrier, s.wait)...)
	p.Exec(ctx)
}

// confirmed reports whether that many replicas have the share's writes.
func (s *masterShare) confirmed(replicas int) bool {
	return s.barrier.Err() == nil && s.wait.Err() == nil && s.wait.Val() >= int64(replicas)
}

// keyOf returns the first key of a command: of a script with keys, or of a plain command.
func keyOf(cmd redis.Cmder) string {
	args := cmd.Args()
	i := 1
	if cmd.Name() == "evalsha" || cmd.Name() == "eval" {
		i = 3
	}
	if i < len(args) {
		key, _ := args[i].(string)
		return key
	}
	return ""
}

// tagOf returns a key's hash tag: keys with the same tag are on the same master.
func tagOf(key string) string {
	_, rest, found := strings.Cut(key, "{")
	tag, _, closed := strings.Cut(rest, "}")
	if found && closed && tag != "" {
		return tag
	}
	return key
}
