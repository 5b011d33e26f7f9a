package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/rig"
)

// request is one POST that is prepared once and written many times, because the load generator uses the same
// cores as the server.
type request struct {
	wire     []byte
	want     int   // status
	messages int   // how many it has: 1, or the lines of a batch
	serials  []int // where in wire each request has another number, see serial
}

// serial is a text in a body that each request replaces by a number of its own.
const serial = "{{serial}}"

var lastSerial atomic.Int64

// renew gives the request its next numbers.
func (r request) renew() {
	n := lastSerial.Add(int64(len(r.serials)))
	for i, at := range r.serials {
		copy(r.wire[at:], fmt.Sprintf("%0*d", len(serial), n-int64(i)))
	}
}

func newRequest(addr, path string, header map[string]string, body []byte, want int) request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Length: %d\r\n", path, addr, len(body))
	if header["Content-Type"] == "" {
		b.WriteString("Content-Type: application/json\r\n")
	}
	for name, value := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	b.WriteString("\r\n")
	b.Write(body)
	r := request{wire: b.Bytes(), want: want, messages: 1}
	for at := 0; ; at += len(serial) {
		next := bytes.Index(r.wire[at:], []byte(serial))
		if next < 0 {
			return r
		}
		at += next
		r.serials = append(r.serials, at)
	}
}

// batchOf returns a POST of n lines, each the body of a message.
func batchOf(n int, addr, path string, header map[string]string, body []byte) request {
	header = maps.Clone(header)
	header["Content-Type"] = "application/x-ndjson"
	r := newRequest(addr, path, header, bytes.Repeat(append(body, '\n'), n), http.StatusOK)
	r.messages = n
	return r
}

// answers has how long answers took.
type answers struct {
	took []time.Duration
	over time.Duration // from the first request to the last answer
}

func (a answers) perSecond() float64 { return ratio(float64(len(a.took)), a.over.Seconds()) }

// post posts r over several connections for d, or at most most times if most is not 0. Each connection makes its
// next request when it has the answer. An answer with another status is an error.
func post(ctx context.Context, addr string, r request, connections, most int, d time.Duration) (all answers, err error) {
	began := time.Now()
	end := began.Add(d)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for range connections {
		r := r
		r.wire = bytes.Clone(r.wire)
		g.Go(func() error {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			defer c.Close()
			in := bufio.NewReader(c)
			var took []time.Duration
			for ctx.Err() == nil && time.Now().Before(end) && (most == 0 || len(took) < most) {
				r.renew()
				t, err := r.once(c, in)
				if err != nil {
					return err
				}
				took = append(took, t)
			}
			mu.Lock()
			defer mu.Unlock()
			all.took = append(all.took, took...)
			return context.Cause(ctx)
		})
	}
	err = g.Wait()
	all.over = time.Since(began)
	return all, err
}

func (r request) once(c net.Conn, in *bufio.Reader) (time.Duration, error) {
	began := time.Now()
	c.SetDeadline(began.Add(30 * time.Second))
	if _, err := c.Write(r.wire); err != nil {
		return 0, fmt.Errorf("write a request: %w", err)
	}
	resp, err := http.ReadResponse(in, nil)
	if err != nil {
		return 0, fmt.Errorf("read an answer: %w", err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, fmt.Errorf("read an answer: %w", err)
	}
	if resp.StatusCode != r.want {
		return 0, fmt.Errorf("answered %s: %.200s", resp.Status, body)
	}
	if n := bytes.Count(body, []byte(`"status":202`)); r.messages > 1 && n != r.messages {
		_, refused, _ := bytes.Cut(body, []byte(`"problem":`))
		return 0, fmt.Errorf("accepted %d of %d: %.200s", n, r.messages, refused)
	}
	return time.Since(began), nil
}

// loaded posts to a server with several numbers of connections, and measures the best of
// them into row, with what the server and Redis used.
func (w *world) loaded(ctx context.Context, row *Row, server *rig.Process, r request, d time.Duration) (connections int, err error) {
	best := 0.0
	counts := []int{16, 64, 256}
	if r.messages > 1 {
		counts = []int{1, 2, 4} // the producer refuses what waits longer than 5 s for Redis
	}
	if _, err := post(ctx, server.Addr, r, counts[0], 0, d/5); err != nil { // to warm everything up
		return 0, err
	}
	for _, n := range counts {
		before, err := w.used(ctx, []*rig.Process{server})
		if err != nil {
			return 0, err
		}
		a, err := post(ctx, server.Addr, r, n, 0, d)
		if err != nil {
			return 0, fmt.Errorf("%s with %d connections: %w", server.Name, n, err)
		}
		after, err := w.used(ctx, []*rig.Process{server})
		if err != nil {
			return 0, err
		}
		messages := r.messages * len(a.took)
		if rate := a.perSecond() * float64(r.messages); rate > best {
			best, connections = rate, n
			used := after.since(before)
			row.PerSecond = new(rate)
			row.P50, row.P99 = millis(percentile(a.took, 50)), millis(percentile(a.took, 99))
			used.costs(row, messages)
			if server.Ops != "" {
				row.Trips = new(ratio(used.trips, float64(messages)))
			}
		}
	}
	b, err := server.Resident()
	row.Resident = new(b / (1 << 20))
	return connections, err
}
