package store_test

import (
	"strings"
	"testing"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

// TestJoin: each script of a join sees its own keys and arguments, the last one answers, and
// one that fails keeps the later ones from running.
func TestJoin(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		run := func(parts ...store.Part) (string, error) {
			p := db.Join(true, parts...)
			return db.Run(t.Context(), p.Script, p.Keys, p.Args...).Text()
		}
		part := func(s store.Script, key string, args ...any) store.Part {
			return store.Part{Script: s, Keys: []string{key}, Args: args}
		}
		set, bad := db.Script(set), db.Script(fail)
		for range 2 {
			got, err := run(part(set, "{t}a", "1"), part(db.Foreign("redis.call('SET', KEYS[1], #ARGV) return 7"), "{t}b"), part(set, "{t}c", "3", "4"))
			if err != nil || got != "3" {
				t.Errorf("%q, %v", got, err)
			}
			if a, b, c := db.Get(t.Context(), "{t}a").Val(), db.Get(t.Context(), "{t}b").Val(), db.Get(t.Context(), "{t}c").Val(); a != "1" || b != "0" || c != "3" {
				t.Errorf("%q, %q, %q", a, b, c)
			}
		}
		db.Set(t.Context(), "word", "w", 0)
		if _, err := run(part(bad, "word"), part(set, "later", "v")); err == nil || !strings.Contains(err.Error(), "integer") || db.Exists(t.Context(), "later").Val() != 0 {
			t.Errorf("%v, the later one ran: %d", err, db.Exists(t.Context(), "later").Val())
		}
	})
}

// TestJoinOnAFullRedis: what drains runs, also with scripts that are not ours; what grows is
// refused whole.
func TestJoinOnAFullRedis(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Start(t, "--maxmemory", "1").Client())
	parts := []store.Part{
		{Script: db.Foreign(set), Keys: []string{"theirs"}, Args: []any{"v"}},
		{Script: db.Script(set), Keys: []string{"ours"}, Args: []any{"v"}},
	}
	for _, refused := range []bool{true, false} {
		p := db.Join(refused, parts...)
		err := db.Run(t.Context(), p.Script, p.Keys, p.Args...).Err()
		n := db.Exists(t.Context(), "theirs", "ours").Val()
		if refused && (err == nil || !strings.Contains(err.Error(), "OOM") || n != 0) || !refused && (err != nil || n != 2) {
			t.Errorf("refused %v: %v, %d keys", refused, err, n)
		}
	}
}
