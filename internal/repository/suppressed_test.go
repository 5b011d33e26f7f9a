package repository

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/dispatch"
	"sluice/internal/message"
	"sluice/internal/people"
	"sluice/internal/ratelimit"
	"sluice/internal/record"
	"sluice/internal/redistest"
	"sluice/internal/secrets"
	"sluice/internal/store"
	"sluice/internal/suppression"
)

// commands counts the commands to Redis.
type commands struct{ atomic.Int64 }

func (c *commands) DialHook(next redis.DialHook) redis.DialHook { return next }

func (c *commands) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		c.Add(1)
		return next(ctx, cmd)
	}
}

func (c *commands) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.Add(int64(len(cmds)))
		return next(ctx, cmds)
	}
}

// TestSuppressed: marketing messages to a person who opted out are suppressed; other classes and other people are not. Nothing may be sent
// while it is unknown who opted out.
func TestSuppressed(t *testing.T) {
	t.Parallel()
	const number, phone = "106540352242922", "+16505551234"
	server := redistest.Start(t)
	client := server.Client()
	var asked commands
	client.AddHook(&asked)
	db, err := store.New(t.Context(), client)
	if err != nil {
		t.Fatal(err)
	}
	hash := secrets.Hasher("a key", "recipient index")
	c := &Candidates{optOuts: suppression.New(db, suppression.Options{
		Hash: hash, Box: secrets.New("a key", ""), People: people.New(db, people.Options{Hash: hash, Shards: 2, Owners: noAccounts{}}),
		Numbers: func(string) []string { return []string{number} },
		Applies: func(_, _ string, c message.Class) bool { return c == message.Marketing },
	})}
	check := func(to string, class message.Class, known dispatch.Candidate) (dispatch.Verdict, error) {
		r := record.Record{Payload: `MAC{"to":"` + to + `"}`}
		r.From, r.Class = number, class
		out := []dispatch.Candidate{known}
		err := c.suppressed(t.Context(), []record.Record{r}, out)
		return out[0].Verdict, err
	}
	ready := dispatch.Candidate{Recipient: ratelimit.Recipient{1}}
	// An installation without entries pays nothing, at a fetch and before an attempt.
	before := asked.Load()
	_, err = check(phone, message.Marketing, ready)
	err = errors.Join(err, c.optOuts.Allows(t.Context(), message.Context{From: number, Class: message.Marketing}, phone))
	if n := asked.Load() - before; n != 0 || err != nil {
		t.Errorf("%d commands without entries, %v", n, err)
	}
	if _, err := c.optOuts.Add(t.Context(), "", []message.SuppressionOrder{{Recipient: phone, Source: message.SuppressedByAPI}}); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		to    string
		class message.Class
		known dispatch.Candidate
		want  dispatch.Verdict
	}{
		"marketing":        {phone, message.Marketing, ready, dispatch.Suppressed},
		"another person":   {"+1", message.Marketing, ready, dispatch.Sendable},
		"one-time code":    {phone, message.Authentication, ready, dispatch.Sendable},
		"to a group":       {phone, message.Marketing, dispatch.Candidate{}, dispatch.Sendable},
		"not yet sendable": {phone, message.Marketing, dispatch.Candidate{Verdict: dispatch.NotYet, Recipient: ready.Recipient}, dispatch.NotYet},
	} {
		if got, err := check(tt.to, tt.class, tt.known); got != tt.want || err != nil {
			t.Errorf("%s: verdict %d, want %d, %v", name, got, tt.want, err)
		}
	}
	server.Kill()
	if _, err := check(phone, message.Marketing, ready); err == nil {
		t.Error("without Redis the message may be sent")
	}
}
