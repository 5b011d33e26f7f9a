package bench

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// rowsOf makes a short run with this name.
func rowsOf(t *testing.T, name string, o Options) []Row {
	t.Helper()
	var rows []Row
	if err := Run(t.Context(), name, options(t, o), func(r Row) { rows = append(rows, r) }); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t)
	return rows
}

// positive fails when a figure of a row is absent or not above 0.
func positive(t *testing.T, row Row, names ...string) {
	t.Helper()
	have := map[string]float64{}
	row.figures(func(name string, v float64) { have[name] = v })
	for _, name := range names {
		if have[name] <= 0 {
			t.Errorf("%s: %s is %v", row.Case, name, have[name])
		}
	}
}

func TestCold(t *testing.T) {
	o := options(t, Options{Duration: 30 * time.Second})
	row, err := coldOnce(t.Context(), o, Row{Rate: unlimited, Workers: 2, Numbers: 3, Backlog: 400, Durability: Relaxed})
	if err != nil {
		t.Fatal(err)
	}
	positive(t, row, "messages_per_second", "redis_cpu_us", "go_cpu_us", "redis_commands_per_message", "resident_mb")
	row, err = drainAsynq(t.Context(), o, row, AsynqSettings{Servers: 1, Concurrency: 10, Queues: map[string]int{"bulk": 1}}, toFarSide)
	if err != nil {
		t.Fatal(err)
	}
	positive(t, row, "messages_per_second", "redis_commands_per_message")
	nothingLeft(t)
}

func TestLife(t *testing.T) {
	rows := rowsOf(t, "life", Options{Backlog: 100, Numbers: 3, Rounds: 1, Duration: 30 * time.Second})
	if len(rows) != len(lifeSteps)+2 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	commands := 0.0
	for i, row := range rows {
		positive(t, row, "redis_cpu_us", "redis_commands_per_message")
		switch {
		case i < len(lifeSteps):
			commands += *row.Commands
		case row.Case == wholeLife:
			positive(t, row, "baseline_redis_cpu_us", "redis_cpu_ratio")
			if d := *row.Commands - commands; d > 0.01 || d < -0.01 {
				t.Errorf("a whole life makes %v commands, its steps %v", *row.Commands, commands)
			}
		case ours(row):
			t.Errorf("%s is no baseline", row.Case)
		}
	}
}

func TestForeign(t *testing.T) {
	rows := rowsOf(t, "foreign", Options{Rate: 40, Workers: 2, Duration: 2 * time.Second})
	if len(rows) != 1 {
		t.Fatalf("%+v", rows)
	}
	positive(t, rows[0], "utilisation", "far_side_max_window", "max_window", "messages_per_second")
}

// TestRelay makes a short run: all events arrive, and the phases are compared.
func TestRelay(t *testing.T) {
	o := options(t, Options{Rate: 100, Duration: 3 * time.Second, Rounds: 1})
	rows, err := relayedIn(t.Context(), o, []phase{
		{works, targetWorks, targetWorks, time.Second}, {"fails", targetFails, targetFails, 500 * time.Millisecond}, {works, targetWorks, targetWorks, time.Second},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 {
		t.Fatalf("%+v", rows)
	}
	positive(t, rows[0], "p50_ms", "p99_ms")
	positive(t, rows[1], "p50_ms", "p99_ms", "p99_ratio")
	nothingLeft(t)
}

func TestInstructions(t *testing.T) {
	if testing.Short() {
		t.Skip("valgrind is slow")
	}
	o := options(t, Options{Duration: time.Second})
	rows, err := instructionsOf(t.Context(), o, Row{Rate: unlimited, Workers: 1, Numbers: 1, Backlog: 8, Durability: Relaxed}, 4)
	if errors.Is(err, errMissing) {
		t.Skip(err)
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 6 {
		t.Fatalf("%d rows: %+v", len(rows), rows)
	}
	for _, row := range rows {
		if called("accept")(row) { // the others are a difference, which is noise for so few messages
			positive(t, row, "redis_instructions", "redis_commands_per_message")
		}
		if row.Instructions == nil {
			t.Errorf("%s: no instructions", row.Case)
		}
	}
	nothingLeft(t)
}

// TestWithoutPrograms: if a program is not installed, the error names it and says what to do.
func TestWithoutPrograms(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for name, want := range map[string]string{"instructions": "Install your system's valgrind package", "peers": "make bench-peers"} {
		err := Run(t.Context(), name, Options{}, nil)
		if !errors.Is(err, errMissing) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPeersWithoutPackages(t *testing.T) {
	bin := t.TempDir()
	if err := os.WriteFile(filepath.Join(bin, "node"), []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin)
	folder := t.TempDir()
	if err := Run(t.Context(), "peers", Options{Peers: folder}, nil); !errors.Is(err, errMissing) || !strings.Contains(err.Error(), folder) {
		t.Errorf("%v", err)
	}
}

// TestPeersFigures: Sluice is compared with the faster BullMQ of the same round.
func TestPeersFigures(t *testing.T) {
	t.Parallel()
	row := func(what string, rate float64) Row {
		return Row{Case: what, PerSecond: new(rate), RedisCPU: new(1e6 / rate)}
	}
	rows := ranked([][]Row{
		{row("bullmq: x", 100), row("bullmq: x", 400)},
		{row("bullmq: x", 200), row("bullmq: x", 300)},
		{row("ours", 100), row("ours", 300)},
	})
	if len(rows) != 3 || *rows[0].PerSecond != 250 || rows[0].Ratio != nil {
		t.Fatalf("%+v", rows)
	}
	if r := rows[2]; *r.PerSecond != 200 || *r.Baseline != 300 || *r.Ratio != 0.625 || *r.CostRatio < 1.66 || *r.CostRatio > 1.67 {
		t.Errorf("%v of %v, ratio %v", *r.PerSecond, *r.Baseline, *r.Ratio)
	}
}

func TestTotals(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]float64{"events: Ir\n1 2\n\ntotals: 1234\n": 1234, "events: Ir\n": -1, "x\ntotals: 12": -1} {
		if n, ok := totals([]byte(text)); ok != (want >= 0) || ok && n != want {
			t.Errorf("%q: %v, %t", text, n, ok)
		}
	}
}

func TestMedian(t *testing.T) {
	t.Parallel()
	itself := func(f float64) float64 { return f }
	for _, c := range []struct {
		of   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 2, 9}, 3}} {
		if got := median(c.of, itself); got != c.want {
			t.Errorf("%v: %v, want %v", c.of, got, c.want)
		}
	}
}

// TestBeyondIdle: a step does not include what Redis does in any case.
func TestBeyondIdle(t *testing.T) {
	t.Parallel()
	idle := counts{instructions: 100, commands: map[string]command{"get": {calls: 10}}, trips: 4, took: 2 * time.Second}
	got := counts{instructions: 350, commands: map[string]command{"get": {calls: 8}, "set": {calls: 3}}, trips: 5, took: time.Second}.beyond(idle)
	if got.instructions != 300 || got.commands["get"].calls != 3 || got.commands["set"].calls != 3 || got.trips != 3 {
		t.Errorf("%+v", got)
	}
}
