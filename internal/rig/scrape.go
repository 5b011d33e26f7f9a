package rig

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"sluice/internal/graphsim"
)

// Get reads a URL whose answer must be 200.
func (g *Rig) Get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := g.HTTP.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answered %s: %.200s", url, resp.Status, b)
	}
	return b, nil
}

// Stats returns the counters of the simulator.
func (g *Rig) Stats(ctx context.Context) (s graphsim.Stats, err error) {
	b, err := g.Get(ctx, "http://"+g.Sim.Addr+"/_sim/stats")
	if err != nil {
		return s, fmt.Errorf("ask the simulator: %w", err)
	}
	return s, json.Unmarshal(b, &s)
}

// Accepted calls f with every message that the simulator accepted.
func (g *Rig) Accepted(ctx context.Context, f func(graphsim.Accepted)) error {
	b, err := g.Get(ctx, "http://"+g.Sim.Addr+"/_sim/accepted")
	if err != nil {
		return fmt.Errorf("ask the simulator: %w", err)
	}
	for line := range strings.Lines(string(b)) {
		var a graphsim.Accepted
		if err := json.Unmarshal([]byte(line), &a); err != nil {
			return fmt.Errorf("read the simulator's list of messages: %w", err)
		}
		f(a)
	}
	return nil
}

// Metric adds up the series of a metric of one program.
func (g *Rig) Metric(ctx context.Context, p *Process, name string) (float64, error) {
	b, err := g.Get(ctx, "http://"+p.Ops+"/metrics")
	if err != nil {
		return 0, fmt.Errorf("metrics of %s: %w", p.Name, err)
	}
	return sum(string(b), name), nil
}

// sum adds up the series of a metric in Prometheus's text format.
func sum(text, name string) (total float64) {
	for line := range strings.Lines(text) {
		rest, ok := strings.CutPrefix(line, name)
		if !ok || rest == "" || (rest[0] != ' ' && rest[0] != '{') {
			continue
		}
		f := strings.Fields(rest[strings.LastIndexByte(rest, '}')+1:])
		if len(f) > 0 {
			v, _ := strconv.ParseFloat(f[0], 64)
			total += v
		}
	}
	return total
}

// MarkedID returns the message id in a marker.
func MarkedID(marker string) (string, bool) {
	parts := strings.Split(marker, ".")
	if len(parts) != 5 {
		return "", false
	}
	return parts[2], true
}
