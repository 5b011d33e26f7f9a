package chaos

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"
)

// echo answers each line with the same line.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(c, c); c.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestProxy(t *testing.T) {
	t.Parallel()
	p, err := newProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	dial := func() (net.Conn, func() error) {
		c, err := net.Dial("tcp", p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		in := bufio.NewReader(c)
		return c, func() error {
			if _, err := c.Write([]byte("hello\n")); err != nil {
				return err
			}
			_, err := in.ReadString('\n')
			return err
		}
	}
	_, ask := dial()
	if err := ask(); err != nil {
		t.Fatalf("through the proxy: %v", err)
	}

	p.slow(40 * time.Millisecond)
	began := time.Now()
	if err := ask(); err != nil || time.Since(began) < 80*time.Millisecond {
		t.Errorf("slow: %v after %s, want 80 ms for both ways", err, time.Since(began))
	}
	p.slow(0)

	p.stall()
	answered := make(chan error, 1)
	go func() { answered <- ask() }()
	select {
	case err := <-answered:
		t.Errorf("answered while stalled: %v", err)
	case <-time.After(50 * time.Millisecond):
	}
	p.resume()
	if err := <-answered; err != nil {
		t.Errorf("after the stall: %v", err)
	}

	p.cut()
	if err := ask(); err == nil {
		t.Error("a cut connection answers")
	}
	if _, ask := dial(); ask() == nil {
		t.Error("a new connection answers while cut")
	}
	p.repair()
	if _, ask := dial(); ask() != nil {
		t.Error("nothing passes after the repair")
	}
}
