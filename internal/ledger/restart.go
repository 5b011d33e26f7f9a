package ledger

import (
	"context"
	_ "embed"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
)

// A Redis that restarts, or that another takes the place of, may have lost what it had last: with
// appendfsync everysec a second of it. Then a message that was sent is queued again. So Begin
// refuses to run on a server that this worker has not met, and what the worker remembers is
// written down again before it does.

//go:embed lua/meet.lua
var meetLua string

//go:embed lua/assert.lua
var assertLua string

// runKey is the run of its server that a shard was last used on, and until when nothing was to
// begin on it: a hash.
func runKey(s message.Shard) string { return s.Key("run") }

// Meet asks which run of its server a shard lies on. After another run nothing is to begin for
// quiet, so that every worker can write down what it remembers; whoever meets it first starts
// that time.
func (l *Ledger) Meet(ctx context.Context, s message.Shard, quiet time.Duration) (message.Run, error) {
	r, err := l.db.Shared().Run(ctx, l.meet, []string{runKey(s)}, quiet.Milliseconds()).Slice()
	if err != nil {
		return message.Run{}, fmt.Errorf("meet the server of shard %d: %w", s, err)
	}
	run := message.Run{ID: text(r[0]), Wait: time.Duration(number(r[1])) * time.Millisecond}
	run.Met = run.ID == l.runOf(s)
	return run, nil
}

// Trust lets attempts begin on a run of a shard's server.
func (l *Ledger) Trust(s message.Shard, run string) { l.runs.Store(s, run) }

func (l *Ledger) runOf(s message.Shard) string {
	run, _ := l.runs.Load(s)
	return text(run)
}

// assertMost is how many attempts go to the server at once.
const assertMost = 500

// Assert writes down again what a worker remembers of a shard's attempts, where the server lacks
// it. It may be repeated.
func (l *Ledger) Assert(ctx context.Context, s message.Shard, all []message.Memory) (message.Lost, error) {
	var lost message.Lost
	for len(all) > 0 {
		n := min(len(all), assertMost)
		some, err := l.assertSome(ctx, s, all[:n])
		if err != nil {
			return lost, fmt.Errorf("write down again what was lost: %w", err)
		}
		lost.Intents, lost.Outcomes, lost.Records = lost.Intents+some.Intents, lost.Outcomes+some.Outcomes, lost.Records+some.Records
		all = all[n:]
	}
	return lost, nil
}

func (l *Ledger) assertSome(ctx context.Context, s message.Shard, some []message.Memory) (lost message.Lost, err error) {
	cmds := make([]*redis.Cmd, len(some))
	err = l.db.Durably(ctx, func(p redis.Pipeliner) {
		for i, m := range some {
			to := ""
			if m.Move != nil {
				to = string(m.Move.To)
			}
			keys := []string{RecordPrefix(s) + m.ID, waitingKey(s), attemptsKey(s), doubtsKey(s), parkedKey(s)}
			cmds[i] = l.assert.Add(ctx, p, keys, m.ID, m.N, m.K, m.Token, m.Since.UnixMilli(), to)
		}
	})
	if err != nil {
		return lost, err
	}
	var behind []message.Memory
	for i, m := range some {
		switch cmds[i].Val() {
		case "gone":
			lost.Records++
		case "lost":
			lost.Intents++
			behind = append(behind, m)
		case "behind":
			lost.Outcomes++
			behind = append(behind, m)
		}
	}
	if len(behind) == 0 {
		return lost, nil
	}
	return lost, l.db.Durably(ctx, func(p redis.Pipeliner) {
		for _, m := range behind {
			if m.Move == nil {
				continue // its worker finishes it
			}
			if keys, args, err := l.moveArgs(m.ID, guard{kind: "owner", n: m.N, token: m.Token}, *m.Move); err == nil {
				l.move.Add(ctx, p, keys, args...)
			}
		}
	})
}
