package ledger

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/message"
	"sluice/internal/store"
)

// Begin records, durably, that the owner of token is about to send message id for its task
// number k. A repeat with the same token gives the same answer. The verdict is Restarted until
// the shard's server is trusted, see Meet.
func (l *Ledger) Begin(ctx context.Context, id string, k int, token string) (message.Attempt, error) {
	ks, err := l.keys(id)
	if err != nil {
		return message.Attempt{Verdict: message.Done}, nil // a task that is none of ours
	}
	from, _ := message.Number(id)
	cmd := l.db.Shared().Run(ctx, l.begin,
		[]string{ks.record, ks.payload, ks.waiting, ks.attempts, ks.streams},
		id, token, k, l.lifeOf(message.Expired).Milliseconds(), l.runOf(l.o.Shards.Of(from)))
	unconfirmed := errors.Is(cmd.Err(), store.ErrUnconfirmed)
	if unconfirmed {
		cmd.SetErr(nil)
	}
	r, err := cmd.Slice()
	if err != nil {
		return message.Attempt{}, fmt.Errorf("begin %s: %w", id, err)
	}
	a := message.Attempt{Verdict: message.Verdict(text(r[0])), ID: id, Token: token}
	switch a.Verdict {
	case message.Done:
		if len(r) > 2 {
			a.Expired = text(r[2])
		}
	case message.Early:
		a.Wait = time.Duration(number(r[1])) * time.Millisecond
	case message.Go:
		a.N, a.Payload, a.ExpiresAt, a.Failures = int(number(r[1])), []byte(text(r[2])), at(text(r[3])), int(number(r[4]))
		a.Left = time.Duration(number(r[7])) * time.Millisecond
		a.Message = message.Context{ID: id, From: from, Class: message.Class(text(r[5])), Template: text(r[6])}
		if unconfirmed {
			a.Verdict = message.Unconfirmed
		}
	}
	return a, nil
}

// Finish records what came of an attempt. It returns the state the message is in, which is
// another than m.To when evidence was quicker, and whether a second acceptance by Meta was
// proven. It may be repeated until it succeeds.
func (l *Ledger) Finish(ctx context.Context, a message.Attempt, m message.Move) (message.State, bool, error) {
	keys, args, err := l.moveArgs(a.ID, guard{kind: "owner", n: a.N, token: a.Token}, m)
	if err != nil {
		return "", false, fmt.Errorf("finish %s: %w", a.ID, err)
	}
	var cmd *redis.Cmd
	err = l.db.Shared().Ride(ctx, finishPatience, func(p redis.Pipeliner) { cmd = l.move.Add(ctx, p, keys, args...) })
	if err != nil {
		return "", false, fmt.Errorf("finish %s: %w", a.ID, err)
	}
	_, st, dup, err := moved(cmd)
	if err != nil {
		return "", false, fmt.Errorf("finish %s: %w", a.ID, err)
	}
	return st, dup, nil
}

// guard is the condition under which move.lua changes a record.
type guard struct {
	kind  string
	n     int
	token string
	k     int
	from  message.State
}

func (l *Ledger) moveArgs(id string, g guard, m message.Move) ([]string, []any, error) {
	ks, err := l.keys(id)
	if err != nil {
		return nil, nil, err
	}
	number, _ := message.Number(id)
	s := l.o.Shards.Of(number)
	keys := []string{
		ks.record, ks.payload, ks.waiting, ks.attempts, ks.doubts, ks.streams,
		wamidKey(s, m.WAMID), orphansKey(s, m.WAMID), parkedKey(s), deadKey(s), s.AuditKey(), submittedKey(s), s.MetaEventsKey(),
	}
	deed, note, err := ordered(m)
	if err != nil {
		return nil, nil, err
	}
	var expires int64
	if !m.ExpiresAt.IsZero() {
		expires = m.ExpiresAt.UnixMilli()
	}
	args := []any{
		id, g.kind, g.n, g.token, string(m.To), shortWAMID(m.WAMID), m.Code, m.Reason, m.In.Milliseconds(),
		l.lifeOf(m.To).Milliseconds(), flag(m.Counts), g.k, flag(m.Keep), string(g.from), flag(m.Resend),
		deed, note, expires,
	}
	return keys, args, nil
}

type slicer interface{ Slice() ([]any, error) }

func moved(reply slicer) (message.Folded, message.State, bool, error) {
	r, err := reply.Slice()
	if err != nil {
		return "", "", false, err
	}
	return message.Folded(text(r[0])), message.State(text(r[1])), number(r[2]) == 1, nil
}

func flag(b bool) int {
	if b {
		return 1
	}
	return 0
}

// wamidKey leads from Meta's id of a message to ours; orphansKey holds receipts that came
// before anybody knew whose they are.
func wamidKey(s message.Shard, wamid string) string   { return s.Key("w:" + wamid) }
func orphansKey(s message.Shard, wamid string) string { return s.Key("o:" + wamid) }
