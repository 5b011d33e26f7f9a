package queue

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/poll"
)

func TestAsynqDoesNotExtendLeases(t *testing.T) {
	t.Parallel()
	f := setupMini(t)
	g := NewGate(f.db, nil)
	for key, want := range map[string]float64{asynqKeys("q").Lease: 5, "another": 9} {
		f.db.ZAdd(t.Context(), key, redis.Z{Score: 5, Member: "a"})
		if err := g.ZAddXX(t.Context(), key, redis.Z{Score: 9, Member: "a"}).Err(); err != nil {
			t.Error(err)
		}
		if got := f.db.ZScore(t.Context(), key, "a").Val(); got != want {
			t.Errorf("%s: score %v, want %v", key, got, want)
		}
	}
}

// flaky fails scripts as a Redis does that went away in between.
type flaky struct {
	redis.UniversalClient
	errs []error // the next answers; nil: the server's
}

func (f *flaky) next(ctx context.Context) *redis.Cmd {
	if len(f.errs) == 0 {
		return nil
	}
	err := f.errs[0]
	f.errs = f.errs[1:]
	if err == nil {
		return nil
	}
	cmd := redis.NewCmd(ctx)
	cmd.SetErr(err)
	return cmd
}

func (f *flaky) EvalSha(ctx context.Context, sha string, keys []string, args ...any) *redis.Cmd {
	if cmd := f.next(ctx); cmd != nil {
		return cmd
	}
	return f.UniversalClient.EvalSha(ctx, sha, keys, args...)
}

func (f *flaky) Eval(ctx context.Context, text string, keys []string, args ...any) *redis.Cmd {
	if cmd := f.next(ctx); cmd != nil {
		return cmd
	}
	return f.UniversalClient.Eval(ctx, text, keys, args...)
}

func TestWhatIsRepeated(t *testing.T) {
	t.Parallel()
	refused := &net.OpError{Op: "dial", Err: errors.New("refused")}
	loading := redisError("LOADING Redis is loading the dataset in memory")
	notFound := redisError("NOT FOUND")
	for _, c := range []struct {
		what    string
		errs    []error
		bounded bool
		want    error
	}{
		{"an answer", nil, true, nil},
		{"no connection", []error{refused, io.EOF}, true, nil},
		{"a Redis that is not ready", []error{loading, redisError("READONLY You can't write against a read only replica."), redisError("CLUSTERDOWN The cluster is down")}, true, nil},
		{"a refusal", []error{notFound}, true, notFound},
		{"a script not loaded, then no connection", []error{notLoaded{}, io.EOF, refused}, true, nil},
		{"no deadline", []error{io.EOF}, false, io.EOF},
	} {
		t.Run(c.what, func(t *testing.T) {
			t.Parallel()
			f := setupMini(t)
			g := NewGate(f.db, nil)
			broken := &flaky{f.db, c.errs}
			g.UniversalClient = broken
			ctx := t.Context()
			if c.bounded {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, poll.Limit)
				defer cancel()
			}
			err := redis.NewScript("return 1").Run(ctx, g, []string{"asynq:{q}:active"}).Err()
			if err != c.want || len(broken.errs) != 0 {
				t.Errorf("error %v, want %v; %d answers left", err, c.want, len(broken.errs))
			}
		})
	}
}

// notLoaded is the answer to the hash of a script that Redis does not know.
type notLoaded struct{}

func (notLoaded) Error() string { return "NOSCRIPT not loaded yet" }
func (notLoaded) RedisError()   {}

type redisError string

func (e redisError) Error() string { return string(e) }
func (redisError) RedisError()     {}
