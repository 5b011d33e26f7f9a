package chaos

import (
	"bytes"
	"net"
	"sync"
	"time"
)

// side is the user of a link to Redis: the programs, or other Redis servers. go-redis begins
// a connection with HELLO, Redis and its Sentinels do not.
type side int

const (
	programs side = iota
	servers
)

// proxy is a TCP link that can be cut, slowed and stalled in both directions. The client must send first.
type proxy struct {
	addr string // where it listens, host:port
	to   string

	l net.Listener

	mu    sync.Mutex
	conns map[net.Conn]side
	cutUp map[side]bool
	delay time.Duration
	going chan struct{} // closed while bytes pass
}

// newProxy listens at a free port and forwards to the address to, until close.
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

// repair accepts connections again.
func (p *proxy) repair() {
	p.mu.Lock()
	defer p.mu.Unlock()
	clear(p.cutUp)
}

// slow delays every byte by d.
func (p *proxy) slow(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// stall holds every byte back until resume. Connections stay open.
func (p *proxy) stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.going = make(chan struct{})
}

// resume forwards what stall held back.
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
	user := servers
	if parts := bytes.SplitN(first[:n], []byte("\r\n"), 4); len(parts) == 4 && string(parts[2]) == "hello" {
		user = programs
	}
	if !p.keep(in, user) {
		return
	}
	defer p.drop(in)
	out, err := net.DialTimeout("tcp", p.to, time.Second)
	if err != nil {
		return
	}
	defer out.Close()
	if !p.keep(out, user) {
		return
	}
	defer p.drop(out)
	var both sync.WaitGroup
	both.Go(func() { p.copy(out, in, first[:n]); out.Close(); in.Close() })
	both.Go(func() { p.copy(in, out, nil); out.Close(); in.Close() })
	both.Wait()
}

// keep adds a connection to those that cut closes. It returns false if the link is cut.
func (p *proxy) keep(c net.Conn, of side) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.cutUp[of] {
		p.conns[c] = of
	}
	return !p.cutUp[of]
}

func (p *proxy) drop(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.conns, c)
}

// chunk is what one read returned, and when it is forwarded.
type chunk struct {
	due  time.Time
	data []byte
}

// copy forwards read, and then what it reads until either side ends.
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
				from.Close() // so that the reads end too
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
