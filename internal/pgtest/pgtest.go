// Package pgtest runs a real PostgreSQL for a test, and removes it when the test ends.
package pgtest

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"sluice/internal/ports"
)

// unprivileged is the user and the group of the server when the tests run as root: PostgreSQL refuses root.
const unprivileged = 65534

// Server is a PostgreSQL that only one test uses. It writes without fsync.
type Server struct {
	Addr string // host:port

	t   testing.TB
	bin string // folder of the programs
	dir string // folder of the data

	mu  sync.Mutex
	cmd *exec.Cmd
	out *bytes.Buffer
}

// Start runs an empty PostgreSQL on a free loopback port until the test ends. It fails the test if PostgreSQL is not
// installed.
func Start(t testing.TB) *Server {
	t.Helper()
	bin, err := programs()
	if err != nil {
		t.Fatal(err)
	}
	addr, err := ports.Free()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "pgtest-")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: addr, t: t, bin: bin, dir: dir}
	t.Cleanup(func() {
		s.Kill()
		if t.Failed() && s.out != nil {
			t.Logf("postgres printed:\n%s", s.out)
		}
		os.RemoveAll(dir)
	})
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, unprivileged, unprivileged); err != nil {
			t.Fatal(err)
		}
	}
	initdb := s.command("initdb", "-D", dir, "-U", "postgres", "--auth", "trust", "--no-sync", "--encoding", "UTF8", "--locale", "C")
	if out, err := initdb.CombinedOutput(); err != nil {
		t.Fatalf("initdb: %v\n%s", err, out)
	}
	s.Restart()
	return s
}

// programs returns the folder with the programs of PostgreSQL. Debian does not have it on the PATH.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is valid
	if len(found) == 0 {
		return "", errors.New("PostgreSQL is not installed: run the tests by `make test`, which installs it, or install your system's package postgresql")
	}
	slices.Sort(found)
	return filepath.Dir(found[len(found)-1]), nil
}

// command returns a command of a program that ends with this process.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	cmd := exec.Command(filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: unprivileged, Gid: unprivileged}
	}
	return cmd
}

// URL returns the URL of the database postgres, for the user postgres, who may do everything.
func (s *Server) URL() string { return s.url("postgres") }

func (s *Server) url(database string) string {
	return "postgres://postgres@" + s.Addr + "/" + database + "?sslmode=disable"
}

// Database creates an empty database and returns its URL, for the user postgres.
func (s *Server) Database() string {
	s.t.Helper()
	name := "d" + strings.ToLower(rand.Text())
	conn, err := pgx.Connect(context.Background(), s.URL())
	if err == nil {
		_, err = conn.Exec(context.Background(), "CREATE DATABASE "+name)
		conn.Close(context.Background())
	}
	if err != nil {
		s.t.Fatal(err)
	}
	return s.url(name)
}

// Restart starts the server again on its data after Kill, and waits until it answers.
func (s *Server) Restart() {
	s.t.Helper()
	_, port, _ := net.SplitHostPort(s.Addr)
	s.mu.Lock()
	s.out = new(bytes.Buffer)
	s.cmd = s.command("postgres", "-D", s.dir, "-p", port, "-h", "127.0.0.1", "-k", "", "-c", "fsync=off", "-c", "shared_buffers=32MB")
	s.cmd.Stdout, s.cmd.Stderr = s.out, s.out
	err := s.cmd.Start()
	s.mu.Unlock()
	if err != nil {
		s.t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := pgx.Connect(context.Background(), s.URL())
		if err == nil {
			conn.Close(context.Background())
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("postgres at %s: %v", s.Addr, err)
		}
	}
}

// KillHard ends all processes of the server by SIGKILL, as when a machine runs out of memory.
func (s *Server) KillHard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	pid := s.cmd.Process.Pid
	s.cmd.Process.Signal(syscall.SIGSTOP) // so that it starts no further process
	children, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		s.t.Errorf("list the processes of postgres: %v", err)
	}
	for child := range strings.FieldsSeq(string(children)) {
		if n, err := strconv.Atoi(child); err == nil {
			syscall.Kill(n, syscall.SIGKILL)
		}
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	s.cmd = nil
}

// Kill ends the server at once, without its usual end: what was committed stays.
func (s *Server) Kill() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGQUIT) // ends the server's processes too
	s.cmd.Wait()
	s.cmd = nil
}
