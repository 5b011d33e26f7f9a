// Package reconcile applies what Meta reports of messages to their records: in any order, twice,
// before the send was recorded, with or without our marker. How far it is stands beside the records,
// so that doubts are settled only when their evidence must have been seen.
package reconcile

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"sluice/internal/message"
)

const (
	trimEvery   = 5 * time.Second
	rejoinEvery = time.Second
)

// stream is where Meta's reports come from.
type stream interface {
	Read(ctx context.Context, name string, handle func(ctx context.Context, shard message.Shard, events []message.Event, also map[string]string) (stored bool, err error)) error
	Lag() time.Duration
	Trim(ctx context.Context) error
	NoteReceived(ctx context.Context, heard map[message.Shard]message.LastReceived) error
}

// ledger is where they go. Fold stores also, keys and their values, as plain strings in the same
// step as the last piece of evidence.
type ledger interface {
	Apply(ctx context.Context, shard message.Shard, evidence []message.MarkedReport, also map[string]string) ([]message.ApplyResult, error)
	// RejoinAll applies reports that came before their message was known, where it is known by now, and
	// returns how many it dropped because they had waited for too long or were too many.
	ApplyAllUnmatched(ctx context.Context) (dropped int, err error)
}

// Options adjust a Reconciler.
type Options struct {
	Name  string                                                           // this process's own name among the readers
	Mark  func(s string) (id string, attempt int, accepted int64, ok bool) // reads a marker of ours; false for anything else
	Other func(s string) bool                                              // tells whether a marker is one of another environment; nil: none is
	Known func(number string) bool                                         // tells whether a number is configured; nil: all are. What carries a marker of ours is applied all the same
	// Inbound hears how many messages people wrote to a number just now: they count against its
	// throughput; nil: nobody does.
	Inbound func(ctx context.Context, number string, n int) error
	// Written reads Meta's id of a message that a person wrote, and when it was written. It may be nil
	// where Inbound is.
	Written func(e message.Event) (id string, at time.Time)
	Now     func(ctx context.Context) time.Time              // Redis's clock; nil: this machine's
	Update  func(ctx context.Context, e message.Event) error // hears of Meta's updates of templates, accounts and numbers; nil: nobody does
	// Applied hears of each report that was applied: what failed may concern others; nil: nobody does.
	Applied func(ctx context.Context, e message.MarkedReport)
	// NoteAccount hears of the account that an event names with a number of ours; nil: nobody does.
	NoteAccount func(ctx context.Context, number, account string)
	Registerer  prometheus.Registerer // nil: the metrics are not registered
	Log         *slog.Logger          // nil: no logs
}

// Reconciler applies receipts to records. Any number of them may share the work.
type Reconciler struct {
	stream   stream
	ledger   ledger
	o        Options
	log      *slog.Logger
	metrics  *metrics
	foreign  sync.Map // the numbers that are not configured, and were logged
	proven   sync.Map // numbers that are not configured, and that a marker of ours came back from
	received lastReceived
	written  written
}

// New returns a Reconciler that reads s and writes l.
func New(s stream, l ledger, o Options) *Reconciler {
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = func(context.Context) time.Time { return time.Now() }
	}
	return &Reconciler{
		stream: s, ledger: l, o: o, log: log,
		metrics: newMetrics(o.Registerer, s.Lag),
	}
}

// Run applies what Meta reports until ctx ends, and returns nil once what was begun is finished.
// While Redis is away it waits.
func (r *Reconciler) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	wg.Go(func() { r.trim(ctx) })
	wg.Go(func() { r.publishReceived(ctx) })
	wg.Go(func() { r.rejoin(ctx) })
	return r.stream.Read(ctx, r.o.Name, r.apply)
}

// apply hands the evidence among a shard's events to the ledger, and also with it. It tells whether
// there was any.
func (r *Reconciler) apply(ctx context.Context, shard message.Shard, events []message.Event, also map[string]string) (stored bool, err error) {
	var evidence []message.MarkedReport
	for _, e := range events {
		if e.Type == message.EventUpdate && r.o.Update != nil {
			if err := r.o.Update(ctx, e); err != nil {
				return false, fmt.Errorf("take in an update: %w", err)
			}
		}
		if e.WABA != "" && r.o.NoteAccount != nil && r.known(e.Number) {
			r.o.NoteAccount(ctx, e.Number, e.WABA)
		}
		if e.Type != message.EventStatus || e.Report == nil {
			continue
		}
		switch ev, ok := r.evidence(e); {
		case !ok:
			r.metrics.unusable.Inc()
		case ev.ID == "" && !r.known(ev.Number):
			r.metrics.foreign.Inc()
			if _, logged := r.foreign.LoadOrStore(ev.Number, true); !logged {
				r.log.Warn("received a status for a number that is not configured", slog.String("phone_number_id", ev.Number))
			}
		default:
			evidence = append(evidence, ev)
		}
	}
	if len(evidence) > 0 {
		folded, err := r.ledger.Apply(ctx, shard, evidence, also)
		if err != nil {
			return false, fmt.Errorf("apply %d receipts: %w", len(evidence), err)
		}
		for i, f := range folded {
			r.metrics.fold(evidence[i].Status, f)
			if f == message.Applied && r.o.Applied != nil {
				r.o.Applied(ctx, evidence[i])
			}
			if f == message.Duplicate {
				r.log.Error("Meta accepted a message twice", slog.String("message_id", evidence[i].ID),
					slog.String("wamid", evidence[i].WAMID), slog.Int("attempt", evidence[i].Attempt))
			}
		}
	}
	r.received.note(shard, events)
	r.inbound(ctx, events)
	return len(evidence) > 0, nil
}

// evidence adds to a receipt what its marker proves. A marker of another environment, with a
// false MAC, or of a message of another number proves nothing: the wamid must do then. It is
// false when there is neither.
func (r *Reconciler) evidence(e message.Event) (message.MarkedReport, bool) {
	ev := message.MarkedReport{StatusReport: *e.Report}
	ev.Number = cmp.Or(ev.Number, e.Number)
	if id, attempt, accepted, ok := r.o.Mark(ev.Marker); ok {
		if number, _ := message.Number(id); number == ev.Number {
			ev.ID, ev.Attempt, ev.Accepted = id, attempt, accepted
			if !r.known(number) {
				r.proven.Store(number, true)
			}
		}
	}
	ev.OtherEnvironment = ev.ID == "" && r.o.Other != nil && r.o.Other(ev.Marker)
	return ev, ev.ID != "" || ev.WAMID != ""
}

// known tells whether a number is one of ours: it is configured, or a marker of ours came back from
// it. During a rolling restart, and where roles are split, the configuration of this process may
// lack a number that another process sends from.
func (r *Reconciler) known(number string) bool {
	if number == "" {
		return false
	}
	if r.o.Known == nil || r.o.Known(number) {
		return true
	}
	_, ours := r.proven.Load(number)
	return ours
}

func (r *Reconciler) rejoin(ctx context.Context) {
	for ctx.Err() == nil {
		dropped, err := r.ledger.ApplyAllUnmatched(ctx)
		r.metrics.dropped.Add(float64(dropped))
		if err != nil && ctx.Err() == nil {
			r.log.Warn("cannot apply statuses that arrived before their message, will retry", slog.Any("err", err))
		}
		pause(ctx, rejoinEvery)
	}
}

func (r *Reconciler) trim(ctx context.Context) {
	for ctx.Err() == nil {
		if err := r.stream.Trim(ctx); err != nil && ctx.Err() == nil {
			r.log.Warn("cannot trim event streams", slog.Any("err", err))
		}
		pause(ctx, trimEvery)
	}
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
