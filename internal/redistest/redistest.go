// Package redistest hands a test an empty real Redis (one server, a Sentinel set-up, a Cluster)
// and takes it back at the test's end.
package redistest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/logging"

	"sluice/internal/ports"
)

// The client of Redis reports each lost connection on standard error. Tests kill servers all the time, and what matters
// comes back to them as an error.
func init() { logging.Disable() }

// Settings are the durability settings that Sluice asks of a Redis that keeps its promises.
var Settings = []string{
	"--appendonly", "yes", "--appendfsync", "always",
	"--maxmemory", "512mb", "--maxmemory-policy", "noeviction", "--save", "",
}

// Server is a redis-server of one test's own.
type Server struct {
	Addr string // host:port

	t      testing.TB
	dir    string
	args   []string
	secure bool                 // it speaks TLS only, and the user admin may do everything
	ask    func() *redis.Client // the client by which this package asks it
	bus    string               // the port for other nodes of a Cluster, empty outside one
	mu     sync.Mutex
	cmd    *exec.Cmd
	out    *bytes.Buffer
}

// Start runs a redis-server on a free loopback port with Settings, and further arguments
// that override them. It fails the test when there is none to run.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	return start(t, "", append(append([]string{}, Settings...), args...), "")
}

// start runs a redis-server with arguments, or with a configuration file that names all but
// its port and folder. With users, the lines of an ACL file, it is secured.
func start(t testing.TB, config string, args []string, users string) *Server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Fatal("redis-server is not installed: run the tests by `make test`, which installs it, or install your system's redis-server package")
	}
	dir := Dir(t)
	s := &Server{Addr: freeAddr(t), t: t, dir: dir, args: args}
	s.ask = sync.OnceValue(s.Client)
	if users != "" {
		if trusted == nil {
			t.Fatal("a secured server needs redistest.Trust in TestMain")
		}
		path := filepath.Join(dir, "users.acl")
		if err := os.WriteFile(path, []byte(users+"user admin on >"+Password+" ~* &* +@all\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		s.secure, s.args = true, append(trusted.args(path), args...)
	}
	if slices.Contains(args, "--cluster-enabled") {
		// The usual one, port + 10,000, may be that of an outgoing connection.
		_, s.bus, _ = net.SplitHostPort(freeAddr(t))
		s.args = append(slices.Clip(s.args), "--cluster-port", s.bus)
	}
	if config != "" {
		path := filepath.Join(dir, "redis.conf")
		if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		s.args = append([]string{path}, s.args...)
	}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() && s.out != nil {
			t.Logf("redis-server printed:\n%s", withoutBanner(s.out.String()))
		}
	})
	s.Restart()
	return s
}

// Dir creates a folder for data that must survive the end of a process, and not the end of the machine. It is removed when the
// test ends. It is in memory if there is 1 GB of space: there an fsync costs nothing, and a slow disk delays no test.
func Dir(t testing.TB) string {
	t.Helper()
	const memory = "/dev/shm"
	parent := ""
	if s := (syscall.Statfs_t{}); syscall.Statfs(memory, &s) == nil && s.Bavail*uint64(s.Bsize) > 1<<30 {
		parent = memory
	}
	dir, err := os.MkdirTemp(parent, "redistest-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// banner are parts of the lines that every redis-server prints at its start.
var banner = []string{
	"oO0OoO0OoO0Oo", "Redis version=", "Configuration loaded", "Running mode=", "monotonic clock:", "Server initialized", "Ready to accept connections",
	"WARNING Memory overcommit", "Creating AOF base file", "Creating AOF incr file", "AOF loaded",
}

// withoutBanner returns the lines of a redis-server that say more than that it runs.
func withoutBanner(out string) string {
	var rest strings.Builder
	for line := range strings.Lines(out) {
		if !slices.ContainsFunc(banner, func(part string) bool { return strings.Contains(line, part) }) {
			rest.WriteString(line)
		}
	}
	return rest.String()
}

// URL returns the address as a Redis URL.
func (s *Server) URL() string { return "redis://" + s.Addr }

// Restart starts the server again on its old data after Kill, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.mu.Lock()
	s.out = new(bytes.Buffer)
	listen := []string{"--port", port}
	if s.secure {
		listen = []string{"--port", "0", "--tls-port", port}
	}
	s.cmd = exec.Command("redis-server", slices.Concat(s.args, listen, []string{"--bind", "127.0.0.1", "--dir", s.dir})...)
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err := s.cmd.Start()
	s.mu.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	o := s.options()
	o.MaxRetries = -1
	c := redis.NewClient(o)
	defer c.Close()
	if err := untilAnswers(c); err != nil {
		s.t.Fatalf("redis-server at %s: %v", s.Addr, err)
	}
}

// Kill ends the server at once, as a crash would.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// Signal sends the server a signal: SIGSTOP freezes it, SIGCONT wakes it.
func (s *Server) Signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd != nil {
		s.cmd.Process.Signal(sig)
	}
}

// Client returns a new client, closed at the test's end.
func (s *Server) Client() *redis.Client {
	c := redis.NewClient(s.options())
	s.t.Cleanup(func() { c.Close() })
	return c
}

// options are those of a client that may do everything.
func (s *Server) options() *redis.Options {
	o := &redis.Options{Addr: s.Addr, DisableIdentity: true}
	if s.secure {
		o.Username, o.Password, o.TLSConfig = "admin", Password, trusted.client()
	}
	return o
}

// Client starts a server and returns a client of it.
func Client(t testing.TB) *redis.Client {
	t.Helper()
	return Start(t).Client()
}

// alive tells whether the process runs.
func (s *Server) alive() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cmd != nil
}

// await waits until ok.
func await(t testing.TB, what string, ok func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	for !ok(ctx) {
		select {
		case <-ctx.Done():
			t.Fatalf("not within 2 minutes: %s", what)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func untilAnswers(c *redis.Client) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), 10*time.Second, errors.New("no answer within 10 s"))
	defer cancel()
	for {
		err := c.Ping(ctx).Err()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	addr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	return addr
}
