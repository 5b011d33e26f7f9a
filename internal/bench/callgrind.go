package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"

	"sluice/internal/rig"
)

// errMissing means that a run needs a program that is not installed. "all" leaves the run out.
var errMissing = errors.New("not installed")

// callgrind counts the instructions of a world's redis-server, which runs under valgrind. Unlike processor
// time they are the same on a busy machine and on an idle one. They do not include the work of the kernel.
type callgrind struct {
	*world
	dumps int
}

// newCallgrind starts an empty Redis under callgrind.
func newCallgrind(ctx context.Context, o Options, durability string) (*callgrind, error) {
	for _, program := range []string{"valgrind", "callgrind_control"} {
		if _, err := exec.LookPath(program); err != nil {
			return nil, fmt.Errorf("%s is %w. Install your system's valgrind package and run this again", program, errMissing)
		}
	}
	w, err := newWorldUnder(ctx, o, durability, func(g *rig.Rig) {
		g.RedisUnder = []string{
			"valgrind", "--tool=callgrind", "--vgdb-prefix=" + vgdb(g.Dir),
			"--callgrind-out-file=" + dumpFile(g.Dir), "--log-file=" + filepath.Join(g.Dir, "valgrind.log"),
		}
		// Without these, callgrind counts an instruction for each byte of a long copy.
		g.RedisEnv = []string{"GLIBC_TUNABLES=glibc.cpu.x86_rep_movsb_threshold=1000000000:glibc.cpu.x86_rep_stosb_threshold=1000000000"}
	})
	if err != nil {
		return nil, err
	}
	return &callgrind{world: w}, nil
}

func vgdb(dir string) string     { return filepath.Join(dir, "vgdb") }
func dumpFile(dir string) string { return filepath.Join(dir, "callgrind.out") }

// counted returns how many instructions Redis ran since the last call.
func (c *callgrind) counted(ctx context.Context) (float64, error) {
	c.dumps++
	out, err := exec.CommandContext(ctx, "callgrind_control", "--vgdb-prefix="+vgdb(c.Dir), "--dump=sluice", strconv.Itoa(c.Redis.PID())).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("callgrind_control: %w: %.500s", err, out)
	}
	file := dumpFile(c.Dir) + "." + strconv.Itoa(c.dumps)
	for deadline := time.Now().Add(30 * time.Second); ; {
		text, err := os.ReadFile(file)
		if n, ok := totals(text); ok {
			return n, os.Remove(file)
		}
		if time.Now().After(deadline) {
			return 0, fmt.Errorf("callgrind wrote no counts to %s: %w", file, err)
		}
		// A server that waits for its clients writes the counts when a client sends something.
		if err := errors.Join(c.db.Ping(ctx).Err(), pause(ctx, 20*time.Millisecond)); err != nil {
			return 0, err
		}
	}
}

// totals reads the count in a dump of callgrind; false: the dump is not complete.
func totals(dump []byte) (float64, bool) {
	_, rest, found := bytes.Cut(dump, []byte("\ntotals: "))
	line, _, whole := bytes.Cut(rest, []byte("\n"))
	n, err := strconv.ParseFloat(string(bytes.TrimSpace(line)), 64)
	return n, found && whole && err == nil
}
