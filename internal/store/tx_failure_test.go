package store_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/store"
)

// around is a go-redis hook for pipelines: f runs one, by next, or does something else.
type around struct {
	f func(cmds []redis.Cmder, next func() error) error
}

func (a around) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (a around) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (a around) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		return a.f(cmds, func() error { return next(ctx, cmds) })
	}
}

// named returns the first command of a pipeline with a name.
func named(cmds []redis.Cmder, name string) redis.Cmder {
	for _, c := range cmds {
		if c.Name() == name {
			return c
		}
	}
	return nil
}

// What a connection read cannot be used when it broke after that: the keys are no longer watched.
func TestAConnectionThatBreaksAfterTheReading(t *testing.T) {
	t.Parallel()
	c := redistest.Client(t)
	other := redis.NewClient(c.Options())
	defer other.Close()
	var once sync.Once
	c.AddHook(around{func(cmds []redis.Cmder, next func() error) error {
		err := next()
		if clock := named(cmds, "time"); clock != nil && named(cmds, "mget") != nil {
			once.Do(func() {
				clock.SetErr(io.EOF)
				other.Append(t.Context(), "n", "xx")
				err = io.EOF
			})
		}
		return err
	}})
	db := open(t, c)
	if err := db.Transactions(false).Do(t.Context(), 0, add("n")); err != nil {
		t.Fatal(err)
	}
	if got := length(t, db, "n"); got != 3 {
		t.Errorf("%d changes are left of 3", got)
	}
}

// A Redis that refuses new connections, because its password was changed or because it has too many, has
// written nothing and has read nothing.
func TestRefusedConnections(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		query  string
		refuse []any
	}{
		"password":             {"", []any{"config", "set", "requirepass", "two"}},
		"password, by scripts": {"?transactions=script", []any{"config", "set", "requirepass", "two"}},
		"too many clients":     {"", []any{"config", "set", "maxclients", "1"}},
		"too many, by scripts": {"?transactions=script", []any{"config", "set", "maxclients", "1"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			admin := s.Client().Conn() // stays logged in
			defer admin.Close()
			do := func(command ...any) {
				t.Helper()
				if err := admin.Do(t.Context(), command...).Err(); err != nil {
					t.Fatal(err)
				}
			}
			do("config", "set", "requirepass", "one")
			do("set", "n", "xx")
			db := openURL(t, strings.Replace(s.URL(), "redis://", "redis://:one@", 1)+tt.query)
			do(tt.refuse...)
			do("client", "kill", "type", "normal", "skipme", "yes")
			c := add("n")
			c.Durable = true
			decided := c.Decide
			c.Decide = func(values []string, w *store.Writes) error {
				if values[0] != "xx" {
					t.Errorf("what was read is %q", values)
				}
				return decided(values, w)
			}
			if err := db.Transactions(true).Do(t.Context(), 0, c); err == nil {
				t.Error("a transaction was confirmed")
			}
			if err := db.Transactions(true).Do(t.Context(), 0, store.Change{Slot: "n", Decide: func(_ []string, w *store.Writes) error {
				w.Do("append", "n", "x")
				return nil
			}}); err == nil {
				t.Error("a transaction that reads nothing was confirmed")
			}
			var get *redis.StringCmd
			err := db.Pipe(t.Context(), func(p redis.Pipeliner) { get = p.Get(t.Context(), "n") })
			if err == nil || get.Err() == nil {
				t.Errorf("a pipeline: %v, and its command: %v", err, get.Err())
			}
			if got := admin.Get(t.Context(), "n").Val(); got != "xx" {
				t.Errorf("Redis has %q", got)
			}
		})
	}
}

// A Redis that refuses WATCH is found at the start, and by each transaction: without it another's
// change would be overwritten.
func TestRefusedWatch(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	db := open(t, s.Client())
	if err := db.Do(t.Context(), "acl", "setuser", "default", "-watch").Err(); err != nil {
		t.Fatal(err)
	}
	if err := db.Transactions(false).Do(t.Context(), 0, add("n")); err == nil || !strings.Contains(err.Error(), "NOPERM") || length(t, db, "n") != 0 {
		t.Errorf("a transaction: %v, %d changes", err, length(t, db, "n"))
	}
	if _, err := store.Open(t.Context(), s.URL()); err == nil || !strings.Contains(err.Error(), "refuses watch") || !strings.Contains(err.Error(), "transactions=script") {
		t.Errorf("the start: %v", err)
	}
	scripted := openURL(t, s.URL()+"?transactions=script")
	if err := scripted.Transactions(false).Do(t.Context(), 0, add("n")); err != nil || length(t, db, "n") != 1 {
		t.Errorf("by scripts: %v, %d changes", err, length(t, db, "n"))
	}
}

// gate is an address whose connections lead to a server that can change.
type gate struct {
	net.Listener
	to atomic.Value
}

func newGate(t *testing.T, to string) *gate {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	g := &gate{Listener: l}
	g.to.Store(to)
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", g.to.Load().(string))
			if err != nil {
				in.Close()
				continue
			}
			for _, pair := range [][2]net.Conn{{in, out}, {out, in}} {
				go func() {
					io.Copy(pair[0], pair[1])
					pair[0].Close()
				}()
			}
		}
	}()
	return g
}

// A master that has become a replica keeps its connections. They are not used again: the address leads
// to another server by now.
func TestAMasterThatBecameAReplica(t *testing.T) {
	t.Parallel()
	a, b := redistest.Start(t), redistest.Start(t)
	g := newGate(t, a.Addr)
	db := openURL(t, "redis://"+g.Addr().String())
	tx := db.Transactions(false)
	ctx := t.Context()
	for range 3 {
		if err := tx.Do(ctx, 0, add("n")); err != nil {
			t.Fatal(err)
		}
	}
	host, port, _ := net.SplitHostPort(b.Addr)
	g.to.Store(b.Addr)
	if err := a.Client().ReplicaOf(ctx, host, port).Err(); err != nil {
		t.Fatal(err)
	}
	if err := tx.Do(ctx, 0, add("n")); err != nil {
		t.Errorf("after the change of masters: %v", err)
	}
	if got := b.Client().StrLen(ctx, "n").Val(); got != 1 {
		t.Errorf("the new master has %d changes", got)
	}
}

// A Cluster whose slots move is followed, without an error.
func TestTransactionsFollowACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t)
	for _, query := range []string{"", "?transactions=script"} {
		db := openURL(t, c.URL()+query)
		tx := db.Transactions(false)
		ctx := t.Context()
		all := make([]store.Change, 30) // in several slots
		for i := range all {
			all[i] = add(fmt.Sprintf("{s%d}%s", i%4, query))
		}
		run := func(want int) {
			t.Helper()
			for _, err := range tx.DoAll(ctx, 0, all) {
				if err != nil {
					t.Fatal(err)
				}
			}
			for i := range 4 {
				if got := length(t, db, fmt.Sprintf("{s%d}%s", i, query)); got/7 != want && got/8 != want {
					t.Errorf("%d changes in slot %d", got, i)
				}
			}
		}
		run(1)
		old := c.MasterOf("{s1}")
		if err := c.ReplicaOf("{s1}").Client().ClusterFailover(ctx).Err(); err != nil {
			t.Fatal(err)
		}
		for c.MasterOf("{s1}") == old {
			time.Sleep(5 * time.Millisecond)
		}
		c.AwaitWhole() // until then the new master may have no replica, and refuses to write; the client has not heard of it yet
		run(2)
	}
}

// What a full Redis takes as a script is confirmed after the script, not before.
func TestAFullRedisIsConfirmedToo(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t, 1)
	c := s.Servers[0].Client()
	var freeze atomic.Bool
	c.AddHook(around{func(cmds []redis.Cmder, next func() error) error {
		if named(cmds, "evalsha") != nil && named(cmds, "exec") == nil && freeze.Load() {
			s.Servers[1].Signal(syscall.SIGSTOP)
		}
		return next()
	}})
	db := open(t, c)
	if err := db.Require(t.Context(), store.Replica, silent); err != nil {
		t.Fatal(err)
	}
	change := add("n")
	change.Durable = true
	tx := db.Transactions(false)
	if err := tx.Do(t.Context(), 0, change); err != nil {
		t.Fatal(err)
	}
	db.ConfigSet(t.Context(), "maxmemory", "1")
	if err := tx.Do(t.Context(), 0, change); err != nil {
		t.Fatalf("on a full Redis: %v", err)
	}
	freeze.Store(true)
	err := tx.Do(t.Context(), 0, change)
	s.Servers[1].Signal(syscall.SIGCONT)
	if !errors.Is(err, store.ErrUnconfirmed) || length(t, db, "n") != 3 {
		t.Errorf("without a replica: %v, %d changes", err, length(t, db, "n"))
	}
}

// A change whose keys others change all the time is decided again and again, and delays no other change.
func TestAHotKeyDelaysNoOther(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		tx := db.Transactions(false)
		var others sync.WaitGroup
		othersDone := make(chan struct{})
		hot := store.Change{Keys: []string{"{x}hot"}, Slot: "{x}", Decide: func(values []string, w *store.Writes) error {
			select {
			case <-othersDone:
			default:
				db.Append(t.Context(), "{x}hot", "x") // between the reading and the writing
			}
			w.Set("{x}hot", []byte("done"))
			return nil
		}}
		errs := make(chan error)
		go func() { errs <- tx.Do(t.Context(), 0, hot) }()
		for i := range 60 {
			others.Go(func() {
				if err := tx.Do(t.Context(), 0, add(fmt.Sprint("{x}", i))); err != nil {
					t.Error(err)
				}
			})
		}
		others.Wait()
		close(othersDone)
		if err := <-errs; err != nil || db.Get(t.Context(), "{x}hot").Val() != "done" {
			t.Errorf("%v, %s", err, db.Get(t.Context(), "{x}hot").Val())
		}
	})
}

// A caller that left is not waited for; a change that had not begun by then does not happen.
func TestACallerLeaves(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	tx := db.Transactions(false)
	deciding, proceed := make(chan struct{}), make(chan struct{})
	gone := errors.New("gone")
	ctx, cancel := context.WithCancelCause(t.Context())
	slow := add("n")
	decide := slow.Decide
	slow.Decide = func(values []string, w *store.Writes) error {
		close(deciding)
		<-proceed
		return decide(values, w)
	}
	errs := make(chan error, 2)
	go func() { errs <- tx.Do(ctx, 0, slow) }()
	<-deciding
	go func() { errs <- tx.Do(ctx, 0, add("never")) }()
	cancel(gone)
	for range 2 {
		if err := <-errs; err != gone {
			t.Errorf("%v", err)
		}
	}
	close(proceed)
	if err := tx.Do(t.Context(), 0, add("n")); err != nil {
		t.Fatal(err)
	}
	if n, never := length(t, db, "n"), length(t, db, "never"); n != 2 || never != 0 {
		t.Errorf("%d changes, %d of a caller who had left before", n, never)
	}
}

// Nothing is left behind when no caller waits: no goroutine, and no connection outside the pool.
func TestTransactionsLeaveNothingBehind(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		var wg sync.WaitGroup
		for i := range 50 {
			tx := db.Transactions(i%2 == 0)
			wg.Go(func() {
				for range 5 {
					if err := tx.Do(t.Context(), 0, add(fmt.Sprint("{x}", i%3))); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		poll.Until(t, "all connections are back", func() bool { s := db.PoolStats(); return s.TotalConns == s.IdleConns })
	})
}

// A refusal that depends on what another change of the same transaction wrote counts only when that was written:
// otherwise it is decided again.
func TestARefusalAfterAConflict(t *testing.T) {
	t.Parallel()
	onBoth(t, func(t *testing.T, db *store.DB) {
		refused := errors.New("somebody else has it")
		var once sync.Once
		take := func(owner string) store.Change {
			return store.Change{Keys: []string{"{x}owner"}, Slot: "{x}", Decide: func(values []string, w *store.Writes) error {
				if values[0] == "" {
					once.Do(func() { db.Set(t.Context(), "{x}owner", "second", 0) }) // between the reading and the writing
					w.Set("{x}owner", []byte(owner))
					return nil
				}
				if values[0] != owner {
					return refused
				}
				return nil
			}}
		}
		errs := db.Transactions(false).DoAll(t.Context(), 0, []store.Change{take("first"), take("second"), take("third")})
		if errs[0] != refused || errs[1] != nil || errs[2] != refused {
			t.Errorf("%v", errs)
		}
	})
}
