package bench

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sluice/internal/buildtest"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
	"sluice/internal/redistest"
	"sluice/internal/rig"
)

func TestOptionsOutOfBounds(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"rate":       {Rate: maxRate + 1},
		"workers":    {Workers: -1},
		"backlog":    {Backlog: maxBacklog + 1},
		"duration":   {Duration: time.Hour},
		"durability": {Durability: "always"},
	} {
		if err := Run(t.Context(), "pace", o, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := Run(t.Context(), "speed", Options{}, nil); err == nil || !strings.Contains(err.Error(), "pace, clients") {
		t.Errorf("unknown run: %v", err)
	}
}

func TestWithoutRedis(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	err := Run(t.Context(), "pace", Options{}, nil)
	if err == nil || !strings.Contains(err.Error(), "redis-server is not installed") {
		t.Errorf("%v", err)
	}
}

// TestContent: the simulator accepts the messages of load runs. Each has another recipient.
func TestContent(t *testing.T) {
	t.Parallel()
	a, to := messageObject(7)
	_, other := messageObject(8)
	var object struct{ To, Type string }
	if err := json.Unmarshal(a, &object); err != nil || object.To != to || object.Type != "template" || to == other {
		t.Errorf("%+v to %s and %s, %v", object, to, other, err)
	}
}

// options returns the options of a run in this test, with a folder for its files.
func options(t *testing.T, o Options) Options {
	t.Setenv("TMPDIR", redistest.Dir(t))
	o.Program, o.Log = filepath.Join(buildtest.Programs(t), "sluice"), t.Output()
	return o
}

// nothingLeft fails when a run left files.
func nothingLeft(t *testing.T) {
	t.Helper()
	if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "sluice-rig-*")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestPace makes a short run and checks which figures it reports, not how fast it was.
func TestPace(t *testing.T) {
	var rows []Row
	o := options(t, Options{Rate: 40, Workers: 2, Backlog: 500, Duration: 2 * time.Second, Profiles: t.TempDir()})
	if err := Run(t.Context(), "pace", o, func(r Row) { rows = append(rows, r) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	if len(rows) != 3 {
		t.Fatalf("%d rows, want the limit, half of it, and asynq: %+v", len(rows), rows)
	}
	for i, row := range rows {
		if row.Bench != "pace" || row.Workers != 2 || row.Numbers != 1 || row.Durability != Relaxed || row.Rate != []int{40, 20, 40}[i] {
			t.Errorf("row %d is about something else: %+v", i, row)
		}
		for name, f := range map[string]*float64{
			"utilisation": row.Utilisation, "messages per second": row.PerSecond, "dequeues": row.Dequeues,
			"the simulator's window": row.SimWindow, "Redis's commands": row.Commands, "Redis's time": row.RedisCPU, "the programs' time": row.GoCPU,
		} {
			// In such a short time asynq's recipe may send nothing.
			if f == nil || *f <= 0 && ours(row) {
				t.Errorf("row %d: no %s", i, name)
			}
		}
		if row.Throttled == nil {
			t.Errorf("row %d: no word of throttling", i)
		}
		if ours(row) && (row.WindowsOver == nil || row.OurWindow == nil || *row.OurWindow <= 0 || row.Trips == nil || *row.Trips <= 0) {
			t.Errorf("row %d: no windows or no round trips of ours: %+v", i, row)
		}
	}
	for _, name := range []string{"pace-40-worker-0.pprof", "pace-40-worker-1.pprof", "pace-40-redis.txt"} {
		if text, err := os.ReadFile(filepath.Join(o.Profiles, name)); err != nil || len(text) == 0 {
			t.Errorf("%s: %d bytes, %v", name, len(text), err)
		}
	}
}

// TestWholeLife: in the run that measures final records, the webhooks arrive and are applied.
func TestWholeLife(t *testing.T) {
	o := options(t, Options{Duration: 10 * time.Second})
	row, err := memoryFinal(t.Context(), o, Row{Rate: unlimited, Workers: 1, Numbers: 2, Backlog: 200, Durability: Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	if row.BytesFinal == nil || *row.BytesFinal <= 0 || row.RedisCPU == nil || row.GoCPU == nil {
		t.Errorf("%+v", row)
	}
	nothingLeft(t)
}

// TestABacklogIsWeighedAndDrained: a backlog is measured and drained after the events of its loading are read.
func TestABacklogIsWeighedAndDrained(t *testing.T) {
	o := options(t, Options{Duration: 10 * time.Second})
	row, err := memoryOnce(t.Context(), o, Row{Rate: unlimited, Workers: 1, Numbers: 2, Backlog: 200, Durability: Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	if row.BytesWaiting == nil || *row.BytesWaiting <= 0 || row.PerSecond == nil || *row.PerSecond <= 0 {
		t.Errorf("%+v", row)
	}
	nothingLeft(t)
}

// TestEndsEarly: when the caller ends a run, all processes end and all files are removed.
func TestEndsEarly(t *testing.T) {
	o := options(t, Options{Durability: Relaxed})
	ctx, stop := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	w, err := newWorld(ctx, o, Relaxed)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.simulate(ctx, 0, ""); err != nil {
		t.Fatal(err)
	}
	stop(enough)
	if _, _, err := w.arrivals(ctx, 1, time.Minute); err == nil {
		t.Error("waits on for messages")
	}
	children := w.Children()
	w.close()
	for _, p := range children {
		select {
		case <-p.Ended():
		default:
			t.Errorf("%s runs on", p.Name)
		}
	}
	nothingLeft(t)
	if err := pause(ctx, time.Minute); !errors.Is(err, enough) {
		t.Errorf("pause: %v", err)
	}
}

// TestAPartThatCannotStart: the error has what the part printed.
func TestAPartThatCannotStart(t *testing.T) {
	o := options(t, Options{})
	w, err := newWorld(t.Context(), o, Fsync)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	taken := w.Redis.Addr
	if _, err := w.Part("simulate", nil, taken, "{}"); err != nil {
		t.Fatal(err)
	}
	p := w.Children()[len(w.Children())-1]
	select {
	case <-p.Ended():
	case <-time.After(poll.Limit):
		t.Fatal("a simulator without a port runs on")
	}
	if err := p.Alive(); err == nil || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("%v", err)
	}
	if _, err := w.program(t.Context(), "worker"); err == nil || !strings.Contains(err.Error(), "sluice.yaml") {
		t.Errorf("a worker without its configuration: %v", err)
	}
}

// TestPostsAreCounted: each answer counts once, and a wrong one is an error.
// TestSerials: each posted line has another serial.
func TestSerials(t *testing.T) {
	t.Parallel()
	r := batchOf(3, "host", "/", map[string]string{}, []byte(`{"ref":"order-`+serial+`"}`))
	size, seen := len(r.wire), map[string]bool{}
	for range 2 {
		r.renew()
		for _, ref := range regexp.MustCompile(`order-\d{10}"`).FindAllString(string(r.wire), -1) {
			seen[ref] = true
		}
	}
	if len(seen) != 6 || len(r.wire) != size {
		t.Errorf("%v in %q", seen, r.wire)
	}
}

func TestPostsAreCounted(t *testing.T) {
	o := options(t, Options{})
	w, err := newWorld(t.Context(), o, Relaxed)
	if err != nil {
		t.Fatal(err)
	}
	defer w.close()
	if err := w.simulate(t.Context(), 0, ""); err != nil {
		t.Fatal(err)
	}
	object, _ := messageObject(1)
	body := []byte(`{"messaging_product":"whatsapp",` + string(object[1:]))
	header := map[string]string{"Authorization": "Bearer " + rig.Token}
	r := newRequest(w.Sim.Addr, "/v25.0/1/messages", header, body, 200)
	a, err := post(t.Context(), w.Sim.Addr, r, 3, 5, time.Minute)
	if err != nil || len(a.took) != 15 || a.perSecond() <= 0 {
		t.Errorf("%d answers, %v", len(a.took), err)
	}
	var seen graphsim.Stats
	if seen, err = w.Stats(t.Context()); err != nil || seen.Accepted != 15 {
		t.Errorf("%+v, %v", seen, err)
	}
	if _, err := post(t.Context(), w.Sim.Addr, newRequest(w.Sim.Addr, "/", header, body, 200), 1, 1, time.Minute); err == nil {
		t.Error("a wrong answer passes")
	}
}

// TestClients makes a short run and checks that each client that was added sent its message.
func TestClients(t *testing.T) {
	var rows []Row
	o := options(t, Options{Rate: 40, Workers: 2, Duration: time.Second})
	if err := Run(t.Context(), "clients", o, func(r Row) { rows = append(rows, r) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	if len(rows) != 3 || rows[1].Case != addedClients {
		t.Fatalf("%d rows, want those before, while and after clients are added: %+v", len(rows), rows)
	}
	if row := rows[1]; row.P50 == nil || *row.P50 <= 0 || row.P99 == nil || *row.P99 < *row.P50 || row.WindowsOver == nil || row.Ratio == nil {
		t.Errorf("figures are missing: %+v", row)
	}
}
