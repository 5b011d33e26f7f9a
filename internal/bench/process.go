package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to stop: longer than a worker lets requests run.
const stopGrace = 35 * time.Second

// process is a child of ours.
type process struct {
	name  string
	addr  string // where it serves, host:port; empty: nowhere
	ops   string // its ops listener; empty: none
	cmd   *exec.Cmd
	out   *tail
	ended chan struct{} // closed when it has ended
}

// start starts a program in dir with the environment env and nothing else of ours.
func start(name, dir string, env []string, program string, args ...string) (*process, error) {
	p := &process{name: name, cmd: exec.Command(program, args...), out: new(tail), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.out
	apart(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait() // how it ended shows in what it printed
		close(p.ended)
	}()
	return p, nil
}

// ready waits until probe succeeds.
func (p *process) ready(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not ready within 30 s"))
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at once; it printed:\n%s", p.name, p.out)
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w; it printed:\n%s", p.name, context.Cause(ctx), err, p.out)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// alive returns what a process that has ended printed last, as an error.
func (p *process) alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended; it printed:\n%s", p.name, p.out)
	default:
		return nil
	}
}

// stop asks the process to end, and ends it when it does not.
func (p *process) stop() {
	p.cmd.Process.Signal(syscall.SIGTERM) // fails when it has ended
	select {
	case <-p.ended:
	case <-time.After(stopGrace):
		p.kill()
	}
}

// kill ends the process at once.
func (p *process) kill() {
	p.cmd.Process.Kill()
	<-p.ended
}

// ticks is the unit of /proc/<pid>/stat: USER_HZ, which Linux fixes at 100 for programs.
const ticks = 100

// cpu returns the processor time the process has used.
func (p *process) cpu() (time.Duration, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", p.name, err)
	}
	_, rest, _ := bytes.Cut(b, []byte(") ")) // the name before it may hold anything
	f := strings.Fields(string(rest))
	if len(f) < 13 {
		return 0, fmt.Errorf("processor time of %s: a short line", p.name)
	}
	user, _ := strconv.ParseInt(f[11], 10, 64)
	system, _ := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * time.Second / ticks, nil
}

// resident returns the process's resident memory in bytes.
func (p *process) resident() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.cmd.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.name, err)
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, fmt.Errorf("memory of %s: a short line", p.name)
	}
	pages, _ := strconv.ParseFloat(f[1], 64)
	return pages * float64(os.Getpagesize()), nil
}

// tail keeps the last of what a process prints.
type tail struct {
	mu  sync.Mutex
	buf []byte
}

func (t *tail) Write(p []byte) (int, error) {
	const most = 4 << 10
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf = append(t.buf, p...)
	if len(t.buf) > 2*most {
		t.buf = append(t.buf[:0], t.buf[len(t.buf)-most:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return string(t.buf)
}

// freeAddr returns a loopback address at which nobody listens.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// dials is a probe: somebody listens at addr.
func dials(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
