package store_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

const (
	set  = "redis.call('SET', KEYS[1], ARGV[1]) return ARGV[1]"
	none = "return redis.call('GET', KEYS[1])"
	fail = "return redis.call('INCR', KEYS[1])" // fails on a key that holds a word
)

func open(t testing.TB, c redis.UniversalClient) *store.DB {
	t.Helper()
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	return db
}

func openURL(t testing.TB, url string) *store.DB {
	t.Helper()
	db, err := store.Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

// on runs a test on a real Redis and on the one that the demo carries with it.
func on(t *testing.T, f func(t *testing.T, db *store.DB)) {
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		f(t, open(t, redistest.Client(t)))
	})
	t.Run("miniredis", func(t *testing.T) {
		t.Parallel()
		c := redis.NewClient(&redis.Options{Addr: miniredis.RunT(t).Addr(), DisableIdentity: true})
		t.Cleanup(func() { c.Close() })
		f(t, open(t, c))
	})
}

// runs are the ways to run a script; each returns its reply.
var runs = map[string]func(ctx context.Context, db *store.DB, s store.Script, key, value string) (string, error){
	"run": func(ctx context.Context, db *store.DB, s store.Script, key, value string) (string, error) {
		return db.Run(ctx, s, []string{key}, value).Text()
	},
	"tx": func(ctx context.Context, db *store.DB, s store.Script, key, value string) (string, error) {
		var cmd *redis.Cmd
		err := db.Tx(ctx, func(p redis.Pipeliner) error {
			p.Incr(ctx, "fills of "+value)
			cmd = s.Add(ctx, p, []string{key}, value)
			return nil
		})
		if err != nil {
			return "", err
		}
		return cmd.Text()
	},
	"pipe": func(ctx context.Context, db *store.DB, s store.Script, key, value string) (string, error) {
		var cmd *redis.Cmd
		err := db.Pipe(ctx, func(p redis.Pipeliner) { cmd = s.Add(ctx, p, []string{key}, value) })
		if err != nil {
			return "", err
		}
		return cmd.Text()
	},
}

// TestScriptsAreLoadedAgain: a server that does not know a script gets it.
func TestScriptsAreLoadedAgain(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		s := db.Script(set)
		for name, run := range runs {
			for _, value := range []string{"first", "known", "forgotten"} {
				if value == "forgotten" {
					if err := db.ScriptFlush(t.Context()).Err(); err != nil {
						t.Fatal(err)
					}
				}
				got, err := run(t.Context(), db, s, "k", value)
				if kept := db.Get(t.Context(), "k").Val(); err != nil || got != value || kept != value {
					t.Errorf("%s, %s: reply %q, %v, key %q", name, value, got, err, kept)
				}
			}
		}
	})
}

func TestNilIsNoError(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		ctx, s := t.Context(), db.Script(none)
		if err := db.Run(ctx, s, []string{"absent"}).Err(); !errors.Is(err, redis.Nil) {
			t.Errorf("run: %v", err)
		}
		if err := db.Tx(ctx, func(p redis.Pipeliner) error { s.Add(ctx, p, []string{"absent"}); p.Get(ctx, "absent"); return nil }); err != nil {
			t.Errorf("tx: %v", err)
		}
		if err := db.Pipe(ctx, func(p redis.Pipeliner) { s.Add(ctx, p, []string{"absent"}); p.Get(ctx, "absent") }); err != nil {
			t.Errorf("pipe: %v", err)
		}
		if err := db.Pipe(ctx, func(redis.Pipeliner) {}); err != nil {
			t.Errorf("empty pipe: %v", err)
		}
	})
}

// TestErrorOfAnyCommand: no failed command hides behind a good or an empty one.
func TestErrorOfAnyCommand(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		ctx, bad := t.Context(), db.Script(fail)
		db.Set(ctx, "word", "w", 0)
		fill := func(p redis.Pipeliner) {
			p.Get(ctx, "absent")
			p.Set(ctx, "good", "g", 0)
			bad.Add(ctx, p, []string{"word"})
			p.Get(ctx, "absent")
		}
		if err := db.Run(ctx, bad, []string{"word"}).Err(); err == nil || !strings.Contains(err.Error(), "integer") {
			t.Errorf("run: %v", err)
		}
		if err := db.Tx(ctx, func(p redis.Pipeliner) error { fill(p); return nil }); err == nil || !strings.Contains(err.Error(), "integer") {
			t.Errorf("tx: %v", err)
		}
		if err := db.Pipe(ctx, fill); err == nil || !strings.Contains(err.Error(), "integer") {
			t.Errorf("pipe: %v", err)
		}
	})
}

func TestTxOfAFailedFillRunsNothing(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		broken := errors.New("broken")
		err := db.Tx(t.Context(), func(p redis.Pipeliner) error {
			p.Set(t.Context(), "k", "v", 0)
			return broken
		})
		if !errors.Is(err, broken) || db.Exists(t.Context(), "k").Val() != 0 {
			t.Errorf("%v, %d keys", err, db.Exists(t.Context(), "k").Val())
		}
	})
}

// TestFullRedis: our scripts drain a full Redis, even one that does not know them yet. A transaction is refused as a
// whole, with the reason.
func TestFullRedis(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Start(t, "--maxmemory", "1").Client())
	ctx, s := t.Context(), db.Script(set)
	if err := db.Set(ctx, "x", "y", 0).Err(); err == nil {
		t.Fatal("the Redis is not full")
	}
	for _, name := range []string{"run", "pipe"} {
		if err := db.ScriptFlush(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		if got, err := runs[name](ctx, db, s, "k", name); got != name || err != nil {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := runs["tx"](ctx, db, s, "k", "tx"); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("tx: %v", err)
	}
	if got := db.Get(ctx, "k").Val(); got != "pipe" {
		t.Errorf("the refused transaction left %q", got)
	}
}

func TestStoreAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	db := open(t, c)
	s := db.Script(set)
	srv.Kill()
	for name, run := range runs {
		if _, err := run(t.Context(), db, s, "k", "v"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	srv.Restart() // it knows no script now
	for name, run := range runs {
		if got, err := run(t.Context(), db, s, "k", name); got != name || err != nil {
			t.Errorf("%s after the restart: %q, %v", name, got, err)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	db, err := store.Open(t.Context(), srv.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	now, err := db.Now(t.Context(), "k")
	if err != nil || time.Since(now).Abs() > time.Minute {
		t.Errorf("the server's clock: %s, %v", now, err)
	}

	const password = "s3cret"
	if err := db.ConfigSet(t.Context(), "requirepass", password).Err(); err != nil {
		t.Fatal(err)
	}
	withPassword := strings.Replace(srv.URL(), "//", "//:"+password+"@", 1)
	good, err := store.Open(t.Context(), withPassword)
	if err != nil {
		t.Fatalf("with its password: %v", err)
	}
	good.Close()
	for name, url := range map[string]string{
		"password missing":   srv.URL(),
		"password wrong":     strings.Replace(srv.URL(), "//", "//:"+password+"x@", 1),
		"nobody there":       "redis://:" + password + "@127.0.0.1:1",
		"no scheme":          password + "@localhost:6379",
		"other scheme":       "http://:" + password + "@localhost:6379",
		"bad escape":         "redis://:" + password + "%zz@localhost:6379",
		"password with hash": "redis://:" + password + "#1@localhost:6379",
		"bad database":       withPassword + "/x",
	} {
		db, err := store.Open(t.Context(), url)
		if err == nil {
			db.Close()
			t.Errorf("%s: opened", name)
		} else if strings.Contains(err.Error(), password) {
			t.Errorf("%s: the error tells the password: %v", name, err)
		}
	}
}

// TestNewWhileLoading: what a server cannot say now is not taken for what it cannot do.
func TestNewWhileLoading(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go answerLoading(c)
		}
	}()
	c := redis.NewClient(&redis.Options{Addr: l.Addr().String(), MaxRetries: -1, Protocol: 2, DisableIdentity: true})
	if _, err := store.New(t.Context(), c); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
		t.Errorf("%v", err)
	}
}

// answerLoading answers each command as a Redis that still reads its file.
func answerLoading(c net.Conn) {
	defer c.Close()
	in := bufio.NewScanner(c)
	for in.Scan() {
		if strings.HasPrefix(in.Text(), "*") { // one line begins a command
			c.Write([]byte("-LOADING Redis is loading the dataset in memory\r\n"))
		}
	}
}

// TestAPasswordThatChanges: a new connection uses the password as it is then.
func TestAPasswordThatChanges(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	admin := srv.Client()
	password := "one"
	set := func() {
		t.Helper()
		if err := admin.ConfigSet(t.Context(), "requirepass", password).Err(); err != nil {
			t.Fatal(err)
		}
	}
	set()
	db, err := store.Open(t.Context(), "redis://:old@"+srv.Addr, func() (string, error) { return password, nil })
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	password = "two"
	set()
	if err := admin.Do(t.Context(), "client", "kill", "type", "normal", "skipme", "yes").Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after the password has changed: %v", err)
	}
}
