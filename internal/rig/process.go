package rig

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to stop: longer than a worker waits for its requests.
const stopGrace = 35 * time.Second

// Process is a child process. It is safe for concurrent use.
type Process struct {
	Name string
	Addr string // where it serves, host:port; empty: it does not serve
	Ops  string // its ops listener; empty: none
	Log  string // the file with all that it printed

	cmd   *exec.Cmd
	ended chan struct{}
}

// start starts a program in dir with the environment env. All that it prints goes to the file log.
func start(name, dir, log string, env []string, program string, args ...string) (*Process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	defer out.Close() // the child has its own
	p := &Process{Name: name, Log: log, cmd: exec.Command(program, args...), ended: make(chan struct{})}
	p.cmd.Dir, p.cmd.Env = dir, env
	p.cmd.Stdout, p.cmd.Stderr = out, out
	apart(p.cmd)
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	go func() {
		p.cmd.Wait() // what the process printed shows how it ended
		close(p.ended)
	}()
	return p, nil
}

// Ready waits until probe succeeds, 30 s at most.
func (p *Process) Ready(ctx context.Context, probe func(context.Context) error) error {
	ctx, cancel := context.WithTimeoutCause(ctx, 30*time.Second, errors.New("not ready within 30 s"))
	defer cancel()
	for {
		err := probe(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return fmt.Errorf("%s ended at once; it printed:\n%s", p.Name, p.Printed())
		case <-ctx.Done():
			return fmt.Errorf("%s: %w: %w; it printed:\n%s", p.Name, context.Cause(ctx), err, p.Printed())
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// Ended is closed when the process has ended.
func (p *Process) Ended() <-chan struct{} { return p.ended }

// Succeeded waits for the end of the process and reports whether its exit code was 0.
func (p *Process) Succeeded() bool {
	<-p.ended
	return p.cmd.ProcessState != nil && p.cmd.ProcessState.Success()
}

// Alive returns nil while the process runs. When it has ended, the error has what it printed last.
func (p *Process) Alive() error {
	select {
	case <-p.ended:
		return fmt.Errorf("%s ended; it printed:\n%s", p.Name, p.Printed())
	default:
		return nil
	}
}

// Stop sends SIGTERM and waits until the process ends. If it does not end, Stop sends SIGQUIT, which prints what
// its goroutines do, and then kills it.
func (p *Process) Stop() {
	if p.signalled(syscall.SIGTERM, stopGrace) || p.signalled(syscall.SIGQUIT, 5*time.Second) {
		return
	}
	p.Kill()
}

// signalled sends a signal and reports whether the process ended within this time.
func (p *Process) signalled(sig syscall.Signal, within time.Duration) bool {
	p.Signal(sig)
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}

// Kill ends the process at once.
func (p *Process) Kill() {
	p.Signal(syscall.SIGKILL)
	<-p.ended
}

// Signal sends the process a signal: SIGSTOP freezes it, SIGCONT wakes it. It has no effect on
// an ended process.
func (p *Process) Signal(sig syscall.Signal) { p.cmd.Process.Signal(sig) }

// PID is the process's id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// CPU returns the processor time the process has used, to the microsecond: a short test is done within a tick of
// /proc/<pid>/stat.
func (p *Process) CPU() (time.Duration, error) {
	used, err := processorTime(p.PID())
	if err != nil {
		return 0, fmt.Errorf("processor time of %s: %w", p.Name, err)
	}
	return used, nil
}

// Resident returns the process's resident memory in bytes.
func (p *Process) Resident() (float64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", p.PID()))
	if err != nil {
		return 0, fmt.Errorf("memory of %s: %w", p.Name, err)
	}
	f := strings.Fields(string(b))
	if len(f) < 2 {
		return 0, fmt.Errorf("memory of %s: a short line", p.Name)
	}
	pages, _ := strconv.ParseFloat(f[1], 64)
	return pages * float64(os.Getpagesize()), nil
}

// Printed returns the last of what the process printed.
func (p *Process) Printed() string {
	const most = 4 << 10
	f, err := os.Open(p.Log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if _, err := f.Seek(-most, io.SeekEnd); err != nil {
		f.Seek(0, io.SeekStart) // it is shorter
	}
	b, _ := io.ReadAll(f)
	return string(b)
}

// Dials returns a probe that succeeds when a program listens at addr.
func Dials(addr string) func(context.Context) error {
	return func(ctx context.Context) error {
		c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
		if err != nil {
			return err
		}
		return c.Close()
	}
}
