package migrate_test

import (
	"context"
	"errors"
	"strconv"
	"testing"

	"github.com/redis/go-redis/v9"

	"sluice/internal/ledger"
	"sluice/internal/migrate"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// A migration that ends after any number of writes, and is run again, comes to the same.
func TestKilledAndRunAgain(t *testing.T) {
	t.Parallel()
	whole := setup(t)
	whole.migrate()
	want := whole.dump()
	for _, writes := range []int{1, 4, 11, 23, 38} {
		t.Run(strconv.Itoa(writes), func(t *testing.T) {
			t.Parallel()
			c := redistest.Client(t)
			f := load(t, c)
			for left := writes; ; left += 50 {
				ctx, cancel := context.WithCancelCause(t.Context())
				hook := &killer{left: left, kill: cancel}
				other := redis.NewClient(c.Options())
				other.AddHook(hook)
				db, err := store.New(t.Context(), other)
				if err != nil {
					t.Fatal(err)
				}
				_, err = migrate.Run(ctx, db, migrate.Options{})
				db.Close()
				cancel(nil)
				if err == nil {
					break
				}
				if !errors.Is(err, errKilled) {
					t.Fatal(err)
				}
				if err := f.ledger().CheckShards(t.Context()); !errors.Is(err, ledger.ErrOldFormat) {
					t.Fatalf("a program may start: %v", err)
				}
			}
			got := f.dump()
			for key := range want {
				if got[key] != want[key] {
					t.Errorf("%s:\n%.300s, want\n%.300s", key, got[key], want[key])
				}
			}
			for key := range got {
				if _, ok := want[key]; !ok {
					t.Errorf("%s is there", key)
				}
			}
			if n := f.migrate(); n.Converted != 0 {
				t.Errorf("converted again: %+v", n)
			}
		})
	}
}

var errKilled = errors.New("killed")

// killer lets some writes through.
type killer struct {
	left int
	kill context.CancelCauseFunc
}

func (k *killer) DialHook(next redis.DialHook) redis.DialHook { return next }

func (k *killer) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := k.count(cmd); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

func (k *killer) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		for _, cmd := range cmds {
			if err := k.count(cmd); err != nil {
				for _, cmd := range cmds {
					cmd.SetErr(err)
				}
				return err
			}
		}
		return next(ctx, cmds)
	}
}

func (k *killer) count(cmd redis.Cmder) error {
	switch cmd.Name() {
	case "multi", "set", "unlink", "zrem", "del", "xgroup", "expire":
		if k.left--; k.left < 0 {
			k.kill(errKilled)
			return errKilled
		}
	}
	return nil
}
