package record_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sluice/internal/message"
)

var (
	seed  = flag.Uint64("seed", 1, "what the random lives of the model follow from")
	lives = flag.Int("lives", 0, "how many random lives the model goes through; 0: 5,000, and far fewer with the race detector or -short")
	only  = flag.Int("only", -1, "go through this one life alone, and print it")
)

// A life is so many steps of a few messages, and then what is needed to end them.
const lifeSteps = 800

// TestModel goes through random lives of a few messages: callers, workers, Meta, reports, sweepers
// and operators in any order, with answers that get lost, workers that freeze and die, and a store
// that loses what it had last. After each step it looks whether the promises hold.
func TestModel(t *testing.T) {
	t.Parallel()
	if *only >= 0 {
		if err := live(world{rules: theRules(), deep: true, print: true}, *only); err != nil {
			t.Fatal(err)
		}
		return
	}
	n := *lives
	switch {
	case n > 0:
	case testing.Short() || raceDetector:
		n = 60
	default:
		n = 5000
	}
	began := time.Now()
	var next atomic.Int64
	var counts tally
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n && !t.Failed(); i = int(next.Add(1)) - 1 {
				w := world{rules: theRules(), deep: true}
				if err := live(w, i, &counts); err != nil {
					t.Errorf("%v\nThis shows it alone: go test ./internal/record -run '^TestModel$' -seed %d -only %d -v", err, *seed, i)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("seed %d: %d lives in %s\n%s", *seed, n, time.Since(began).Round(time.Millisecond), counts.String())
	if n >= 5000 {
		counts.covers(t)
	}
}

// TestTwin drives two stores at once. It is the place to compare a real one with memory.
func TestTwin(t *testing.T) {
	t.Parallel()
	n := 200
	if testing.Short() || raceDetector {
		n = 15
	}
	for i := range n {
		w := world{rules: theRules(), twin: true}
		if err := live(w, i); err != nil {
			t.Fatalf("life %d: %v", i, err)
		}
	}
}

// tally counts what happened in all lives.
type tally struct {
	mu    sync.Mutex
	count map[string]int
}

func (c *tally) add(some map[string]int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.count == nil {
		c.count = map[string]int{}
	}
	for k, n := range some {
		c.count[k] += n
	}
}

func (c *tally) String() string {
	var b strings.Builder
	for _, k := range slices.Sorted(keys(c.count)) {
		fmt.Fprintf(&b, "  %-28s %d\n", k, c.count[k])
	}
	return b.String()
}

func keys(m map[string]int) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// covers fails the test when the model never came to something: it would prove nothing about it.
func (c *tally) covers(t *testing.T) {
	t.Helper()
	want := []string{
		"accept made", "accept repeat", "accept other content", "accept another incarnation", "begin go", "begin busy", "begin early", "begin done",
		"begin expired", "begin not alone", "begin late", "decide conflict", "request", "request again", "outcome late", "answer lost, applied", "answer lost, not applied",
		"report early", "report of another incarnation", "report of another attempt", "report unmarked", "report applied", "report replaced", "refused later",
		"sweep abandoned", "sweep requeue", "sweep resend", "sweep park", "sweep close", "sweep expire", "sweep lost task",
		"cancel", "settle sent", "settle queued", "settle cancelled", "replay", "rewind", "restore intent", "restore outcome",
		"freeze", "crash", "take back", "duplicate", "removed", "submitted after rewind", "entombed", "accept repeat of what is over", "report of what is over",
		"another life", "final delivered", "final not_delivered", "final unknown",
	}
	for _, s := range message.States() {
		want = append(want, "state "+string(s))
	}
	for _, k := range want {
		if c.count[k] == 0 {
			t.Errorf("the model never came to %q", k)
		}
	}
}

// broken is a promise that does not hold.
type broken struct{ why string }

// live goes through one life. Its error is the promise that was broken.
func live(w world, i int, counts ...*tally) (err error) {
	defer func() {
		switch x := recover().(type) {
		case nil:
		case broken:
			err = fmt.Errorf("life %d, step %d: %s", i, w.steps, x.why)
		default:
			panic(x)
		}
		w.count["steps"] = w.steps
		for _, c := range counts {
			c.add(w.count)
		}
	}()
	w.setup(rand.New(rand.NewPCG(*seed, uint64(i))))
	for range lifeSteps {
		w.step()
	}
	w.drain()
	return nil
}
