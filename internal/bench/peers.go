package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sluice/internal/rig"
)

// peersRounds is how often the peers take turns.
const peersRounds = 3

// bullConcurrency is how many jobs a BullMQ worker processes at the same time.
const bullConcurrency = 50

// peers sends the same messages to the same far side by BullMQ, by bare asynq and by Sluice,
// in turns, each with an empty Redis of its own and with workers that start cold. BullMQ's
// packages are in a folder that `make bench-peers` fills.
func peers(ctx context.Context, o Options) ([]Row, error) {
	script, err := bullScript(o.Peers)
	if err != nil {
		return nil, err
	}
	o.Duration = cmp.Or(o.Duration, 90*time.Second)
	row := Row{Rate: unlimited, Numbers: cmp.Or(o.Numbers, 12), Backlog: cmp.Or(o.Backlog, 20_000)}
	counts := []int{1, 2}
	if o.Workers > 0 {
		counts = []int{o.Workers}
	}
	var rows []Row
	for _, row.Durability = range o.durabilities(Relaxed) {
		o.say("peers: asynq (%s)", row.about())
		best, err := asynqBest(ctx, o, row, toFarSide)
		if err != nil {
			return rows, err
		}
		turns := []turn{{"asynq: its best", 0, func(r Row) (Row, error) { return drainAsynq(ctx, o, r, best, toFarSide) }}}
		for _, n := range counts {
			turns = append(turns,
				turn{"bullmq: addBulk, then cold workers", n, func(r Row) (Row, error) { return bullOnce(ctx, o, r, script) }},
				turn{"accepted by HTTP, then cold workers", n, func(r Row) (Row, error) { return coldOnce(ctx, o, r) }})
		}
		measured := make([][]Row, len(turns))
		for i := range cmp.Or(o.Rounds, peersRounds) {
			for j, t := range turns {
				r := row
				r.Case, r.Workers = t.what, t.workers
				if r, err = t.run(r); err != nil {
					return rows, fmt.Errorf("%s: %w", t.what, err)
				}
				r.Case = t.what
				o.say("peers: round %d: %s (%s): %s/s", i+1, r.Case, r.about(), show(*r.PerSecond))
				measured[j] = append(measured[j], r)
			}
		}
		rows = append(rows, ranked(measured)...)
	}
	return rows, nil
}

// turn is the part of one peer in a round.
type turn struct {
	what    string
	workers int
	run     func(Row) (Row, error)
}

// ranked makes a row from the rounds of each turn: the medians, and for Sluice the medians of the
// ratios to the faster BullMQ of the same round.
func ranked(measured [][]Row) (rows []Row) {
	bull := func(round int) (best Row) {
		for _, turns := range measured {
			if r := turns[round]; called("bullmq: ")(r) && (best.PerSecond == nil || *r.PerSecond > *best.PerSecond) {
				best = r
			}
		}
		return best
	}
	for _, turns := range measured {
		for round := range turns {
			if ours(turns[round]) {
				turns[round].compare(bull(round))
			}
		}
		rows = append(rows, medians(turns))
	}
	return rows
}

// bullScript returns the path of BullMQ's script, which is in the folder of its packages.
func bullScript(folder string) (string, error) {
	const remedy = "Run `make bench-peers`, which needs Node.js 20.19 or newer and npm"
	if _, err := exec.LookPath("node"); err != nil {
		return "", fmt.Errorf("node is %w. %s", errMissing, remedy)
	}
	folder, err := filepath.Abs(cmp.Or(folder, filepath.Join("out", "peers")))
	if err != nil {
		return "", err
	}
	if _, err := os.Stat(filepath.Join(folder, "node_modules", "bullmq")); err != nil {
		return "", fmt.Errorf("BullMQ is %w in %s. %s", errMissing, folder, remedy)
	}
	script := filepath.Join(folder, "bullmq.mjs")
	_, err = os.Stat(script)
	return script, err
}

// bullSettings are the settings of BullMQ's script.
type bullSettings struct {
	Port        int    `json:"port"`
	URL         string `json:"url"`
	N           int    `json:"n"`
	Concurrency int    `json:"concurrency"`
	Body        string `json:"body"`
}

func bullOnce(ctx context.Context, o Options, row Row, script string) (Row, error) {
	w, err := newWorld(ctx, o, row.Durability)
	if err != nil {
		return row, err
	}
	defer w.close()
	if err := toFarSide(ctx, w); err != nil {
		return row, err
	}
	_, port, _ := net.SplitHostPort(w.Redis.Addr)
	s := bullSettings{URL: w.messagesURL(), N: row.Backlog, Concurrency: bullConcurrency, Body: bullBody()}
	if s.Port, err = strconv.Atoi(port); err != nil {
		return row, err
	}
	text, err := json.Marshal(s)
	if err != nil {
		return row, err
	}
	run := func(command string) (*rig.Process, error) {
		return w.Start("bullmq-"+command, nil, "node", script, command, string(text))
	}
	loader, err := run("enqueue")
	if err != nil {
		return row, err
	}
	select {
	case <-loader.Ended():
	case <-ctx.Done():
		return row, context.Cause(ctx)
	}
	if !loader.Succeeded() {
		return row, errors.New("BullMQ could not enqueue; it printed:\n" + loader.Printed())
	}
	if err := w.written(ctx); err != nil {
		return row, err
	}
	var workers []*rig.Process
	for range row.Workers {
		p, err := run("work")
		if err != nil {
			return row, err
		}
		workers = append(workers, p)
	}
	row.Rate, row.Numbers = 0, 1
	err = w.emptying(ctx, &row, o.Duration, workers, 0)
	return row, err
}

// bullBody returns the body of a message, with {{i}} in place of its number.
func bullBody() string {
	object, to := messageObject(0)
	return strings.Replace(`{"messaging_product":"whatsapp",`+string(object[1:]), to, "+49{{i}}00", 1)
}
