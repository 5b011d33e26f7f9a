package store

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/redis/go-redis/v9"
)

// allowOOM is the header of a script that a full Redis runs too.
const allowOOM = "#!lua flags=allow-oom\n"

// Script is a Lua script, known to a DB by Script.
type Script struct {
	sha  string
	text string // of an unlisted one
}

// Script makes text known to the database. Scripts must be safe to run twice: they are
// repeated when an answer was lost.
func (db *DB) Script(text string) Script { return db.know(db.header + text) }

// Foreign makes a script known that is not ours and must stay as it is.
func (db *DB) Foreign(text string) Script { return db.know(text) }

// Unlisted returns a script that only those servers know on which Script.LoadOn loads it. It may be
// run by Script.Add.
func (db *DB) Unlisted(text string) Script {
	text = db.header + text
	return Script{SHA(text), text}
}

// LoadOn makes the server of a connection know a script of Unlisted, until its process ends.
func (s Script) LoadOn(ctx context.Context, c *redis.Conn) error {
	return c.ScriptLoad(ctx, s.text).Err()
}

func (db *DB) know(text string) Script {
	sha := SHA(text)
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
		err := db.Load(ctx)
		if cmd = db.EvalSha(ctx, s.sha, keys, args...); noScript(cmd.Err()) && err != nil {
			cmd.SetErr(err)
		}
	}
	return cmd
}

// Load loads every known script on every master. A master that is away does not keep it from
// the others.
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

// lacked tells whether a command failed because the server does not know a script that it should.
func (db *DB) lacked(c redis.Cmder) bool {
	if !noScript(c.Err()) || len(c.Args()) < 2 {
		return false
	}
	sha, _ := c.Args()[1].(string)
	db.mu.Lock()
	defer db.mu.Unlock()
	return db.scripts[sha] != ""
}

// IsUnknownScript tells whether an error is the server's word that it does not know a script.
func IsUnknownScript(err error) bool { return noScript(err) }

// SHA is the name under which a server knows a script.
func SHA(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

func noScript(err error) bool { return err != nil && strings.HasPrefix(err.Error(), "NOSCRIPT") }

// Part is a script with what one run of it is given.
type Part struct {
	Script Script
	Keys   []string
	Args   []any
}

// Add puts the run into a pipeline.
func (p Part) Add(ctx context.Context, pipe redis.Pipeliner) *redis.Cmd {
	return p.Script.Add(ctx, pipe, p.Keys, p.Args...)
}

// Join makes one script of several, which runs them in turn and replies what the last one
// does; an error in one keeps the later ones from running. So they happen together, as in a
// transaction, which a full Redis would refuse. Refused says that a full Redis is to refuse
// this too.
func (db *DB) Join(refused bool, parts ...Part) Part {
	name := strconv.FormatBool(refused)
	var joined Part
	for _, p := range parts {
		name += " " + p.Script.sha + " " + strconv.Itoa(len(p.Keys)) + " " + strconv.Itoa(len(p.Args))
		joined.Keys = append(joined.Keys, p.Keys...)
		joined.Args = append(joined.Args, p.Args...)
	}
	joined.Script = db.joined(name, refused, parts)
	return joined
}

// joined returns the script of a join, made once for each number of keys and arguments.
func (db *DB) joined(name string, refused bool, parts []Part) Script {
	if s, known := db.joins.Load(name); known {
		return s.(Script)
	}
	var b strings.Builder
	b.WriteString(db.header)
	if refused {
		b.Reset()
		b.WriteString(db.strict)
	}
	b.WriteString("local K, A = KEYS, ARGV\n")
	keys, args := 0, 0
	for i, p := range parts {
		fmt.Fprintf(&b, "local function part(KEYS, ARGV)\n%s\nend\n", db.text(p.Script))
		if i == len(parts)-1 {
			b.WriteString("return ")
		}
		fmt.Fprintf(&b, "part(%s, %s)\n", elements("K", keys, len(p.Keys)), elements("A", args, len(p.Args)))
		keys, args = keys+len(p.Keys), args+len(p.Args)
	}
	s := db.know(b.String())
	db.joins.Store(name, s)
	return s
}

// elements is a Lua table of n elements of another.
func elements(table string, from, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "%s[%d],", table, from+i+1)
	}
	return "{" + b.String() + "}"
}

// text returns a script without its header.
func (db *DB) text(s Script) string {
	db.mu.Lock()
	defer db.mu.Unlock()
	return strings.TrimPrefix(db.scripts[s.sha], db.header)
}
