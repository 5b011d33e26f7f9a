package bench

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"sluice/internal/cloudapi"
	"sluice/internal/message"
	"sluice/internal/ports"
	"sluice/internal/relay"
	"sluice/internal/rig"
	"sluice/internal/secrets"
)

// phase is a time in which the other target behaves in one way. before is how it behaves until the measurement begins,
// after settle: long enough for the first time-outs and slow answers to be measured.
type phase struct {
	name, before, way string
	settle            time.Duration
}

const works = "the other target works"

// relayPhases are the phases of a round. The first and the last are what the others are compared with.
var relayPhases = []phase{
	{works, targetWorks, targetWorks, 1500 * time.Millisecond},
	{"the other target answers 500", targetFails, targetFails, 1500 * time.Millisecond},
	{"the other target hangs", targetHangs, targetHangs, relay.DefaultTimeout - 2*time.Second},
	{"the other target answers after 9 s", targetSlow, targetSlow, slowAnswer - 2*time.Second},
	{"the other target works again after 500", targetFails, targetWorks, 3 * time.Second},
	{works, targetWorks, targetWorks, 1500 * time.Millisecond},
}

// relayed writes statuses, which workers relay to two targets, and measures the time from the writing to the arrival at
// one of them while the other one behaves in different ways.
func relayed(ctx context.Context, o Options) ([]Row, error) { return relayedIn(ctx, o, relayPhases) }

func relayedIn(ctx context.Context, o Options, phases []phase) ([]Row, error) {
	o.Rate, o.Duration, o.Numbers = cmp.Or(o.Rate, 500), cmp.Or(o.Duration, 5*time.Second), cmp.Or(o.Numbers, 12)
	o.Rounds, o.Workers = cmp.Or(o.Rounds, 2), cmp.Or(o.Workers, 1)
	w, err := newWorld(ctx, o, cmp.Or(o.Durability, Relaxed))
	if err != nil {
		return nil, err
	}
	defer w.close()
	numbers := rig.Numbers(o.Numbers, 80)
	if err := w.configure(numbers, map[string]any{"roles": "relay", "relay": map[string]any{"allowed_private_hosts": "127.0.0.1"}}); err != nil {
		return nil, err
	}
	r := relayRun{world: w, phases: phases, targets: relay.NewTargets(w.db, shards, secrets.Box{}), rows: map[string][]Row{}}
	if r.addr, err = ports.Free(); err != nil {
		return nil, err
	}
	if _, err := w.Served(ctx, "targets", r.addr, nil); err != nil {
		return nil, err
	}
	workers, err := w.workers(ctx, o.Workers, false)
	if err != nil {
		return nil, err
	}
	if err := r.set(ctx, "measured"); err != nil {
		return nil, err
	}
	takes := 2 * time.Second // to set targets
	for _, p := range phases {
		takes += time.Duration(o.Rounds) * (p.settle + o.Duration)
	}
	total := int(takes.Seconds() * float64(o.Rate))
	var g errgroup.Group
	g.Go(func() error {
		marks := cloudapi.NewMarks("rig", []byte(rig.MarkerKey))
		return w.write(ctx, o.Rate, total, func(n int) message.Event { return timed(marks, numbers[n%len(numbers)].ID, n) })
	})
	err = w.profile(ctx, "relay", workers, takes, func() error {
		for round := range o.Rounds {
			for i, p := range phases {
				if err := r.play(ctx, fmt.Sprintf("other-%d-%d", round, i), p); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err := errors.Join(err, g.Wait(), r.complete(ctx, total)); err != nil {
		return nil, errors.Join(append([]error{err}, alive(workers)...)...)
	}
	return r.medians(), nil
}

// timed returns a status with the time at which it is written, of a message of its own.
func timed(marks *cloudapi.Marks, number string, n int) message.Event {
	e := status(number)
	now := time.Now()
	wamid := fmt.Sprintf("wamid.HBgLMTY1MDU1NTEyMzQVAgARGBI5QTNDQTVC%012d", n)
	marker := marks.Make(message.NewID(number, fmt.Sprint(n)), 1, now.UnixMilli())
	e.Report.WAMID, e.Report.Marker = wamid, marker
	text := strings.NewReplacer(statusWAMID, wamid, statusMarker, marker).Replace(string(statusMeta))
	e.Meta = fmt.Appendf(nil, `{"%s":"%d",%s`, writtenAt, now.UnixNano(), text[1:])
	return e
}

// alive returns the errors of processes that have ended.
func alive(processes []*rig.Process) (errs []error) {
	for _, p := range processes {
		errs = append(errs, p.Alive())
	}
	return errs
}

// relayRun is a run of relayed.
type relayRun struct {
	*world
	phases  []phase
	targets *relay.Targets
	addr    string           // of the part "targets"
	rows    map[string][]Row // by phase
}

// set adds a target.
func (r *relayRun) set(ctx context.Context, name string) error {
	path, _, _ := strings.Cut(name, "-")
	_, err := r.targets.Set(ctx, message.RelayTarget{
		Name: name, URL: "http://" + r.addr + "/" + path, Format: message.RelayMeta, MessageIDs: message.RelayMeta, Batch: 1,
		Concurrency: message.RelayConcurrency, GiveUpAfter: message.RelayGiveUpAfter,
	}, "")
	return err
}

// play measures a phase with another target of its own, so that no phase begins with the backlog of the one before.
func (r *relayRun) play(ctx context.Context, name string, p phase) error {
	r.o.say("relay: %s", p.name)
	err := r.behave(ctx, p.before)
	if err == nil {
		err = r.set(ctx, name)
	}
	if err == nil {
		err = pause(ctx, p.settle)
	}
	if err == nil && p.way != p.before {
		err = r.behave(ctx, p.way)
	}
	if err == nil {
		_, err = r.got(ctx)
	}
	if err == nil {
		err = pause(ctx, r.o.Duration)
	}
	if err != nil {
		return err
	}
	a, err := r.got(ctx)
	if err != nil {
		return err
	}
	if len(a.Ages) == 0 {
		return fmt.Errorf("%s: no event arrived within %s", p.name, r.o.Duration)
	}
	row := Row{Case: p.name, Durability: r.durability, Workers: r.o.Workers, Numbers: r.o.Numbers}
	row.P50, row.P99 = millis(percentile(a.Ages, 50)), millis(percentile(a.Ages, 99))
	r.o.say("relay: p50 %.1f ms, p99 %.1f ms; the other target got %d requests so far", *row.P50, *row.P99, a.Others)
	r.rows[p.name] = append(r.rows[p.name], row)
	_, err = r.targets.Remove(ctx, name)
	return err
}

// medians returns a row for each phase with the medians of all rounds.
func (r *relayRun) medians() (rows []Row) {
	base := medians(r.rows[works])
	for i, p := range r.phases {
		if i > 0 && p.name == works {
			continue
		}
		row := medians(r.rows[p.name])
		if i > 0 {
			row.P99Ratio = new(ratio(*row.P99, *base.P99))
		}
		row.Case = fmt.Sprintf("%d events per second, %s", r.o.Rate, p.name)
		rows = append(rows, row)
	}
	return rows
}

// behave sets how the other target answers.
func (r *relayRun) behave(ctx context.Context, way string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.addr+wayPath+way, nil)
	if err != nil {
		return err
	}
	resp, err := r.HTTP.Do(req)
	if err != nil {
		return fmt.Errorf("set how the other target answers: %w", err)
	}
	return resp.Body.Close()
}

// got returns what arrived at the measured target since the last call.
func (r *relayRun) got(ctx context.Context) (a targetArrivals, err error) {
	b, err := r.Get(ctx, "http://"+r.addr+agesPath)
	if err == nil {
		err = json.Unmarshal(b, &a)
	}
	slices.Sort(a.Ages)
	return a, err
}

// complete waits until the measured target has all events, and fails if it does not get them or gets one twice.
func (r *relayRun) complete(ctx context.Context, total int) error {
	var a targetArrivals
	for deadline := time.Now().Add(10 * time.Second); a.Total < total; {
		var err error
		if a, err = r.got(ctx); err != nil {
			return err
		}
		if time.Now().After(deadline) {
			break
		}
		if err := pause(ctx, 100*time.Millisecond); err != nil {
			return err
		}
	}
	if a.Total != total {
		return fmt.Errorf("the measured target got %d events, want %d", a.Total, total)
	}
	return nil
}
