// Package store opens Redis, and runs Lua scripts on it the way all rooms need it: loaded
// before use on every master, and loaded again after a restart or a failover.
package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// DB is a Redis (one server, or a Sentinel or Cluster set-up) with the scripts known to it.
// It is safe for concurrent use.
type DB struct {
	redis.UniversalClient

	header string // in front of every script; empty where the server knows no script flags
	shared *Batch

	mu      sync.Mutex
	scripts map[string]string // SHA-1 -> text, all that were ever used
}

// Open connects to the Redis at a URL: redis:// or rediss:// for one server. It fails when no
// server answers within ctx.
func Open(ctx context.Context, address string) (*DB, error) {
	o, err := redis.ParseURL(address)
	if err != nil {
		if _, isURL := errors.AsType[*url.Error](err); isURL {
			err = errors.New("it is no URL; percent-encode what is special in its password") // url.Error quotes the password
		}
		return nil, fmt.Errorf("redis url: %w", err)
	}
	// Servers older than 7.2 answer these two with an error, which spoils their own counters.
	o.DisableIdentity = true
	o.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	if o.PoolSize == 0 {
		o.PoolSize = 64
	}
	o.DialTimeout = 3 * time.Second
	db, err := New(ctx, redis.NewClient(o))
	if err != nil {
		return nil, fmt.Errorf("redis at %s: %w", o.Addr, err)
	}
	return db, nil
}

// New wraps a client that the caller made and gives its ownership to the DB. It asks the
// server whether it knows script flags (Redis 7.0 or newer): with them our scripts run on a
// full Redis, so that a backlog can always drain.
func New(ctx context.Context, c redis.UniversalClient) (*DB, error) {
	db := &DB{UniversalClient: c, scripts: map[string]string{}}
	db.shared = db.NewBatch(sharedLinger, false)
	const header = "#!lua flags=allow-oom\n"
	err := c.ScriptLoad(ctx, header+"return 1").Err()
	switch {
	case err == nil:
		db.header = header
	case !redis.HasErrorPrefix(err, "Error compiling script"): // says nothing of flags: loading, no password, no answer
		c.Close()
		return nil, err
	}
	return db, nil
}

// Script is a Lua script, known to a DB by Script.
type Script struct {
	sha string
}

// Script makes text known to the database. Scripts must be safe to run twice: they are
// repeated when an answer was lost.
func (db *DB) Script(text string) Script { return db.know(db.header + text) }

// Foreign makes a script known that is not ours and must stay as it is.
func (db *DB) Foreign(text string) Script { return db.know(text) }

func (db *DB) know(text string) Script {
	sum := sha1.Sum([]byte(text))
	sha := hex.EncodeToString(sum[:])
	db.mu.Lock()
	defer db.mu.Unlock()
	db.scripts[sha] = text
	return Script{sha: sha}
}

// SHA returns the name under which the server knows the script.
func (s Script) SHA() string { return s.sha }

// Add puts a run of s into a pipeline; its value is there once the pipeline ran by Exec.
func (s Script) Add(ctx context.Context, p redis.Pipeliner, keys []string, args ...any) *redis.Cmd {
	return p.EvalSha(ctx, s.sha, keys, args...)
}

// Run runs s alone, in one round trip. A nil reply is redis.Nil.
func (db *DB) Run(ctx context.Context, s Script, keys []string, args ...any) *redis.Cmd {
	cmd := db.EvalSha(ctx, s.sha, keys, args...)
	if noScript(cmd.Err()) {
		if err := db.Load(ctx); err != nil {
			cmd.SetErr(err)
			return cmd
		}
		cmd = db.EvalSha(ctx, s.sha, keys, args...)
	}
	return cmd
}

// Tx runs the commands that fill adds as one transaction; all keys must lie in one Cluster
// slot. Nothing runs when fill fails. When the server turns out not to know a script, all
// are loaded and the whole is run again: fill is called twice then. It returns the first
// error of any command; redis.Nil is none.
func (db *DB) Tx(ctx context.Context, fill func(redis.Pipeliner) error) error {
	return db.exec(ctx, db.TxPipeline, fill)
}

// Pipe is Tx without the transaction: the keys may lie anywhere.
func (db *DB) Pipe(ctx context.Context, fill func(redis.Pipeliner)) error {
	return db.exec(ctx, db.Pipeline, func(p redis.Pipeliner) error { fill(p); return nil })
}

func (db *DB) exec(ctx context.Context, pipeline func() redis.Pipeliner, fill func(redis.Pipeliner) error) error {
	for again := true; ; again = false {
		p := pipeline()
		if err := fill(p); err != nil {
			return err
		}
		cmds, err := p.Exec(ctx)
		if first := firstError(cmds); first != nil || errors.Is(err, redis.Nil) {
			err = first
		}
		missing := slices.ContainsFunc(cmds, func(c redis.Cmder) bool { return noScript(c.Err()) })
		if !missing || !again {
			return err
		}
		if err := db.Load(ctx); err != nil {
			return err
		}
	}
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

// Load loads every known script on every master.
func (db *DB) Load(ctx context.Context) error {
	db.mu.Lock()
	texts := make([]string, 0, len(db.scripts))
	for _, t := range db.scripts {
		texts = append(texts, t)
	}
	db.mu.Unlock()
	load := func(ctx context.Context, c redis.Cmdable) error {
		_, err := c.Pipelined(ctx, func(p redis.Pipeliner) error {
			for _, t := range texts {
				p.ScriptLoad(ctx, t)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("load scripts: %w", err)
		}
		return nil
	}
	if cluster, ok := db.UniversalClient.(*redis.ClusterClient); ok {
		return cluster.ForEachMaster(ctx, func(ctx context.Context, c *redis.Client) error { return load(ctx, c) })
	}
	return load(ctx, db.UniversalClient)
}

// Now returns the server's clock.
func (db *DB) Now(ctx context.Context) (time.Time, error) { return db.Time(ctx).Result() }

func noScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }
