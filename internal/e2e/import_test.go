package e2e

import (
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sluice/client"
	"sluice/internal/buildtest"
	"sluice/internal/graphsim"
	"sluice/internal/poll"
)

// importRows is how many rows TestImportKilledTwice imports: those of SLUICE_TEST_IMPORT_ROWS.
func importRows(t *testing.T) int {
	if text := os.Getenv("SLUICE_TEST_IMPORT_ROWS"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	return 900
}

// TestImportKilledTwice: `sluice import` is killed twice, then stopped, and then reaches the end of its rows. Meta gets each message once, and each
// row has one result.
func TestImportKilledTwice(t *testing.T) {
	t.Parallel()
	rows := importRows(t)
	w := setup(t, 1000, graphsim.Options{})
	if perMessage := 4 << 10; rows*perMessage > 512<<20 { // more than a Redis of tests has
		if err := w.redis.admin.ConfigSet(t.Context(), "maxmemory", strconv.Itoa(rows*perMessage)).Err(); err != nil {
			t.Fatal(err)
		}
	}
	var memory atomic.Int64 // KB that an import used at most
	bin := buildtest.Programs(t)
	results := filepath.Join(t.TempDir(), "results.csv")
	// begin starts an import of the first n rows. Its input stays open.
	begin := func(n int) *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), filepath.Join(bin, "sluice"), "import", "-", "--results", results, "--to", "+{{phone}}", "--text", "Hello {{name}}", "--campaign", "spring", "--from", numbers[0])
		cmd.Env = append(os.Environ(), "SLUICE_API="+w.api.String(), "SLUICE_API_KEY="+apiKey)
		cmd.Stderr = t.Output()
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		go watchMemory(cmd.Process.Pid, &memory)
		go func() { // it ends with the import
			var text strings.Builder
			text.WriteString("name;phone\n")
			for i := range n {
				fmt.Fprintf(&text, "\"Ada \"\"%d\"\"\";1555%07d\n", i, i)
				if i == n-1 || text.Len() > 32<<10 {
					io.WriteString(in, text.String())
					text.Reset()
				}
			}
			if n == rows {
				in.Close()
			}
		}()
		return cmd
	}
	accepted := func() int {
		c, err := w.api.Campaign(t.Context(), "", "spring")
		if err != nil && !strings.Contains(err.Error(), "not_found") {
			t.Fatal(err)
		}
		return c.Messages
	}
	w.worker()
	for part, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGKILL, syscall.SIGTERM} {
		n := rows * (part + 1) / 4
		cmd := begin(n + rows/10) // so that it is busy then
		// A million take longer than a poll may.
		for step := 0; step < n; {
			step = min(step+max(rows/100, 100), n)
			poll.Until(t, fmt.Sprint(step, " messages are accepted"), func() bool { return accepted() >= step })
		}
		cmd.Process.Signal(signal)
		cmd.Wait()
		t.Logf("%d rows, then %s: %d KB of memory at most", n, signal, memory.Load())
	}
	start, before := time.Now(), lineCount(t, results)
	cmd := begin(rows)
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	t.Logf("the last run: %d of %d rows in %s, %d KB of memory at most", rows+1-before, rows, time.Since(start).Round(time.Millisecond), memory.Load())
	if most := int64(80<<10 + rows*64/1024); memory.Load() == 0 || memory.Load() > most {
		t.Errorf("the import used %d KB of memory, want at most %d", memory.Load(), most)
	}

	file, err := os.Open(results)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	all, err := csv.NewReader(file).ReadAll()
	if err != nil || len(all) != rows+1 {
		t.Fatalf("%d lines in the file of results, %v", len(all), err)
	}
	ids, lines := map[string]bool{}, map[string]bool{}
	for _, r := range all[1:] {
		if r[3] != "accepted" && r[3] != "duplicate" {
			t.Errorf("result %q", r)
		}
		lines[r[0]], ids[r[2]] = true, true
	}
	if len(ids) != rows || len(lines) != rows || accepted() != rows {
		t.Errorf("%d ids, %d lines, %d messages, want %d of each", len(ids), len(lines), accepted(), rows)
	}
	for queued := rows; queued > 0; {
		poll.Until(t, "messages are sent", func() bool {
			c, err := w.api.Campaign(t.Context(), "", "spring")
			if err != nil || c.States[client.StateQueued] >= queued {
				return false
			}
			queued = c.States[client.StateQueued]
			return true
		})
	}
	seen := map[string]int{}
	for _, a := range w.sim.Accepted() {
		if seen[a.To]++; seen[a.To] > 1 {
			t.Errorf("Meta has %d messages to %s", seen[a.To], a.To)
		}
	}
	if len(seen) != rows {
		t.Errorf("Meta has messages to %d recipients, want %d", len(seen), rows)
	}
}

// watchMemory sets how much memory a process used at most, in KB, until it ends. Its Rusage would include what this process had when it started it.
func watchMemory(pid int, most *atomic.Int64) {
	name := fmt.Sprintf("/proc/%d/status", pid)
	for every := time.NewTicker(20 * time.Millisecond); ; <-every.C {
		text, err := os.ReadFile(name)
		if err != nil {
			return
		}
		for line := range strings.Lines(string(text)) {
			if cells := strings.Fields(line); len(cells) == 3 && cells[0] == "VmHWM:" {
				if n, err := strconv.ParseInt(cells[1], 10, 64); err == nil {
					most.Store(max(n, most.Load()))
				}
			}
		}
	}
}

// lineCount returns the number of lines of a file.
func lineCount(t *testing.T, name string) int {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}
