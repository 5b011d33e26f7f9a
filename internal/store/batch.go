package store

import (
	"context"
	"errors"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	batchMost    = 500              // callers in one run
	batchTimeout = 30 * time.Second // of one run, and of one round trip of a transaction
	sharedLinger = 3 * time.Millisecond
)

// Batch lets the commands of many callers share round trips: while one run waits for Redis, the commands of the next
// run are collected. In a Cluster, commands with the same hash tag share, so masters do not wait for each other. It is
// safe for concurrent use and needs no closing.
type Batch struct {
	db     *DB
	linger time.Duration
	group  *GroupCommit[*commands]
}

// commands are the commands that one caller of a batch runs.
type commands struct {
	fill func(redis.Pipeliner)
	each *part // instead of fill, see Each
	cmds []redis.Cmder
}

// part is one caller's part of a script run for several callers.
type part struct {
	script Script
	key    string
	arg    any
	cmd    *redis.Cmd
	place  int // in the reply, from 0
}

// newBatch returns a batch that waits linger for other callers before each run. With zero, a single caller loses no
// time.
func (db *DB) newBatch(linger time.Duration) *Batch {
	b := &Batch{db: db, linger: linger}
	b.group = NewGroupCommit(b.tag, batchMost, b.serve)
	return b
}

// Shared returns the batch that all packages of a program share. Its runs wait 3 ms for other callers.
func (db *DB) Shared() *Batch { return db.shared }

// Do runs the commands that fill adds, as durably as Durably, and returns the first error of any of them; redis.Nil
// does not count. With ErrUnconfirmed the commands ran. Fill may be called several times and must not fail. If ctx ends
// first, Do returns its cause: the commands may still run, and must not be read.
func (b *Batch) Do(ctx context.Context, fill func(redis.Pipeliner)) error {
	return b.group.Do(ctx, b.linger, &commands{fill: fill})
}

// Each runs a script that takes any number of keys with an argument for each, and replies with a number for each:
// once for all concurrent callers. Otherwise it works like Do; with ErrUnconfirmed it returns the number too.
func (b *Batch) Each(ctx context.Context, s Script, key string, arg any) (int64, error) {
	p := &part{script: s, key: key, arg: arg}
	err := b.group.Do(ctx, b.linger, &commands{each: p})
	if err != nil && !errors.Is(err, ErrUnconfirmed) {
		return 0, err
	}
	n, ok := p.reply()
	if !ok {
		return 0, errors.New("a script did not reply with a number for each key")
	}
	return n, err
}

func (p *part) reply() (int64, bool) {
	all, _ := p.cmd.Val().([]any)
	if p.place >= len(all) {
		return 0, false
	}
	n, ok := all[p.place].(int64)
	return n, ok
}

// addEach adds the scripts of callers as one, if they run the same script with keys of the same hash tag.
func addEach(ctx context.Context, p redis.Pipeliner, shares []*Share[*commands]) {
	type name struct{ sha, tag string }
	together := map[name][]*Share[*commands]{}
	var names []name
	for _, s := range shares {
		if e := s.Part.each; e != nil {
			n := name{e.script.SHA(), tagOf(e.key)}
			if together[n] == nil {
				names = append(names, n)
			}
			together[n] = append(together[n], s)
		}
	}
	for _, n := range names {
		keys, args := make([]string, len(together[n])), make([]any, len(together[n]))
		for i, s := range together[n] {
			keys[i], args[i], s.Part.each.place = s.Part.each.key, s.Part.each.arg, i
		}
		cmd := together[n][0].Part.each.script.Add(ctx, p, keys, args...)
		for _, s := range together[n] {
			s.Part.each.cmd, s.Part.cmds = cmd, []redis.Cmder{cmd}
		}
	}
}

// tag returns the lane of a caller's commands: one for all, except in a Cluster.
func (b *Batch) tag(c *commands) string {
	if b.db.cluster() == nil {
		return ""
	}
	if c.each != nil {
		return tagOf(c.each.key)
	}
	p := b.db.Pipeline()
	c.fill(p)
	if p.Len() == 0 {
		return ""
	}
	return tagOf(keyOf(p.Cmds()[0]))
}

// Run runs one script as Do does. With ErrUnconfirmed it returns the value too.
func (b *Batch) Run(ctx context.Context, s Script, keys []string, args ...any) *redis.Cmd {
	var cmd *redis.Cmd
	if err := b.Do(ctx, func(p redis.Pipeliner) { cmd = s.Add(ctx, p, keys, args...) }); err != nil {
		failed := redis.NewCmd(ctx)
		failed.SetErr(err)
		if errors.Is(err, ErrUnconfirmed) {
			failed.SetVal(cmd.Val())
		}
		return failed
	}
	return cmd
}

// serve runs the commands of a lane until no caller waits.
func (b *Batch) serve(l *Lane[*commands]) {
	for {
		shares := l.Next(func(waiting []*Share[*commands]) (n int, full bool) {
			return min(len(waiting), batchMost), len(waiting) >= batchMost
		})
		if len(shares) == 0 {
			return
		}
		b.run(shares)
	}
}

func (b *Batch) run(shares []*Share[*commands]) {
	ctx, cancel := context.WithTimeout(context.Background(), batchTimeout)
	defer cancel()
	// Each command has its own error.
	confirmed, _ := b.db.durably(ctx, func(p redis.Pipeliner) {
		addEach(ctx, p, shares)
		for _, s := range shares {
			if s.Part.fill != nil {
				before := p.Len()
				s.Part.fill(p)
				s.Part.cmds = p.Cmds()[before:]
			}
		}
	})
	for _, s := range shares {
		err := firstError(s.Part.cmds)
		if err == nil && !confirmed {
			err = ErrUnconfirmed
		}
		s.End(err)
	}
}
