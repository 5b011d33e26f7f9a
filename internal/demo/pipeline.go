package demo

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/term"

	"sluice/client"
	"sluice/internal/events"
	"sluice/internal/message"
)

// tally has the state of each message of the pipeline, from the event stream.
type tally struct {
	mu     sync.Mutex
	states map[string]message.State
	kinds  map[string]string // of the accepted messages
	taps   int
}

func newTally() *tally {
	return &tally{states: map[string]message.State{}, kinds: map[string]string{}}
}

func (t *tally) accepted(id, kind string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kinds[id] = kind
}

// take counts one event.
func (t *tally) take(e message.Event) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case e.Type == message.EventInbound:
		t.taps++
	case e.Type == message.EventMessage && e.Message != nil && e.State != nil:
		t.states[e.Message.ID] = e.State.To
	}
}

// counts returns how many messages are in each state, and how many of them may still move
// by themselves.
func (t *tally) counts() (by map[message.State]int, open int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	by = map[message.State]int{}
	for id := range t.kinds {
		st := t.states[id]
		by[st]++
		if !st.Final() && st != message.Parked {
			open++
		}
	}
	return by, open
}

// pipeline places all orders, waits until every message has ended, and prints the report.
func (w *world) pipeline(ctx context.Context, o Options) error {
	fmt.Fprintf(o.Out, "Sending three messages for each of %d orders, from %d numbers at %d messages per second each.\n", o.Orders, len(numbers), rate)
	fmt.Fprintln(o.Out, "The simulated Meta refuses some messages, fails, loses answers and repeats webhooks.")
	fmt.Fprintf(o.Out, "Console: %s (API key: %s)\n", w.console, apiKey)
	start := time.Now()
	t := newTally()
	tail := events.NewTail(w.stream)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	var g errgroup.Group
	g.Go(func() error { return tail.Run(watching) })
	g.Go(func() error { return watch(watching, tail, start, t.take) })
	placed := make(chan error, 1)
	g.Go(func() error {
		placed <- place(ctx, w.api, rand.Text()[:8], o.Orders, t.accepted)
		return nil
	})
	err := w.await(ctx, o, t, placed)
	stop()
	if err := errors.Join(err, g.Wait()); err != nil {
		return err
	}
	records, err := w.records(ctx, t.kinds)
	if err != nil {
		return err
	}
	fmt.Fprintf(o.Out, "\nDone after %.0f s.\n", time.Since(start).Seconds())
	return w.report(o, t, records)
}

// watch calls take with each event that is written after a time, until ctx ends.
func watch(ctx context.Context, tail *events.Tail, since time.Time, take func(message.Event)) error {
	places, err := tail.At(ctx, since)
	for err == nil && ctx.Err() == nil {
		changed := tail.Changed()
		found := false
		for key := range places {
			var lines []events.Line
			if lines, err = tail.Read(ctx, key, places[key], 1000); err != nil {
				break
			}
			for _, l := range lines {
				take(l.Event)
				places[key], found = l.Place, true
			}
		}
		if err == nil && !found {
			select {
			case <-ctx.Done():
			case <-changed:
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// await returns when all orders are placed and every message is final or waits for an operator. It also returns
// after a time limit: the report then shows what is pending.
func (w *world) await(ctx context.Context, o Options, t *tally, placed <-chan error) error {
	show := newProgress(o.Out)
	defer show.end()
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	over := time.After(timeLimit)
	all := false
	for {
		by, open := t.counts()
		show.print(by)
		if all && open == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case err := <-placed:
			if err != nil {
				return err
			}
			all = true
		case <-over:
			return nil
		case <-tick.C:
		}
	}
}

// records reads the record of every message over the API.
func (w *world) records(ctx context.Context, ids map[string]string) (map[string]client.Record, error) {
	var mu sync.Mutex
	records := make(map[string]client.Record, len(ids))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(clients)
	for id := range ids {
		g.Go(func() error {
			r, err := w.api.Get(ctx, id)
			if err != nil {
				return fmt.Errorf("read %s: %w", id, err)
			}
			mu.Lock()
			defer mu.Unlock()
			records[id] = r
			return nil
		})
	}
	return records, g.Wait()
}

// progress is one line that is overwritten on a terminal, and a line every five seconds
// on other outputs.
type progress struct {
	out      io.Writer
	terminal bool
	every    time.Duration
	last     time.Time
}

func newProgress(out io.Writer) *progress {
	p := &progress{out: out, every: 5 * time.Second, last: time.Now()}
	if f, ok := out.(*os.File); ok {
		if term.IsTerminal(int(f.Fd())) {
			p.terminal, p.every = true, 200*time.Millisecond
		}
	}
	return p
}

func (p *progress) print(by map[message.State]int) {
	if time.Since(p.last) < p.every {
		return
	}
	p.last = time.Now()
	var parts []string
	for _, st := range message.States() {
		if by[st] > 0 {
			parts = append(parts, fmt.Sprintf("%s %d", st, by[st]))
		}
	}
	line := "  " + strings.Join(parts, "  ")
	if p.terminal {
		fmt.Fprintf(p.out, "\r\x1b[K%s", line)
	} else {
		fmt.Fprintln(p.out, line)
	}
}

func (p *progress) end() {
	if p.terminal {
		fmt.Fprint(p.out, "\r\x1b[K")
	}
}
