package relay

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sluice/internal/events"
	"sluice/internal/message"
)

const testNumber = "106540352242922"

// fakeTail makes the events of one stream of one shard: so many a second, three of each message, which come mixed.
type fakeTail struct {
	key   string
	start time.Time
	rate  int
	last  time.Duration // after start there are no more
	keep  time.Duration // events are dropped when they are so old; 0: never
	mu    sync.Mutex
	wake  chan struct{}
	err   error
}

// fail lets Read fail from now on.
func (f *fakeTail) fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func newFakeTail(ctx context.Context, key string, rate int, last time.Duration) *fakeTail {
	f := &fakeTail{key: key, start: time.Now(), rate: rate, last: last, wake: make(chan struct{})}
	go func() {
		for time.Since(f.start) < last+time.Second { // then nothing changes any more
			select {
			case <-ctx.Done():
				return
			case <-time.After(500 * time.Millisecond): // an hour of it takes a while with the race detector
			}
			f.mu.Lock()
			close(f.wake)
			f.wake = make(chan struct{})
			f.mu.Unlock()
		}
	}()
	return f
}

func (f *fakeTail) Changed() <-chan struct{} {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wake
}

func (f *fakeTail) At(_ context.Context, at time.Time) (map[string]events.Place, error) {
	n := int(at.UnixMilli()-f.start.UnixMilli()) * f.rate / 1000
	if n < 1 {
		return nil, nil
	}
	return map[string]events.Place{f.key: f.line(n).Place}, nil
}

// written returns how many events there are.
func (f *fakeTail) written() int {
	return int(min(time.Since(f.start), f.last).Seconds() * float64(f.rate))
}

func (f *fakeTail) Read(_ context.Context, key string, after events.Place, most int) (lines []events.Line, err error) {
	f.mu.Lock()
	err = f.err
	f.mu.Unlock()
	if key != f.key || err != nil {
		return nil, err
	}
	_, n := splitEntry(after.Entry)
	if dropped := int64((time.Since(f.start) - f.keep).Seconds() * float64(f.rate)); f.keep > 0 && n < dropped {
		return nil, &events.TooOld{Key: key}
	}
	for i := int(n) + 1; i <= f.written() && len(lines) < most; i++ {
		lines = append(lines, f.line(i))
	}
	return lines, nil
}

// line returns event n: of message n/300*100 + n%100, its statuses in order.
func (f *fakeTail) line(n int) events.Line {
	m, step := (n-1)/300*100+(n-1)%100, (n-1)%300/100
	wamid := "wamid." + strconv.Itoa(m)
	at := f.start.Add(time.Duration(n) * time.Second / time.Duration(f.rate))
	e := message.Event{Version: 2, Type: message.EventStatus, At: at.UnixMilli(), Number: testNumber, Report: &message.StatusReport{Number: testNumber, WAMID: wamid, Status: strconv.Itoa(step)}}
	text := fmt.Sprintf(`{"v":2,"type":"status","at":%d,"phone_number_id":"%s","report":{"phone_number_id":"%s","wamid":"%s","status":"%d"},"n":%d}`, at.UnixMilli(), testNumber, testNumber, wamid, step, n)
	return events.Line{Key: key(f.key), Place: events.Place{Entry: fmt.Sprintf("%d-%d", at.UnixMilli(), n), N: 1}, Text: text, Event: e}
}

func key(s string) string { return s }

// fakeStates keeps everything in memory.
type fakeStates struct {
	mu     sync.Mutex
	stored loaded
	aside  map[string]aside
	dead   []aside
	gone   int // how many dead letters were removed
	owned  bool
	err    error
}

func newFakeStates() *fakeStates { return &fakeStates{aside: map[string]aside{}, owned: true} }

func (f *fakeStates) Load(context.Context, message.Shard, string) (loaded, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := loaded{progress: f.stored.progress}
	for _, a := range f.aside {
		found.aside = append(found.aside, a)
	}
	sortAside(found.aside)
	return found, f.err
}

func (f *fakeStates) Dead(context.Context, message.Shard, string) ([]aside, string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.dead), strconv.Itoa(f.gone + len(f.dead)), f.err
}

func (f *fakeStates) Save(_ context.Context, _ message.Shard, _ string, c changes) (owned bool, dropped int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil || !f.owned {
		return f.owned, 0, f.err
	}
	f.stored.progress = c.progress
	if last, err := strconv.Atoi(c.deadEnd); err == nil {
		f.dead, f.gone = f.dead[last-f.gone:], last
	}
	for _, a := range c.put {
		f.aside[a.field()] = a
	}
	for _, name := range c.gone {
		delete(f.aside, name)
	}
	f.dead = append(f.dead, c.dead...)
	return true, 0, nil
}

// given returns how many events were given up.
func (f *fakeStates) given() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.dead)
}

func (f *fakeStates) Forget(context.Context, message.Shard, string) (bool, error) { return true, nil }

// taken is what a target took: the last step of each message, and what is wrong with that.
type taken struct {
	mu    sync.Mutex
	steps map[string]int
	count int
	twice int
	wrong []string
}

// take notes the events of a body in the sluice format.
func (k *taken) take(body []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, event := range strings.Split(string(body), `"wamid":"`)[1:] {
		wamid, rest, _ := strings.Cut(event, `"`)
		_, step, _ := strings.Cut(rest, `"status":"`)
		k.count++
		switch was, now := k.steps[wamid], int(step[0]-'0')+1; {
		case now <= was:
			k.twice++
		case now == was+1:
			k.steps[wamid] = now
		default:
			k.wrong = append(k.wrong, fmt.Sprintf("%s: step %d after %d", wamid, now, was))
		}
	}
}

func newTaken() *taken { return &taken{steps: map[string]int{}} }

func (k *taken) check(t *testing.T, want int) {
	t.Helper()
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.wrong) > 0 {
		t.Errorf("order: %d wrong, first %s", len(k.wrong), k.wrong[0])
	}
	sum := 0
	for _, n := range k.steps {
		sum += n
	}
	if sum != want {
		t.Errorf("%d different events arrived, want %d", sum, want)
	}
}

func testTarget() message.RelayTarget {
	return message.RelayTarget{Name: "crm", URL: "https://crm.example/hook", Format: message.RelaySluice, Batch: 1, Concurrency: 16, GiveUpAfter: 24 * time.Hour, Born: 1, Generation: 1}
}

// testCourier runs a courier with one shard until the test ends.
func testCourier(t *testing.T, target message.RelayTarget, tail tail, states stateStore, post func(context.Context, request) answer) *courier {
	t.Helper()
	c := newCourier(target, courierOptions{
		tail: tail, states: states, post: post, shards: 1, margin: 10 * time.Second, metrics: newMetrics(nil).of("crm"), log: slog.New(slog.DiscardHandler),
		secret: func(message.RelayTarget) (string, error) { return "", nil },
		prepare: func(t message.RelayTarget) preparer {
			return preparer{target: t, mark: func(string) (string, int, int64, bool) { return "", 0, 0, false }}
		},
	})
	ctx, stop := context.WithCancel(t.Context())
	go c.run(ctx)
	c.do(func() { c.add(0, newLease(time.Now().Add(1000*time.Hour))) })
	t.Cleanup(func() {
		stop()
		<-c.ended
	})
	return c
}

// refused is an answer of a target that got the request.
func refused(why string) answer { return answer{failure: why, reached: true} }

// number returns the number of the event of a request.
func number(r request) (n int) {
	_, text, _ := strings.Cut(string(r.body), `"n":`)
	fmt.Sscan(text, &n)
	return n
}

// TestAnHourOfOutage: events come while the target is down or slow for an hour, and old ones are dropped from the stream.
// Nothing is lost, nothing comes twice, the order holds, and the target has all events minutes later.
func TestAnHourOfOutage(t *testing.T) {
	t.Parallel()
	rate, most := 4, time.Hour+30*time.Minute
	if os.Getenv("SLUICE_TEST_RELAY_FULL") != "" { // takes minutes
		rate = 500
	}
	for name, bad := range map[string]struct {
		after  time.Duration
		answer answer
	}{
		"status 500": {0, refused("status_500")},
		"hanging":    {10 * time.Second, refused("timeout")},
		"slow":       {9 * time.Second, answer{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				start, took := time.Now(), newTaken()
				tries := 0
				var mu sync.Mutex
				tail := newFakeTail(t.Context(), events.MetaKey(0), rate, time.Hour+10*time.Minute)
				tail.keep = 70 * time.Minute
				down := bad.answer.failure != ""
				c := testCourier(t, testTarget(), tail, newFakeStates(), func(_ context.Context, r request) answer {
					if at := time.Since(start); at > 5*time.Minute && at < 65*time.Minute {
						mu.Lock()
						tries++
						mu.Unlock()
						if time.Sleep(bad.after); !down {
							took.take(r.body)
						}
						return bad.answer
					}
					time.Sleep(5 * time.Millisecond)
					took.take(r.body)
					return answer{}
				})
				time.Sleep(30 * time.Minute)
				state := make(chan bool)
				c.do(func() { state <- c.health.failing(time.Now()) })
				if <-state != down {
					t.Errorf("after 25 minutes the target is failing: %v", !down)
				}
				time.Sleep(most - 30*time.Minute)
				synctest.Wait()
				took.check(t, tail.written())
				if took.twice > 0 {
					t.Errorf("%d events came twice although no answer was lost", took.twice)
				}
				if down && tries > 200 {
					t.Errorf("%d requests in the hour in which the target was down", tries)
				}
			})
		})
	}
}

// TestAHandoverRepeatsNothing: a shard goes to another worker while an event waits for its next try. The later events that
// the target has do not come again.
func TestAHandoverRepeatsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		took := newTaken()
		tail := newFakeTail(t.Context(), events.MetaKey(0), 100, time.Minute)
		var once sync.Once
		c := testCourier(t, testTarget(), tail, newFakeStates(), func(_ context.Context, r request) (a answer) {
			if strings.Contains(string(r.body), `"wamid":"wamid.0","status":"0"`) {
				once.Do(func() { a = refused("status_500") })
			}
			if a.failure == "" {
				took.take(r.body)
			}
			return a
		})
		time.Sleep(time.Second)
		<-c.leaveShard(0)
		c.do(func() { c.add(0, newLease(time.Now().Add(1000*time.Hour))) })
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		took.check(t, tail.written())
		if took.twice > 0 {
			t.Errorf("%d events came again", took.twice)
		}
	})
}

// slowTail takes a second to read.
type slowTail struct{ *fakeTail }

func (f slowTail) Read(ctx context.Context, key string, after events.Place, most int) ([]events.Line, error) {
	time.Sleep(time.Second)
	return f.fakeTail.Read(ctx, key, after, most)
}

// TestEventsSetAsideAreNotReadAgain: a worker that takes over relays the events that were set aside at once. When it reads
// the stream from a position before them, it does not relay them again.
func TestEventsSetAsideAreNotReadAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		took, states := newTaken(), newFakeStates()
		tail := newFakeTail(t.Context(), events.MetaKey(0), 100, time.Second)
		time.Sleep(2 * time.Second)
		l := tail.line(7)
		a := aside{Key: l.Key, Place: l.Place.String(), Text: l.Text}
		states.aside[a.field()] = a
		states.stored.progress = progress{Born: 1, Generation: 1, Meta: tail.line(1).Place.String()}
		testCourier(t, testTarget(), slowTail{tail}, states, func(_ context.Context, r request) answer {
			took.take(r.body)
			return answer{}
		})
		time.Sleep(time.Minute)
		synctest.Wait()
		took.check(t, tail.written()-1)
		if took.twice > 0 {
			t.Errorf("%d events came again", took.twice)
		}
	})
}

// TestOneEventThatFails: an event that the target never takes becomes a dead letter after about an hour. Until then its
// message waits, in order, and nothing else does.
func TestOneEventThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		start, took, states := time.Now(), newTaken(), newFakeStates()
		tail := newFakeTail(t.Context(), events.MetaKey(0), 2, 2*time.Hour)
		tries := 0
		c := testCourier(t, testTarget(), tail, states, func(_ context.Context, r request) answer {
			if strings.Contains(string(r.body), `"wamid":"wamid.7","status":"1"`) {
				tries++
				return refused("status_400")
			}
			took.take(r.body)
			return answer{}
		})
		time.Sleep(50 * time.Minute)
		synctest.Wait()
		took.mu.Lock()
		count, of7 := took.count, took.steps["wamid.7"]
		took.mu.Unlock()
		if behind := tail.written() - count; of7 != 1 || behind > 20 {
			t.Errorf("after 50 minutes the message has %d events, and %d wait", of7, behind)
		}
		states.mu.Lock()
		low, _ := events.ParsePlace(states.stored.progress.Meta)
		if ms, _ := splitEntry(low.Entry); time.Since(time.UnixMilli(ms)) > time.Minute || len(states.aside) != 2 || len(states.dead) != 0 {
			t.Errorf("the position is %v old, set aside %d, dead %d", time.Since(time.UnixMilli(ms)), len(states.aside), len(states.dead))
		}
		states.mu.Unlock()
		time.Sleep(2*time.Hour - 50*time.Minute)
		synctest.Wait()
		if len(took.wrong) != 1 || took.wrong[0] != "wamid.7: step 3 after 1" {
			t.Errorf("order: %v", took.wrong)
		}
		if len(states.dead) != 1 || len(states.aside) != 0 || states.dead[0].Error != "status_400" || tries < triesAgainst || tries > 20 {
			t.Errorf("dead %+v, %d set aside, %d tries", states.dead, len(states.aside), tries)
		}
		if at := time.UnixMilli(states.dead[0].First); at.Sub(start) > time.Minute {
			t.Errorf("it first failed at %v", at)
		}
		// Replay brings it back.
		again := c.target
		again.Requeued = time.Now().UnixMilli()
		c.do(func() { c.update(again) })
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(states.dead) != 0 || len(states.aside) != 1 {
			t.Errorf("after the replay: dead %v, set aside %v", states.dead, states.aside)
		}
	})
}

// TestFailuresAtRandom: the order holds whatever fails, also when the worker, the connection to Redis or the answer is
// lost. Twice comes at most what a lost answer was about, and what a worker had read that lost its shard.
func TestFailuresAtRandom(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		for _, size := range []int{1, 10} {
			t.Run(fmt.Sprint(seed, " batch ", size), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					rnd := rand.New(rand.NewPCG(seed, 1))
					var mu sync.Mutex
					took, states := newTaken(), newFakeStates()
					var again atomic.Int64
					tail := newFakeTail(t.Context(), events.MetaKey(0), 20, 10*time.Minute)
					target := testTarget()
					target.Batch = size
					c := testCourier(t, target, tail, states, func(_ context.Context, r request) answer {
						mu.Lock()
						p, d := rnd.Float64(), rnd.IntN(30)
						mu.Unlock()
						time.Sleep(time.Duration(d) * time.Millisecond)
						switch {
						case p < 0.05:
							return refused("status_500")
						case p < 0.06: // it took the request, and the answer is lost
							took.take(r.body)
							again.Add(int64(strings.Count(string(r.body), `"wamid":"`)))
							return refused("no_answer")
						}
						took.take(r.body)
						return answer{}
					})
					for i := range 30 {
						time.Sleep(20 * time.Second)
						states.mu.Lock()
						states.err = nil
						if i%5 == 1 {
							states.err = context.DeadlineExceeded
						}
						tail.fail(states.err)
						states.mu.Unlock()
						if i%3 == 2 { // another worker takes the shard over
							again.Add(windowEvents)
							c.do(func() {
								c.drop(0)
								c.add(0, newLease(time.Now().Add(1000*time.Hour)))
							})
						}
					}
					time.Sleep(3 * time.Hour)
					synctest.Wait()
					took.check(t, tail.written())
					if len(states.dead) > 0 || len(states.aside) > 0 {
						t.Errorf("dead %d, set aside %d", len(states.dead), len(states.aside))
					}
					if took.twice == 0 || took.twice > int(again.Load()) {
						t.Errorf("%d events came again, want 1 to %d", took.twice, again.Load())
					}
				})
			})
		}
	}
}
