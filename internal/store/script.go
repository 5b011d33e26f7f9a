package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/redis/go-redis/v9"
)

// allowOOM is the header of a script that a full Redis runs too.
const allowOOM = "#!lua flags=allow-oom\n"

// Script is a Lua script that is registered with a DB.
type Script struct {
	sha  string
	text string // of an unlisted one
}

// Script registers a script. Scripts must be safe to run twice: they are repeated if an answer is lost.
func (db *DB) Script(text string) Script { return db.register(db.header + text) }

// Unlisted returns a script that only those servers know on which Script.LoadOn has loaded it. Script.Add can run it.
func (db *DB) Unlisted(text string) Script {
	text = db.header + text
	return Script{SHA(text), text}
}

// LoadOn loads a script of Unlisted on the server of a connection. The server knows it until its process ends.
func (s Script) LoadOn(ctx context.Context, c *redis.Conn) error {
	return c.ScriptLoad(ctx, s.text).Err()
}

func (db *DB) register(text string) Script {
	sha := SHA(text)
	db.mu.Lock()
	defer db.mu.Unlock()
	db.scripts[sha] = text
	return Script{sha: sha}
}

// SHA returns the name under which the server knows the script.
func (s Script) SHA() string { return s.sha }

// Add adds a run of s to a pipeline; the result is available when the pipeline has run.
func (s Script) Add(ctx context.Context, p redis.Pipeliner, keys []string, args ...any) *redis.Cmd {
	return p.EvalSha(ctx, s.sha, keys, args...)
}

// Run runs s alone, in one round trip. A nil reply is redis.Nil.
func (db *DB) Run(ctx context.Context, s Script, keys []string, args ...any) *redis.Cmd {
	cmd := db.EvalSha(ctx, s.sha, keys, args...)
	if noScript(cmd.Err()) {
		err := db.Load(ctx)
		if cmd = db.EvalSha(ctx, s.sha, keys, args...); noScript(cmd.Err()) && err != nil {
			cmd.SetErr(err)
		}
	}
	return cmd
}

// Load loads every registered script on every master. A master that does not answer does not stop the others.
func (db *DB) Load(ctx context.Context) error {
	db.mu.Lock()
	texts := make([]string, 0, len(db.scripts))
	for _, t := range db.scripts {
		texts = append(texts, t)
	}
	db.mu.Unlock()
	return db.eachMaster(ctx, func(ctx context.Context, c redis.UniversalClient, _ string) error {
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
	})
}

// lacked reports whether a command failed because the server does not know a registered script.
func (db *DB) unknownScript(c redis.Cmder) bool {
	if !noScript(c.Err()) || len(c.Args()) < 2 {
		return false
	}
	sha, _ := c.Args()[1].(string)
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.scripts[sha] != ""
}

// IsUnknownScript reports whether an error says that the server does not know a script.
func IsUnknownScript(err error) bool { return noScript(err) }

// SHA returns the name under which a server knows a script.
func SHA(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func noScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }
