package chaos

import (
	"net"
	"sync"
	"time"
)

// proxy is a TCP link that can be cut, slowed and stalled, in both directions at once.
type proxy struct {
	addr string // where it listens, host:port
	to   string

	l net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	cutUp bool
	delay time.Duration
	going chan struct{} // closed while bytes may pass
}

// newProxy listens at a port of its own and passes on to the address to, until close.
func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	going := make(chan struct{})
	close(going)
	p := &proxy{addr: l.Addr().String(), to: to, l: l, conns: map[net.Conn]struct{}{}, going: going}
	go p.accept()
	return p, nil
}

func (p *proxy) close() {
	p.l.Close()
	p.cut()
	p.resume()
}

// cut breaks all connections and refuses new ones.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutUp = true
	for c := range p.conns {
		c.Close()
	}
}

// mend lets connections be made again.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutUp = false
}

// slow lets every byte arrive so much later.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// stall keeps every byte back until resume; connections stay as they are.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.going = make(chan struct{})
}

// resume lets what was kept back arrive.
func (p *proxy) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.going:
	default:
		close(p.going)
	}
}

func (p *proxy) accept() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		go p.pass(in)
	}
}

func (p *proxy) pass(in net.Conn) {
	defer in.Close()
	if !p.keep(in) {
		return
	}
	defer p.drop(in)
	out, err := net.DialTimeout("tcp", p.to, time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if !p.keep(out) {
		return
	}
	defer p.drop(out)
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in); out.Close(); in.Close() })
	both.Go(func() { p.copy(in, out); out.Close(); in.Close() })
	both.Wait()
}

// keep remembers a connection for cut; it is false when there may be none.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cutUp {
		p.conns[c] = struct{}{}
	}
	return !p.cutUp
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// chunk is what was read at once, and when it may be passed on.
type chunk struct {
	due  time.Time
	data []byte
}

// copy passes on what it reads until either side ends.
func (p *proxy) copy(to, from net.Conn) {
	chunks := make(chan chunk, 1024)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for c := range chunks {
			time.Sleep(time.Until(c.due))
			p.mu.Lock()
			going := p.going
			p.mu.Unlock()
			<-going
			if _, err := to.Write(c.data); err != nil {
				from.Close() // so that reading ends too
				for range chunks {
				}
				return
			}
		}
	}()
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		if n > 0 {
			p.mu.Lock()
			due := time.Now().Add(p.delay)
			p.mu.Unlock()
			chunks <- chunk{due, buf[:n]}
		}
		if err != nil {
			close(chunks)
			<-ended
			return
		}
	}
}
