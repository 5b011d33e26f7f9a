package canary

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"sluice/client"
)

const number = "106540352242922"

// api answers like the API of Sluice. It has no network, so that tests decide about the time.
type api struct {
	mu     sync.Mutex
	known  map[string]time.Time // by idempotency key, when it was accepted
	sent   []client.Message     // of each request
	fate   []step               // of each message that is accepted
	refuse bool
}

// step is a state of a message, from a time after its acceptance on.
type step struct {
	after time.Duration
	state client.State
}

// well is the life of a message that arrives.
var well = []step{{0, client.StateQueued}, {time.Second, client.StateAttempting}, {2 * time.Second, client.StateSubmitted}, {3 * time.Second, client.StateSent}, {5 * time.Second, client.StateDelivered}}

func (a *api) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	answer := func(status int, body any) (*http.Response, error) {
		text, err := json.Marshal(body)
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(string(text))), Request: r}, err
	}
	if a.refuse {
		return answer(403, client.Problem{Code: "scope_missing", Detail: "The API key may not send."})
	}
	id := strings.TrimPrefix(r.URL.Path, "/v1/messages/")
	switch {
	case r.Method == http.MethodPost:
		var m client.Message
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			return nil, err
		}
		a.sent = append(a.sent, m)
		_, duplicate := a.known[m.Key]
		if !duplicate {
			a.known[m.Key] = time.Now()
		}
		return answer(202, client.Accepted{ID: m.Key, State: client.StateQueued, Duplicate: duplicate})
	case strings.HasSuffix(id, "/explain"):
		return answer(200, client.Explanation{Rule: "hold", Detail: "The number is held."})
	}
	rec := client.Record{AcceptedAt: a.known[id]}
	for _, s := range a.fate {
		if at := a.known[id].Add(s.after); !at.After(time.Now()) {
			rec.State, rec.Final = s.state, s.state == client.StateFailed
			rec.Timeline = append(rec.Timeline, client.Step{At: at, State: s.state})
		}
	}
	if rec.Final {
		code := 131026
		rec.Reason, rec.Error = "reported", client.MetaError{Code: &code, Title: "Message undeliverable", Advice: "Ask the recipient."}
	}
	return answer(200, rec)
}

func newAPI() *api { return &api{known: map[string]time.Time{}, fate: well} }

func (a *api) client() *client.Client {
	return client.New("http://sluice", "key", client.WithHTTPClient(&http.Client{Transport: a}))
}

// keys returns the idempotency keys of all requests.
func (a *api) keys() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var keys []string
	for _, m := range a.sent {
		keys = append(keys, m.Key)
	}
	return keys
}

func (a *api) set(change func(*api)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change(a)
}

func TestProbe(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		change  func(*api)
		reached string // the steps, with their seconds
		missing Step
		says    []string
	}{
		"delivered": {func(*api) {}, "accepted 0, attempting 1, submitted 2, sent 3, delivered 5", "", nil},
		"never reported as sent": {
			func(a *api) { a.fate = slices.Concat(well[:3], []step{{4 * time.Second, client.StateRead}}) },
			"accepted 0, attempting 1, submitted 2, delivered 4", "", nil,
		},
		"refused first": {func(a *api) {
			a.fate = slices.Concat(well[:2], []step{{2 * time.Second, client.StateQueued}, {3 * time.Second, client.StateAttempting}, {4 * time.Second, client.StateSubmitted}, {5 * time.Second, client.StateDelivered}})
		}, "accepted 0, attempting 1, submitted 4, delivered 5", "", nil},
		"failed": {
			func(a *api) { a.fate = slices.Concat(well[:3], []step{{4 * time.Second, client.StateFailed}}) },
			"accepted 0, attempting 1, submitted 2", Sent,
			[]string{"the step sent (Meta reported that it sent the message) did not come: the message is failed, reason reported. Meta's code 131026: Message undeliverable. Ask the recipient. `sluice explain`"},
		},
		"parked":        {func(a *api) { a.fate = slices.Concat(well[:2], []step{{3 * time.Second, client.StateParked}}) }, "accepted 0, attempting 1", Submitted, []string{"the message is parked"}},
		"held":          {func(a *api) { a.fate = well[:1] }, "accepted 0", Attempting, []string{"too late. It waits for (hold): The number is held. `sluice holds`"}},
		"phone off":     {func(a *api) { a.fate = well[:4] }, "accepted 0, attempting 1, submitted 2, sent 3", Delivered, []string{"too late", "phone is switched on"}},
		"not permitted": {func(a *api) { a.refuse = true }, "", Accepted, []string{"the step accepted (Sluice stored the message) did not come: 403 scope_missing: The API key may not send. Check the URL of the API"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				a := newAPI()
				tt.change(a)
				ctx, cancel := context.WithTimeoutCause(t.Context(), 30*time.Second, fmt.Errorf("too late"))
				defer cancel()
				var reported []string
				r := Probe(ctx, a.client(), Message(number, Content("+15551234567", "", "hi"), "k", time.Now().Add(time.Minute)), func(r Reached) {
					reported = append(reported, fmt.Sprintf("%s %g", r.Step, r.Seconds))
				})
				if got := strings.Join(reported, ", "); got != tt.reached || len(r.Reached) != len(reported) {
					t.Errorf("reached %q and %v, want %q", got, r.Reached, tt.reached)
				}
				if r.Missing != tt.missing || (r.Problem == "") != (tt.missing == "") {
					t.Errorf("missing %q (%s), want %q", r.Missing, r.Problem, tt.missing)
				}
				for _, text := range tt.says {
					if !strings.Contains(r.Error(), text) {
						t.Errorf("%q has no %q", r.Error(), text)
					}
				}
			})
		})
	}
}

// start runs a producer's canaries, and returns its metrics and what kills it.
func start(t *testing.T, a *api, offset time.Duration, canaries ...Canary) (reg *prometheus.Registry, kill func()) {
	t.Helper()
	reg = prometheus.NewRegistry()
	r := New(Options{API: a.client(), Canaries: canaries, Offset: func() time.Duration { return offset }, Log: slog.New(slog.DiscardHandler), Registerer: reg})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	return reg, sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

var minutely = Canary{PhoneNumberID: number, Content: Content("+15551234567", "hello_world/en_US", ""), Every: time.Minute, Within: 30 * time.Second}

// TestOneCanaryAtATime: two producers send one canary a minute together. When one of them is killed, in the middle of a canary,
// the other one goes on, and no canary is missing.
func TestOneCanaryAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI()
		_, killFirst := start(t, a, 0, minutely)
		defer killFirst()
		reg, kill := start(t, a, 0, minutely)
		defer kill()
		for len(a.keys()) < 6 {
			time.Sleep(time.Second)
		}
		killFirst()
		time.Sleep(3 * time.Minute)
		keys := a.keys()
		if len(keys) != 9 || len(a.known) != 6 {
			t.Fatalf("%d requests for %d canaries, want 9 for 6: %q", len(keys), len(a.known), keys)
		}
		m := a.sent[0]
		if m.Class != client.ClassAuthentication || !slices.Equal(m.Tags, []string{"canary"}) || m.ExpiresAt.Sub(a.known[m.Key]) != 30*time.Second {
			t.Errorf("it sends %+v, accepted at %s", m, a.known[m.Key])
		}
		want := fmt.Sprintf(`
# HELP sluice_canary_consecutive_failures %[2]s
# TYPE sluice_canary_consecutive_failures gauge
sluice_canary_consecutive_failures{phone_number_id="%[1]s",step="accepted"} 0
sluice_canary_consecutive_failures{phone_number_id="%[1]s",step="attempting"} 0
sluice_canary_consecutive_failures{phone_number_id="%[1]s",step="delivered"} 0
sluice_canary_consecutive_failures{phone_number_id="%[1]s",step="sent"} 0
sluice_canary_consecutive_failures{phone_number_id="%[1]s",step="submitted"} 0
# HELP sluice_canary_duration_seconds %[3]s
# TYPE sluice_canary_duration_seconds gauge
sluice_canary_duration_seconds{phone_number_id="%[1]s",step="attempting"} 1
sluice_canary_duration_seconds{phone_number_id="%[1]s",step="delivered"} 5
sluice_canary_duration_seconds{phone_number_id="%[1]s",step="sent"} 3
sluice_canary_duration_seconds{phone_number_id="%[1]s",step="submitted"} 2
`, number, consecutiveHelp, durationHelp)
		if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "sluice_canary_consecutive_failures", "sluice_canary_duration_seconds"); err != nil {
			t.Error(err)
		}
		if problems, err := testutil.GatherAndLint(reg); err != nil || len(problems) > 0 {
			t.Errorf("lint: %v, %v", problems, err)
		}
	})
}

// TestSharedClock: the moments follow the clock of Redis, whatever the clocks of the producers show. A canary leaves 40 s
// later on a machine whose clock is 40 s ahead of it.
func TestSharedClock(t *testing.T) {
	t.Parallel()
	for _, offset := range []time.Duration{0, -40 * time.Second, 1000 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			a := newAPI()
			_, kill := start(t, a, offset, minutely)
			defer kill()
			for len(a.keys()) == 0 {
				time.Sleep(time.Millisecond)
			}
			shared := time.Now().Add(offset)
			if late := shared.Sub(next(shared.Add(-time.Second), minutely)); late < 0 || late > 2*time.Millisecond {
				t.Errorf("with an offset of %s it leaves %s after its moment", offset, late)
			}
			if left := a.sent[0].ExpiresAt.Sub(shared); left < 29*time.Second || left > 30*time.Second {
				t.Errorf("with an offset of %s it expires after %s", offset, left)
			}
		})
	}
}

// TestFailuresInARow: failures at the same step count up, and a failure at another step and a success begin anew.
func TestFailuresInARow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI()
		a.fate = well[:3] // webhooks do not come
		reg, kill := start(t, a, 0, minutely)
		defer kill()
		row := func(step Step, want float64) {
			t.Helper()
			if got := value(t, reg, "sluice_canary_consecutive_failures", step); got != want {
				t.Errorf("%g failures in a row at the step %s, want %g", got, step, want)
			}
		}
		for value(t, reg, "sluice_canary_failures_total", Sent) < 2 {
			time.Sleep(time.Second)
		}
		row(Sent, 2)
		a.set(func(a *api) { a.refuse = true })
		time.Sleep(time.Minute)
		row(Sent, 0)
		row(Accepted, 1)
		a.set(func(a *api) { a.refuse, a.fate = false, well })
		time.Sleep(time.Minute)
		row(Accepted, 0)
		if got := value(t, reg, "sluice_canary_failures_total", Sent) + value(t, reg, "sluice_canary_failures_total", Accepted); got != 3 {
			t.Errorf("%g failures, want 3", got)
		}
		if got := value(t, reg, "sluice_canary_last_success_timestamp_seconds", ""); float64(time.Now().Unix())-got > 60 {
			t.Errorf("the last success was at %g, want within the last minute", got)
		}
	})
}

// TestAStopIsNoFailure: a canary that is under way when the producer stops counts as nothing.
func TestAStopIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		a := newAPI()
		a.fate = well[:1]
		reg, kill := start(t, a, 0, minutely)
		for len(a.keys()) == 0 {
			time.Sleep(time.Second)
		}
		kill()
		for _, s := range Steps() {
			if got := value(t, reg, "sluice_canary_failures_total", s); got != 0 {
				t.Errorf("%g failures at the step %s", got, s)
			}
		}
	})
}

// value returns the value of a series of the number.
func value(t *testing.T, reg *prometheus.Registry, name string, step Step) float64 {
	t.Helper()
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (step == "" || m.GetLabel()[1].GetValue() == string(step)) {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no series of %s", name)
	return 0
}

// TestMoments: the canaries of numbers are spread over the interval, and each number keeps its moments.
func TestMoments(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_800_000_000_123)
	moments := map[time.Duration]bool{}
	for i := range 100 {
		c := Canary{PhoneNumberID: fmt.Sprint(i), Every: 15 * time.Minute}
		first := next(now, c)
		if wait := first.Sub(now); wait <= 0 || wait > c.Every || next(first, c).Sub(first) != c.Every || !next(first.Add(-1), c).Equal(first) {
			t.Fatalf("number %d: after %s, then after %s", i, wait, next(first, c).Sub(first))
		}
		moments[first.Sub(now)/(30*time.Second)] = true
	}
	if len(moments) < 20 {
		t.Errorf("100 numbers use only %d of 30 parts of the interval", len(moments))
	}
}
