package bench

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/rig"
)

// request is one POST, ready to be written again and again: what the load generator itself
// costs is taken from the server beside it.
type request struct {
	wire []byte
	want int // status
}

func newRequest(addr, path string, header map[string]string, body []byte, want int) request {
	var b bytes.Buffer
	fmt.Fprintf(&b, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n", path, addr, len(body))
	for name, value := range header {
		fmt.Fprintf(&b, "%s: %s\r\n", name, value)
	}
	b.WriteString("\r\n")
	b.Write(body)
	return request{b.Bytes(), want}
}

// answers are the times that answers took.
type answers struct {
	took []time.Duration
	over time.Duration // from the first request to the last answer
}

func (a answers) perSecond() float64 { return ratio(float64(len(a.took)), a.over.Seconds()) }

// post posts r over so many connections for d, or most times where most is not 0, each as
// soon as the one before is answered. Any other answer than the wanted is an error.
func post(ctx context.Context, addr string, r request, connections, most int, d time.Duration) (all answers, err error) {
	began := time.Now()
	end := began.Add(d)
	var mu sync.Mutex
	g, ctx := errgroup.WithContext(ctx)
	for range connections {
		g.Go(func() error {
			c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
			if err != nil {
				return err
			}
			defer c.Close()
			in := bufio.NewReader(c)
			var took []time.Duration
			for ctx.Err() == nil && time.Now().Before(end) && (most == 0 || len(took) < most) {
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
	return time.Since(began), nil
}

// loaded posts to a server with several numbers of connections, and measures the best of
// them into row, with what the server and Redis used meanwhile.
func (w *world) loaded(ctx context.Context, row *Row, server *rig.Process, r request, d time.Duration) (connections int, err error) {
	if _, err := post(ctx, server.Addr, r, 16, 0, d/5); err != nil { // so that everything is warm
		return 0, err
	}
	best := 0.0
	for _, n := range []int{16, 64, 256} {
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
		if rate := a.perSecond(); rate > best {
			best, connections = rate, n
			used := after.since(before)
			row.PerSecond = new(rate)
			row.P50, row.P99 = millis(percentile(a.took, 50)), millis(percentile(a.took, 99))
			used.costs(row, len(a.took))
			if server.Ops != "" {
				row.Trips = new(ratio(used.trips, float64(len(a.took))))
			}
		}
	}
	b, err := server.Resident()
	row.Resident = new(b / (1 << 20))
	return connections, err
}
