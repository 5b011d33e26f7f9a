package chaos

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// side is who uses a link to Redis: the programs, or other servers of Redis's. go-redis begins
// a connection with HELLO, Redis and its Sentinels do not.
type side int

const (
	programs side = iota
	servers
)

// proxy is a TCP link, to be used by who speaks first, that can be cut, slowed and stalled, in
// both directions at once.
type proxy struct {
	addr string // where it listens, host:port
	to   string

	l net.Listener

	mu    sync.Mutex
	conns map[net.Conn]side
	cutUp map[side]bool
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
	p := &proxy{addr: l.Addr().String(), to: to, l: l, conns: map[net.Conn]side{}, cutUp: map[side]bool{}, going: going}
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
	p.cutOff(programs)
	p.cutOff(servers)
}

// cutOff cuts the link for one side.
func (p *proxy) cutOff(off side) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cutUp[off] = true
	for c, s := range p.conns {
		if s == off {
			c.Close()
		}
	}
}

// mend lets connections be made again.
func (p *proxy) mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.cutUp)
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
	first := make([]byte, 32<<10)
	n, err := in.Read(first)
	if err != nil {
		return
	}
	who := servers
	if parts := bytes.SplitN(first[:n], []byte("\r\n"), 4); len(parts) == 4 && string(parts[2]) == "hello" {
		who = programs
	}
	if !p.keep(in, who) {
		return
	}
	defer p.drop(in)
	out, err := net.DialTimeout("tcp", p.to, time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if !p.keep(out, who) {
		return
	}
	defer p.drop(out)
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in, first[:n]); out.Close(); in.Close() })
	both.Go(func() { p.copy(in, out, nil); out.Close(); in.Close() })
	both.Wait()
}

// keep remembers a connection for cut; it is false when there may be none.
func (p *proxy) keep(c net.Conn, who side) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cutUp[who] {
		p.conns[c] = who
	}
	return !p.cutUp[who]
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

// copy passes on what was read already, and then what it reads until either side ends.
func (p *proxy) copy(to, from net.Conn, read []byte) {
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
	defer func() { close(chunks); <-ended }()
	later := func(data []byte) {
		p.mu.Lock()
		due := time.Now().Add(p.delay)
		p.mu.Unlock()
		chunks <- chunk{due, data}
	}
	later(read)
	for {
		buf := make([]byte, 32<<10)
		n, err := from.Read(buf)
		later(buf[:n])
		if err != nil {
			return
		}
	}
}
