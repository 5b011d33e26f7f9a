package store_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/redis/go-redis/v9"

	"sluice/internal/redistest"
	"sluice/internal/store"
)

// counter is a go-redis hook that counts pipelines. Hold is called before each goes out.
type counter struct {
	n    atomic.Int64
	hold func()
}

func (c *counter) DialHook(next redis.DialHook) redis.DialHook          { return next }
func (c *counter) ProcessHook(next redis.ProcessHook) redis.ProcessHook { return next }

func (c *counter) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		c.n.Add(1)
		if c.hold != nil {
			c.hold()
		}
		return next(ctx, cmds)
	}
}

// counted returns a database that answers OK to everything, for tests on a bubble's clock,
// and the counter of its pipelines.
func counted(t *testing.T) (*store.DB, *counter) {
	t.Helper()
	c := redis.NewClient(&redis.Options{
		Addr: "127.0.0.1:1", Protocol: 2, DisableIdentity: true, MaxRetries: -1,
		Dialer: func(context.Context, string, string) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go answerOK(theirs)
			return ours, nil
		},
	})
	db, err := store.New(t.Context(), c)
	if err != nil {
		t.Fatal(err)
	}
	count := &counter{}
	db.AddHook(count)
	t.Cleanup(func() {
		time.Sleep(time.Second) // batches end when no caller comes
		db.Close()
	})
	return db, count
}

// answerOK answers each command that it reads, and never lets its reading wait for that.
func answerOK(conn net.Conn) {
	answers := make(chan string, 10_000)
	go func() {
		for a := range answers {
			io.WriteString(conn, a)
		}
	}()
	defer close(answers)
	defer conn.Close()
	in := bufio.NewReader(conn)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		parts, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
		words := make([]string, parts)
		for i := range words {
			if line, err = in.ReadString('\n'); err != nil {
				return
			}
			size, _ := strconv.Atoi(strings.TrimSpace(line[1:]))
			word := make([]byte, size+len("\r\n"))
			if _, err := io.ReadFull(in, word); err != nil {
				return
			}
			words[i] = strings.ToLower(string(word[:size]))
		}
		answer := "+OK\r\n"
		switch words[0] {
		case "hello":
			answer = "-ERR unknown command\r\n"
		case "time":
			answer = "*2\r\n$10\r\n1800000000\r\n$1\r\n0\r\n"
		case "exec":
			answer = "*0\r\n"
		case "mget":
			answer = fmt.Sprintf("*%d\r\n", parts-1) + strings.Repeat("$-1\r\n", parts-1)
		}
		answers <- answer
	}
}

// together runs f for 0 to n-1 at the same time.
func together(n int, f func(i int)) {
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { f(i) })
	}
	wg.Wait()
}

// TestBatchSharesRoundTrips: what comes while one run is under way goes with the next.
func TestBatchSharesRoundTrips(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		callers int
		linger  time.Duration
		want    int64
	}{
		{100, 0, 2}, // the first, and all callers that came while it ran
		{100, time.Millisecond, 1},
		{1200, time.Millisecond, 3}, // no run is longer than 500
		{1, time.Millisecond, 1},
	} {
		t.Run(fmt.Sprint(tt.callers, tt.linger), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				db, trips := counted(t)
				trips.hold = func() { time.Sleep(10 * time.Millisecond) }
				b := db.NewBatch(tt.linger)
				var first sync.WaitGroup
				if tt.linger == 0 {
					first.Go(func() { b.Do(t.Context(), func(p redis.Pipeliner) { p.Ping(t.Context()) }) })
					synctest.Wait()
				}
				together(tt.callers, func(int) {
					var cmd *redis.StatusCmd
					err := b.Do(t.Context(), func(p redis.Pipeliner) { cmd = p.Ping(t.Context()) })
					if err != nil || cmd.Val() != "OK" {
						t.Errorf("%v, %q", err, cmd.Val())
					}
				})
				first.Wait()
				if got := trips.n.Load(); got != tt.want {
					t.Errorf("%d round trips, want %d", got, tt.want)
				}
			})
		})
	}
}

// TestBatchOfOne: with linger 0 a lone caller loses no time, else just that.
func TestBatchOfOne(t *testing.T) {
	t.Parallel()
	for _, linger := range []time.Duration{0, 3 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			db, trips := counted(t)
			b := db.NewBatch(linger)
			start := time.Now()
			for i := range 3 {
				if err := b.Do(t.Context(), func(p redis.Pipeliner) { p.Ping(t.Context()) }); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if took, want := time.Since(start), time.Duration(i+1)*linger; took != want {
					t.Errorf("linger %s: %s for %d calls", linger, took, i+1)
				}
			}
			if got := trips.n.Load(); got != 3 {
				t.Errorf("%d round trips", got)
			}
		})
	}
}

// TestBatchWithoutACaller: a caller that gives up returns at once, and does not disturb the others.
func TestBatchWithoutACaller(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, trips := counted(t)
		trips.hold = func() { time.Sleep(time.Second) }
		b := db.NewBatch(time.Millisecond)
		gone := errors.New("gone")
		start := time.Now()
		var wg sync.WaitGroup
		for _, after := range []time.Duration{0, time.Millisecond / 2, 10 * time.Millisecond} { // waiting, gathered, under way
			wg.Go(func() {
				ctx, cancel := context.WithTimeoutCause(t.Context(), after, gone)
				defer cancel()
				cmd := b.Run(ctx, db.Script(set), []string{"k"}, "v")
				if err := cmd.Err(); !errors.Is(err, gone) || time.Since(start) != after {
					t.Errorf("%v after %s, want %v after %s", err, time.Since(start), gone, after)
				}
			})
		}
		for _, after := range []time.Duration{0, 20 * time.Millisecond} { // in the same run, and in the next
			wg.Go(func() {
				time.Sleep(after)
				if err := b.Do(t.Context(), func(p redis.Pipeliner) { p.Ping(t.Context()) }); err != nil {
					t.Errorf("another caller: %v", err)
				}
			})
		}
		wg.Wait()
		synctest.Wait()
	})
}

// TestBatchDropsCallersThatLeft: commands without a waiting caller, which no run has started, are not run.
func TestBatchDropsCallersThatLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		db, count := counted(t)
		count.hold = func() { time.Sleep(time.Second) } // a store that does not answer
		b := db.NewBatch(0)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Second/2)
				defer cancel()
				err := b.Do(ctx, func(p redis.Pipeliner) {
					if i > 0 {
						t.Error("ran for a caller who had left")
					}
					p.Ping(ctx)
				})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%v, want a timeout", err)
				}
			})
			synctest.Wait()
		}
		wg.Wait()
		time.Sleep(2 * time.Second)
		if n := count.n.Load(); n != 1 {
			t.Errorf("%d pipelines, want 1", n)
		}
	})
}

// TestBatchKeepsErrorsApart: each caller has the answers and errors of its own commands.
func TestBatchKeepsErrorsApart(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		ctx, good, bad, absent := t.Context(), db.Script(set), db.Script(fail), db.Script(none)
		db.Set(ctx, "word", "w", 0)
		b := db.NewBatch(5 * time.Millisecond)
		together(40, func(i int) {
			switch i % 4 {
			case 0:
				if got, err := b.Run(ctx, good, []string{fmt.Sprint("k", i)}, i).Text(); err != nil || got != fmt.Sprint(i) {
					t.Errorf("good: %q, %v", got, err)
				}
			case 1:
				if err := b.Run(ctx, bad, []string{"word"}).Err(); err == nil || !strings.Contains(err.Error(), "integer") {
					t.Errorf("bad: %v", err)
				}
			case 2:
				if err := b.Run(ctx, absent, []string{"absent"}).Err(); !errors.Is(err, redis.Nil) {
					t.Errorf("absent: %v", err)
				}
			case 3: // its second command fails
				err := b.Do(ctx, func(p redis.Pipeliner) { p.Get(ctx, "absent"); p.Incr(ctx, "word"); p.Get(ctx, "word") })
				if err == nil || !strings.Contains(err.Error(), "integer") {
					t.Errorf("one of several: %v", err)
				}
			}
		})
	})
}

// TestBatchLoadsScriptsAgain: no caller notices that Redis did not know the script.
func TestBatchLoadsScriptsAgain(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		s := db.Script(set)
		b := db.NewBatch(5 * time.Millisecond)
		for range 2 {
			if err := db.ScriptFlush(t.Context()).Err(); err != nil {
				t.Fatal(err)
			}
			together(20, func(i int) {
				if got, err := b.Run(t.Context(), s, []string{fmt.Sprint("k", i)}, i).Text(); err != nil || got != fmt.Sprint(i) {
					t.Errorf("%q, %v", got, err)
				}
			})
		}
	})
}

// TestAnAbortedTransactionSaysWhy: by the command that Redis did not take.
func TestAnAbortedTransactionSaysWhy(t *testing.T) {
	t.Parallel()
	db := open(t, redistest.Client(t))
	ctx := t.Context()
	err := db.Tx(ctx, func(p redis.Pipeliner) error {
		p.Set(ctx, "k", "v", 0)
		p.Do(ctx, "nosuchcommand")
		return nil
	})
	if err == nil || !strings.Contains(err.Error(), "nosuchcommand") {
		t.Error(err)
	}
	if n := db.Exists(ctx, "k").Val(); n != 0 {
		t.Error("the rest of it ran")
	}
}

// TestBatchOnAStoreAway: all callers get an error, and the batch works afterwards.
func TestBatchOnAStoreAway(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	c := redis.NewClient(&redis.Options{Addr: srv.Addr, MaxRetries: -1, DialerRetries: 1, DisableIdentity: true})
	t.Cleanup(func() { c.Close() })
	db := open(t, c)
	s, b := db.Script(set), db.NewBatch(time.Millisecond)
	srv.Kill()
	together(20, func(i int) {
		if err := b.Run(t.Context(), s, []string{"k"}, i).Err(); err == nil {
			t.Errorf("caller %d: no error", i)
		}
	})
	srv.Restart()
	if got, err := b.Run(t.Context(), s, []string{"k"}, "back").Text(); got != "back" || err != nil {
		t.Errorf("after the restart: %q, %v", got, err)
	}
}

// TestBatchOfMany is for the race detector, and for answers that went astray.
func TestBatchOfMany(t *testing.T) {
	t.Parallel()
	on(t, func(t *testing.T, db *store.DB) {
		s, b := db.Script(set), db.NewBatch(0)
		together(200, func(i int) {
			for j := range 3 {
				ctx, cancel := context.WithCancel(t.Context())
				if j == 1 {
					cancel() // its commands may run or not
				}
				want := fmt.Sprint(i, ".", j)
				got, err := b.Run(ctx, s, []string{fmt.Sprint("k", i)}, want).Text()
				if j != 1 && (err != nil || got != want) || err == nil && got != want {
					t.Errorf("caller %d: %q, %v, want %q", i, got, err, want)
				}
				cancel()
			}
		})
	})
}
